"""Mappers that make parts as other processes would, without any."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def pickled(make: Callable[[Any], Any], parts: Iterable[Any], /) -> Iterator[Any]:
    """Work, parts and what is made of them go through pickle; parts are taken ahead of time."""
    sent, ahead = pickle.dumps(make), [pickle.dumps(part) for part in parts]
    for part in ahead:
        yield pickle.loads(pickle.dumps(pickle.loads(sent)(pickle.loads(part))))
