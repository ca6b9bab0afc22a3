"""Assets of Zarr as zarr reads them: local folders, or objects behind the door of all assets.

Keys, signatures, patience and refusals are those of files (`rasters/remote.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from noise2map_core.catalog.scene import BandSource
from noise2map_core.rasters.remote import RemoteFile, is_remote
from noise2map_core.runtime.errors import AssetReadError

DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
"""What zarr looks for. A bucket whose readers may not list it refuses what is not there (HTTP 403):
of these most are not."""


def is_refused(error: AssetReadError) -> bool:
    """True if a server has answered that something is not for us."""
    return isinstance(error.__cause__, PermissionError)


def part_of(source: BandSource, key: str) -> BandSource:
    """An object below an asset, with its signature."""
    signed = source.signed
    if signed:
        address = urlsplit(signed)
        signed = urlunsplit(address._replace(path=f"{address.path.rstrip('/')}/{key}"))
    href = f"{source.href.rstrip('/')}/{key}"
    return BandSource(source.name, href, 1, None, None, patience_s=source.patience_s, signed=signed)


def read_part(source: BandSource, key: str, request: ByteRequest | None = None) -> bytes | None:
    """An object below an asset or a part of it; None if it is not there. Raises AssetReadError."""
    part = part_of(source, key)
    if not is_remote(part.href):
        return _cut(Path(part.href).read_bytes(), request) if Path(part.href).is_file() else None
    try:
        file = RemoteFile(part)
    except AssetReadError as error:
        if error.missing:
            return None
        raise
    start, stop = _span(request, file.size)
    body = file.read(start, stop)
    if file.failure is not None:
        raise file.failure
    return body


def _cut(body: bytes, request: ByteRequest | None) -> bytes:
    start, stop = _span(request, len(body))
    return body[start:stop]


def _span(request: ByteRequest | None, size: int) -> tuple[int, int]:
    if isinstance(request, RangeByteRequest):
        return request.start, request.end
    if isinstance(request, OffsetByteRequest):
        return request.offset, size
    if isinstance(request, SuffixByteRequest):
        return max(0, size - request.suffix), size
    return 0, size


class AssetStore(Store):
    """One array of an asset. Read only, and nothing is listed."""

    supports_writes = supports_deletes = supports_listing = False

    def __init__(self, source: BandSource) -> None:
        super().__init__(read_only=True)
        self._source = replace(source, version=None)

    def __eq__(self, other: object) -> bool:
        """True for the same array."""
        return isinstance(other, AssetStore) and other._source == self._source

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """One object or a part of it; None if it is not there. Raises AssetReadError."""
        try:
            body = await asyncio.to_thread(read_part, self._source, key, byte_range)
        except AssetReadError as error:
            if not (key in DOCUMENTS and is_refused(error)):
                raise
            return None
        return None if body is None else prototype.buffer.from_bytes(body)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several parts."""
        return [await self.get(key, prototype, request) for key, request in key_ranges]

    async def exists(self, key: str) -> bool:
        """True if an object is there."""
        return await asyncio.to_thread(read_part, self._source, key) is not None

    async def set(self, key: str, value: Buffer) -> NoReturn:
        """Nothing is written."""
        raise NotImplementedError

    async def delete(self, key: str) -> NoReturn:
        """Nothing is deleted."""
        raise NotImplementedError

    def list(self) -> AsyncIterator[str]:
        """Nothing is listed."""
        raise NotImplementedError

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Nothing is listed."""
        raise NotImplementedError

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Nothing is listed."""
        raise NotImplementedError

    def __hash__(self) -> int:
        return hash(self._source)

    def __reduce__(self) -> Any:
        return AssetStore, (self._source,)
