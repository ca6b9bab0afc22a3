"""Where a Ray cluster that is started here keeps its sockets and logs."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from noise2map_core.runtime.notices import tell

PREFIX = "n2m-"
LOCK = "noise2map.lock"
"""In each folder; held as long as its cluster runs, and given back by a process that dies."""
MAX_SOCKET_BYTES = 107
"""Of a socket's path, on Linux."""
SOCKET = "/n2m-abcdefgh/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest that Ray makes."""
SHORT = ("/tmp", "/var/tmp", "/dev/shm")
FRESH_S = 60.0
"""A folder so young may be one that is about to be locked."""


@contextmanager
def session_folder() -> Iterator[Path]:
    """A folder for one cluster: new, known by its lock, gone at the end.

    It lies in RAY_TMPDIR, else where temporary files do, else, if the path would be too long for a
    socket, in /tmp. What dead processes of ours left there is cleared; never what others did.
    """
    base = _base()
    clear_left(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    lock = FileLock(folder / LOCK)
    lock.acquire(timeout=0)
    try:
        yield folder
    finally:
        _clear(folder)
        lock.release()
        _remove(folder)


def clear_left(base: Path) -> None:
    """Delete the folders in `base` whose process is dead."""
    for path in base.glob(f"{PREFIX}*/{LOCK}"):
        try:
            if time.time() - path.stat().st_mtime < FRESH_S:
                continue
            with FileLock(path).acquire(timeout=0):
                _clear(path.parent)
            _remove(path.parent)
        except (Timeout, OSError):  # it runs, or is another user's
            continue


def _base() -> Path:
    wanted = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if _fits(wanted):
        return Path(wanted)
    for short in SHORT:
        if os.access(short, os.W_OK) and _fits(short):
            tell(
                f"{wanted} is too long a path for Ray's sockets: they lie in {short} (set "
                "RAY_TMPDIR to another)."
            )
            return Path(short)
    return Path(wanted)


def _fits(base: str) -> bool:
    return len(os.fsencode(os.path.abspath(base) + SOCKET)) <= MAX_SOCKET_BYTES


def _clear(folder: Path) -> None:
    """Delete all but the lock: what cannot be deleted yet is found again by it."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            path.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    if {path.name for path in folder.iterdir()} <= {LOCK}:
        shutil.rmtree(folder, ignore_errors=True)
