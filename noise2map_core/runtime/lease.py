"""The lease of an output: one run at a time, each with a fencing number.

On a disk it is a lock of the operating system, which takes it back from a process that dies. On
object storage it is an object that is created and replaced on condition: only who has seen its
newest version can replace it. Its holder renews it; who finds it not renewed takes it over.

No two clocks are compared: how old a lease is, the storage's own clock says, which stamps the lease
and a second object; a holder that cannot renew counts the time since its last success by itself,
and stops before anyone else may hold the lease.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from uuid import uuid4

import obstore
from filelock import FileLock, Timeout
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore

from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import LeaseLostError, OutputError, OutputHeldError, explained
from noise2map_core.runtime.notices import tell
from noise2map_core.runtime.storage import (
    checked_by,
    is_local,
    object_store,
    read_bytes,
    reason,
    version_of,
)

RENEW_S = 10.0
EXPIRE_S = 60.0
"""After so long without a renewal others may take a lease over."""
MARGIN = 0.25
"""Share of that time by which a holder that cannot renew stops earlier: to end what it is at, and
because storage's clock counts whole seconds."""
RETRY_S = 1.0
"""Pause after a renewal that failed; doubled for each further one, up to RENEW_S."""
ATTEMPTS = 3
OBJECT = "lease.json"
CLOCK = "clock.json"
"""What storage's clock is read from."""
FENCE = "fence.json"
"""The newest number, on a disk."""


@contextmanager
def hold_lease(output: Path) -> Iterator[int]:
    """Hold `output` for this run; yields the run's fencing number, higher than any before.

    Raises OutputHeldError if another run holds it, OutputError if it cannot be written.
    """
    with _locked(output) if is_local(output) else _leased(output) as fence:
        yield fence


def require_fence(output: Path, fence: int) -> None:
    """Raise LeaseLostError if another run has taken `output` since the one with that number did.

    For workers, before they write: their run may have died, or slept beyond its lease.
    """
    folder = output / "ledger"
    try:
        newest = json.loads(read_bytes(folder / (FENCE if is_local(output) else OBJECT)))["fence"]
    except FileNotFoundError:
        return
    if newest > fence:
        raise _lost(output, f"run {newest} has taken it over from run {fence}")


def _lost(output: Path, why: str) -> LeaseLostError:
    return LeaseLostError(
        f"this run holds {output} no more: {why}. It has stopped; what is done is kept, and the "
        "same command continues when no other run is at work."
    )


def _damaged(path: Path, error: Exception) -> OutputError:
    return OutputError(
        f"{path}, which numbers the runs, is damaged: {' '.join(str(error).split())}. Restore it, "
        "or delete the folder that it lies in: all tiles are made again then."
    )


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
        yield _next_fence(folder / FENCE)
    finally:
        lock.release()


def _next_fence(path: Path) -> int:
    try:
        fence = 1 + (json.loads(path.read_text())["fence"] if path.exists() else 0)
    except (ValueError, LookupError, TypeError) as error:
        raise _damaged(path, error) from error
    write_atomically(path, json.dumps({"fence": fence}))
    return fence


@contextmanager
def _leased(output: Path) -> Iterator[int]:
    lease = _ObjectLease(output)
    lease.acquire()
    stopped = Event()
    threads = [
        Thread(target=run, args=(stopped,), daemon=True) for run in (lease.keep, lease.watch)
    ]
    for thread in threads:
        thread.start()
    try:
        with checked_by(lease.require):
            yield lease.fence
    except BaseException as error:
        lease.require(error)  # whatever it looks like from within, this is what ended the run
        raise
    else:
        lease.require()
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
        lease.release()


