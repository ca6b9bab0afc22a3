"""Mappers that make parts as other processes would, without any."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, get_ident
from typing import Any
from unittest.mock import patch


def pickled(make: Callable[[Any], Any], parts: Iterable[Any], /) -> Iterator[Any]:
    """Work, parts and what is made of them go through pickle; parts are taken ahead of time."""
    sent, ahead = pickle.dumps(make), [pickle.dumps(part) for part in parts]
    for part in ahead:
        yield pickle.loads(pickle.dumps(pickle.loads(sent)(pickle.loads(part))))


def elsewhere(make: Callable[[Any], Any], parts: Iterable[Any], /) -> Iterator[Any]:
    """As `pickled`, on a machine on which no folder of unfinished files is there."""
    for part in parts:
        sent = pickle.loads(pickle.dumps(part))
        with _ONE_AT_A_TIME, _unseen():
            made = make(sent)
        yield pickle.loads(pickle.dumps(made))


_ONE_AT_A_TIME = Lock()


@contextmanager
def _unseen() -> Iterator[None]:
    """While this is open, no such folder is there for this thread."""
    here, is_dir, exists = get_ident(), Path.is_dir, Path.exists

    def seen(there: Callable[[Path], bool], path: Path) -> bool:
        away = get_ident() == here and any(".partial" in part for part in path.parts)
        return not away and there(path)

    with (
        patch.object(Path, "is_dir", lambda path: seen(is_dir, path)),
        patch.object(Path, "is_file", lambda path: seen(exists, path) and not is_dir(path)),
        patch.object(Path, "exists", lambda path: seen(exists, path)),
    ):
        yield
