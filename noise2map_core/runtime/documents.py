"""Files that people hand over: read whole, if they are files and of a size that makes sense.

A pipe would be waited for without end, a device or a huge file read until memory is full.
"""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from noise2map_core.runtime.storage import is_local, read_bytes, size_of

MAX_DOCUMENT = 64 << 20
"""Bytes of a settings file, an area, a table: far more than any has."""

_KINDS = {
    stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def read_file(path: Path, max_bytes: int = MAX_DOCUMENT) -> bytes:
    """The bytes of a file, or of an object.

    Raises FileNotFoundError, and another OSError for what is no regular file or larger than
    `max_bytes`; nothing is waited for.
    """
    if not is_local(path):
        _require_size(size_of(path), max_bytes)
        return read_bytes(path)
    with open(path, "rb", opener=_open_at_once) as file:
        state = os.fstat(file.fileno())
        _require_regular(state)
        _require_size(state.st_size, max_bytes)
        return file.read()


def require_file(path: Path) -> None:
    """Raise as `read_file` does for what is no regular file; for files that libraries open."""
    if is_local(path):
        with open(path, "rb", opener=_open_at_once) as file:
            _require_regular(os.fstat(file.fileno()))


def read_text(path: Path, max_bytes: int = MAX_DOCUMENT) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises as `read_file` does, and ValueError for another encoding.
    """
    return decoded(read_file(path, max_bytes))


def decoded(content: bytes) -> str:
    """UTF-8 as text. Raises ValueError."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.start})") from None


def parse_json(text: str, *, allow_nan: bool = False) -> Any:
    """The value of JSON, in which a key stands once and numbers are finite (`allow_nan`: or not).

    Raises ValueError, for nesting without end too.
    """
    if not text.strip():
        raise ValueError("it is empty")
    numbers = {} if allow_nan else {"parse_constant": _refuse, "parse_float": _finite}
    try:
        return json.loads(text, object_pairs_hook=_unique, **numbers)  # type: ignore[arg-type]
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting for whoever may write into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _require_regular(state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise OSError(f"it is {_KINDS.get(stat.S_IFMT(state.st_mode), 'no file')}, not a file")


def _require_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise OSError(f"it has {size:,} bytes, more than the {max_bytes:,} that are read")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.80} stands there twice")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is too large a number")
    return value
