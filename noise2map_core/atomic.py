"""Files written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from noise2map_core.storage import is_local, upload


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary local path that takes the place of `path` if the body succeeds.

    On a disk it lies beside `path`; an object is put whole, as object storage does.
    """
    if not is_local(path):
        with TemporaryDirectory(prefix="noise2map-") as folder:
            partial = Path(folder) / path.name
            yield partial
            upload(partial, path)
        return
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
