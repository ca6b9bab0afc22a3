"""The lease of a chip store: one writer at a time, from its first look at the store to its last.

It lies beside the store, in `.chips.zarr.lease`, whether the store is there yet or not. On a disk
its holder takes it away while it still holds it: a lock of a file that is gone counts for nobody
(`filelock`). On object storage it stays, and with it the highest number that was given out.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tenacity import Retrying, retry_if_exception, stop_after_attempt

from noise2map_core.runtime.errors import OutputError, OutputHeldError, explained
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.runtime.storage import absolute, files_in, is_local

ATTEMPTS = 20
"""Times that a lease is asked for: its folder may be taken away while it is opened."""


@contextmanager
def hold_store(path: Path) -> Iterator[None]:
    """Hold a chip store, or the place of one, for the time of the body.

    Whatever decides what is written must be read in the body: before it, another run may write.
    Raises OutputHeldError if another run holds it, OutputError if its folder cannot be written.
    """
    folder = lease_folder(path)
    with ExitStack() as held:
        _enter(held, path, folder)
        try:
            yield
        finally:
            if is_local(folder):
                _take_away(folder)


def _enter(held: ExitStack, path: Path, folder: Path) -> None:
    attempts = Retrying(
        retry=retry_if_exception(_was_taken_away), stop=stop_after_attempt(ATTEMPTS), reraise=True
    )
    try:
        attempts(lambda: held.enter_context(hold_lease(folder)))
    except OutputHeldError:
        raise OutputHeldError(
            f"another run is writing chip store {path}. Wait for it to end, or set another "
            "--output."
        ) from None
    except OutputError as error:
        cause = error.__cause__
        told = explained(cause) if isinstance(cause, OSError) else str(error)
        raise OutputError(f"cannot write {path}: {told} Or set another --output.") from error


def _was_taken_away(error: BaseException) -> bool:
    """True if the lease's folder went, or came, while it was opened."""
    return isinstance(error.__cause__, FileNotFoundError | FileExistsError)


def _take_away(folder: Path) -> None:
    """Delete a lease that is held: the lock last, for after it the folder may be another's."""
    for file in sorted(files_in(folder), key=lambda file: file.suffix == ".lock"):
        file.unlink()
    with suppress(OSError):  # not empty: somebody holds it already
        for part in sorted(folder.rglob("*"), reverse=True):
            part.rmdir()
        folder.rmdir()


def lease_folder(path: Path) -> Path:
    """Where the lease of the store at `path` lies; the same however the path is written."""
    path = absolute(path)
    return path.with_name(f".{path.name}.lease")