def _now() -> float:
    """Seconds that go on while the machine sleeps, too."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


_RAN_OUT = "its lease has run out without a renewal"


class _ObjectLease:
    """One object: who holds the output, under which number, for how long from its writing on."""

    def __init__(self, output: Path) -> None:
        self._output, self._store = output, object_store(output / "ledger")
        self._quick = object_store(output / "ledger", give_up_s=max(EXPIRE_S / 6, 2.0))
        self._holder, self._beats = uuid4().hex, 0
        self._seen: dict[str, Any] | None = None
        """Version of the object that was last seen; None: there is none."""
        self._until = 0.0
        """When this run must have stopped, by its own clock."""
        self._why, self._lock = "", Lock()
        """Why it must stop at once."""
        self.fence = 0

    def acquire(self) -> None:
        """Take the lease if nobody holds it, or its holder has not renewed it in time."""
        try:
            self.fence = self._free() + 1
            renewed = self._put(self._store, EXPIRE_S)
        except (ValueError, LookupError, TypeError) as error:
            raise _damaged(self._output / "ledger" / OBJECT, error) from error
        except (BaseError, OSError) as error:
            raise OutputError(
                f"cannot write {self._output}: {reason(error)}. Set another --output."
            ) from error
        if not renewed:
            raise _held(self._output)

    def keep(self, stopped: Event) -> None:
        """Renew until `stopped`. A renewal that fails is said and tried again, as long as the lease
        lasts; this run stops if another has taken it over."""
        # Not tenacity's: success goes on, too, and an event ends every pause.
        pause = RENEW_S
        while not stopped.wait(pause) and not self._why:
            try:
                if not self._put(self._quick, EXPIRE_S):
                    self._stop("another run has taken it over")
                    return
                pause = RENEW_S
            except (BaseError, OSError, ValueError) as error:
                pause = min(RENEW_S, RETRY_S if pause == RENEW_S else 2 * pause)
                left = max(0.0, self._until - _now())
                _say(f"the lease of {self._output} is not renewed ({reason(error)}); tried again "
                     f"in {pause:.0f} s, for {left:.0f} s more")  # fmt: skip

    def watch(self, stopped: Event) -> None:
        """Stop this run when its lease runs out, whatever the renewals are waiting for."""
        while not stopped.wait(max(0.0, self._until - _now())):
            if self._until <= _now():
                self._stop(_RAN_OUT)
                return

    def require(self, cause: BaseException | None = None) -> None:
        """Raise LeaseLostError if this run may not go on."""
        if self._why or self._until <= _now():
            raise _lost(self._output, self._why or _RAN_OUT) from cause

    def release(self) -> None:
        """Give it back: the number stays, the time is over."""
        if self._why:
            return
        try:
            self._put(self._quick, 0.0)
        except (BaseError, OSError, ValueError) as error:
            _say(f"the lease of {self._output} is not given back ({reason(error)}); others have to "
                 f"wait for {EXPIRE_S:.0f} s")  # fmt: skip

    def _stop(self, why: str) -> None:
        """End this run as SIGTERM does, which unwinds it; where nobody handles that, say why."""
        with self._lock:
            if self._why:
                return
            self._why = why
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            _say(str(_lost(self._output, why)))
        os.kill(os.getpid(), signal.SIGTERM)

    def _free(self) -> int:
        """The newest number, of a lease that nobody holds. Raises OutputHeldError."""
        found = self._read()
        if found is None:
            return 0
        body, written = found
        if body["expires"] and self._age(written) < body.get("seconds", EXPIRE_S):
            raise _held(self._output)
        return int(body["fence"])

    def _age(self, written: datetime) -> float:
        """Seconds since storage took the lease, by its own clock."""
        obstore.put(self._store, CLOCK, b"{}")
        now: datetime = obstore.head(self._store, CLOCK)["last_modified"]
        return (now - written).total_seconds()

    def _read(self) -> tuple[dict[str, Any], datetime] | None:
        """What the object says and when it was written."""
        try:
            found = obstore.get(self._store, OBJECT)
        except FileNotFoundError:
            self._seen = None
            return None
        body: dict[str, Any] = json.loads(bytes(found.bytes()))
        self._seen = version_of(found.meta)
        return body, found.meta["last_modified"]

    def _put(self, store: ObjectStore, seconds: float) -> bool:
        """Write the lease if it is as it was last seen; False if somebody else was faster.

        An answer may be lost, and the request sent anew: what stands there is ours then.
        """
        # Not tenacity's: a round fails by what stands there, and the next one replaces just that.
        for _ in range(ATTEMPTS):
            began = _now()
            self._beats += 1  # no two versions have the same bytes, and so the same tag
            body = {
                "fence": self.fence, "holder": self._holder, "beat": self._beats,
                "seconds": seconds, "expires": time.time() + seconds if seconds else 0.0,
            }  # fmt: skip
            mode: Any = self._seen or "create"
            try:
                done = obstore.put(store, OBJECT, json.dumps(body).encode(), mode=mode)
                self._seen = version_of(done)
            except (AlreadyExistsError, PreconditionError):
                found = self._read()
                if found is None or found[0].get("holder") != self._holder:
                    return False
                if found[0]["beat"] != self._beats:
                    continue  # an earlier one of ours: now that it is seen, it can be replaced
            self._until = began + seconds * (1 - MARGIN)
            return True
        raise OSError(f"{OBJECT} is not replaced, though it is as it was last seen")


def _say(text: str) -> None:
    tell(f"warning: {text}")
