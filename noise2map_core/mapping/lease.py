"""The lease of an output: one run at a time, each with a fencing number."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from noise2map_core.atomic import write_atomically
from noise2map_core.errors import OutputError, OutputHeldError


@contextmanager
def hold_lease(output: Path) -> Iterator[int]:
    """Hold `output` for this run; yields the run's fencing number, higher than any before.

    The lock belongs to the operating system, which takes it back from a process that dies.
    Raises OutputHeldError if another run holds it.
    """
    folder = output / "ledger"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lease.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputHeldError(
            f"another run is writing {output}. Wait for it to end, or set another --output."
        ) from None
    except OSError as error:
        raise OutputError(
            f"cannot write {output}: {error.strerror}. Set another --output."
        ) from error
    try:
        yield _next_fence(folder / "fence.json")
    finally:
        lock.release()


def _next_fence(path: Path) -> int:
    fence = 1 + (json.loads(path.read_text())["fence"] if path.exists() else 0)
    write_atomically(path, json.dumps({"fence": fence}))
    return fence
