"""What lies at an address of the web and is read by ranges, without a listing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import (
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import object_store, reason

GIVE_UP_S = 20.0
"""How long the first request may take; later ones are sent anew for minutes."""
REFUSED = (PermissionDeniedError, UnauthenticatedError, PermissionError)


def require_ranges(file: Path) -> None:
    """Read the first byte of a file at an address of the web. Raises OutputError if that cannot be
    had alone, FileNotFoundError if the file is not there."""
    with explained_at(file):
        obstore.get_range(object_store(file.parent, GIVE_UP_S), file.name, start=0, length=1)


@contextmanager
def explained_at(place: Path | str) -> Iterator[None]:
    """Say in a line what is wrong where storage refuses: raises OutputError. A file that is not
    there stays a FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, PermissionError) as error:
        raise OutputError(f"{place} cannot be read: {_told(error)}") from error


def _told(error: Exception) -> str:
    text = reason(error)
    found = re.search(r"status code: (\d{3})", text)
    status = f"HTTP {found[1]}" if found else "no answer that says more"
    if isinstance(error, NotSupportedError) or "RangeNotSupported" in text:
        return (
            "its server sends whole files only, no byte ranges. Use a server that knows ranges, "
            "or a copy on a disk."
        )
    if isinstance(error, REFUSED):
        return f"its server refuses it ({status}). See to the rights of the file, or its address."
    if found:
        return f"its server answers {status}. Try again later, or use another mirror."
    return f"{text}. Check the address and the network."
