"""Files written whole or not at all, and on the disk before anything may speak of them."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile, mkdtemp

from noise2map_core.runtime.errors import Noise2MapError, OutputError
from noise2map_core.runtime.storage import PARTIAL, is_local, sync, upload

ASKED_BYTES = 64 << 20
"""Space that a disk is asked for where writing failed: what failed may have been given back."""
SHOWN = 40
"""Characters of a file's name that the folder of its unfinished bytes bears: names have an end."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary local path that takes the place of `path` if the body succeeds.

    On a disk it has the same name, in a folder of its own beside `path`: nobody who lists files by
    their names meets it, and what its writer puts beside it goes with it. An object is put whole,
    as object storage does.
    """
    if not is_local(path):
        with TemporaryDirectory(prefix="noise2map-") as folder:
            partial = Path(folder) / path.name
            with _on_disk(path, Path(folder)):
                yield partial
            upload(partial, path)
        return
    with _beside(path) as scratch:
        partial = scratch / path.name
        with _on_disk(path, scratch):
            yield partial
            sync(partial)
            partial.replace(path)
            sync(path.parent)


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """A temporary local folder whose files take their places in `folder` if the body succeeds.

    Until all of them are written, none of those that are there is touched.
    """
    with (
        _beside(folder / "files")
        if is_local(folder)
        else TemporaryDirectory(prefix="noise2map-") as scratch
    ):
        with _on_disk(folder, Path(scratch)):
            yield Path(scratch)
        for file in sorted(Path(scratch).iterdir()):
            put_in_place(file, folder / file.name)
    if is_local(folder):
        sync(folder)


def put_in_place(file: Path, target: Path) -> None:
    """Move a finished local file to its place, or put it as an object."""
    if is_local(target):
        sync(file)
        file.replace(target)
    else:
        upload(file, target)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder for what is to take the place of `path`, on the same disk."""
    scratch = Path(mkdtemp(PARTIAL, f".{path.name[:SHOWN]}.", path.parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _on_disk(path: Path, scratch: Path) -> Iterator[None]:
    """Say what is wrong with the disk where that is why writing failed.

    Libraries tell it in words of their own or not at all ("Write failed", "Failed to commit
    transaction"), so the disk itself is asked. Raises OutputError.
    """
    try:
        yield
    except Noise2MapError:
        raise
    except Exception as error:
        if refusal := _refusal(scratch):
            raise unwritable(path, refusal) from error
        raise


def _refusal(folder: Path) -> OSError | None:
    """What the disk says to some more bytes; None if it takes them."""
    try:
        with TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, ASKED_BYTES)
    except OSError as error:
        return error
    return None


def unwritable(path: Path, error: OSError) -> OutputError:
    """The error to raise where the disk refuses to take `path`, with the way out."""
    said = os.strerror(error.errno).lower() if error.errno else str(error)
    where = path
    if is_local(path):  # its place, not that of its unfinished bytes
        where = Path(*(part for part in path.parts if not part.endswith(PARTIAL)))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        way = "Free some and run the same command again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        way = "Set another output, or see to the rights of this one"
    else:
        way = "See to the disk and run the same command again"
    return OutputError(f"cannot write {where}: {said}. {way}; what was there is kept.")


def write_atomically(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
