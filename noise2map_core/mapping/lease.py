"""The lease of an output: one run at a time, each with a fencing number.

On a disk it is a lock of the operating system, which takes it back from a process that dies. On
object storage it is an object that is created and replaced on condition: only who has seen its
newest version can replace it. Its holder renews it; who finds it not renewed takes it over.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from noise2map_core.atomic import write_atomically
from noise2map_core.errors import OutputError, OutputHeldError, explained
from noise2map_core.storage import is_local, object_store, reason

RENEW_S = 10.0
EXPIRE_S = 60.0
"""Clocks of machines must agree to much less than this."""
OBJECT = "lease.json"


@contextmanager
def hold_lease(output: Path) -> Iterator[int]:
    """Hold `output` for this run; yields the run's fencing number, higher than any before.

    Raises OutputHeldError if another run holds it, OutputError if it cannot be written.
    """
    with _locked(output) if is_local(output) else _leased(output) as fence:
        yield fence


def _held(output: Path) -> OutputHeldError:
    return OutputHeldError(
        f"another run is writing {output}. Wait for it to end, or set another --output."
    )


@contextmanager
def _locked(output: Path) -> Iterator[int]:
    folder = output / "ledger"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lease.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise _held(output) from None
    except OSError as error:
        raise OutputError(
            f"cannot write {output}: {explained(error)} Or set another --output."
        ) from error
    try:
        yield _next_fence(folder / "fence.json")
    finally:
        lock.release()


def _next_fence(path: Path) -> int:
    fence = 1 + (json.loads(path.read_text())["fence"] if path.exists() else 0)
    write_atomically(path, json.dumps({"fence": fence}))
    return fence


@contextmanager
def _leased(output: Path) -> Iterator[int]:
    lease = _ObjectLease(output)
    lease.acquire()
    stopped = Event()
    renewing = Thread(target=lease.keep, args=(stopped,), daemon=True)
    renewing.start()
    try:
        yield lease.fence
    finally:
        stopped.set()
        renewing.join()
        lease.release()


class _ObjectLease:
    """One object: who holds the output, under which number, until when."""

    def __init__(self, output: Path) -> None:
        self._output, self._store = output, object_store(output / "ledger")
        self._holder, self._beats = uuid4().hex, 0
        self._tag: str | None = None
        self.fence = 0

    def acquire(self) -> None:
        """Take the lease if nobody holds it, or its holder has not renewed it in time."""
        from obstore.exceptions import BaseError

        try:
            self._tag, found = self._read()
            if found["expires"] > time.time():
                raise _held(self._output)
            self.fence = int(found["fence"]) + 1
            renewed = self._put(EXPIRE_S)
        except (BaseError, OSError) as error:
            raise OutputError(
                f"cannot write {self._output}: {reason(error)}. Set another --output."
            ) from error
        if not renewed:
            raise _held(self._output)

    def keep(self, stopped: Event) -> None:
        """Renew until `stopped`; stop this run if another has taken the lease over."""
        while not stopped.wait(RENEW_S):
            if not self._put(EXPIRE_S):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def release(self) -> None:
        """Give it back: the number stays, the time is over."""
        self._put(0.0)

    def _read(self) -> tuple[str | None, dict[str, Any]]:
        import obstore

        try:
            found = obstore.get(self._store, OBJECT)
        except FileNotFoundError:
            return None, {"fence": 0, "expires": 0.0}
        return found.meta["e_tag"], json.loads(bytes(found.bytes()))

    def _put(self, seconds: float) -> bool:
        """Write the lease if it is as it was last seen; False if somebody else was faster."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        self._beats += 1  # no two versions have the same bytes, and so the same tag
        body = {
            "fence": self.fence, "holder": self._holder, "beat": self._beats,
            "expires": time.time() + seconds if seconds else 0.0,
        }  # fmt: skip
        mode: Any = "create" if self._tag is None else {"e_tag": self._tag}
        try:
            self._tag = obstore.put(self._store, OBJECT, json.dumps(body).encode(), mode=mode)[
                "e_tag"
            ]
        except (AlreadyExistsError, PreconditionError):
            return False
        return True
