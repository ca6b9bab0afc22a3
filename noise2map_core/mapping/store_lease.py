"""The lease of a chip store: one writer at a time, from its first look at the store to its last.

It lies beside the store, in `.chips.zarr.lease`, whether the store is there yet or not, and it
stays: a lock that somebody deletes is held by two.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from noise2map_core.errors import OutputHeldError
from noise2map_core.mapping.lease import hold_lease
from noise2map_core.storage import absolute


@contextmanager
def hold_store(path: Path) -> Iterator[None]:
    """Hold a chip store, or the place of one, for the time of the body.

    Whatever decides what is written must be read in the body: before it, another run may write.
    Raises OutputHeldError if another run holds it, OutputError if its folder cannot be written.
    """
    with ExitStack() as held:
        try:
            held.enter_context(hold_lease(lease_folder(path)))
        except OutputHeldError:
            raise OutputHeldError(
                f"another run is writing chip store {path}. Wait for it to end, or set another "
                "--output."
            ) from None
        yield


def lease_folder(path: Path) -> Path:
    """Where the lease of the store at `path` lies; the same however the path is written."""
    path = absolute(path)
    return path.with_name(f".{path.name}.lease")
