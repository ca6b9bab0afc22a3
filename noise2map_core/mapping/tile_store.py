"""Zarr stores to which the tiles of a mosaic are written by whoever still holds its lease.

On a disk an object is there, file and folder, when its writing returns: a record may vouch for it.
On object storage it is replaced on condition: it must still be what it was before the writer looked
whether its run holds the lease, so that who slept through the end of it destroys nothing.

Tiles are written whole, and these stores show none of their pixels: Zarr would read a shard before
it replaces it, and stumble over one that is damaged.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from zarr.abc.store import Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore
from zarr.storage import ObjectStore as ZarrObjectStore

from noise2map_core.runtime.atomic import whole_file
from noise2map_core.runtime.errors import LeaseLostError, OutputError
from noise2map_core.runtime.storage import is_local, object_store, reason, sync, version_of

PIXELS = "/c/"
"""Is in the key of an object that holds pixels."""
Require = Callable[[], None]
"""Raises LeaseLostError if the lease is not held any more."""


def tile_store(path: Path, require: Require) -> Store:
    """The store of a mosaic in which every writing asks `require` first."""
    return DurableStore(path, require) if is_local(path) else FencedStore(path, require)


class DurableStore(LocalStore):
    """Files that are on the disk when they are said to be."""

    def __init__(self, path: Path, require: Require) -> None:
        super().__init__(path)
        self._require = require

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: Any = None
    ) -> Buffer | None:
        """A document."""
        return None if PIXELS in key else await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write one file, whole."""
        await asyncio.to_thread(self._write, self.root / key, value)

    async def delete(self, key: str) -> None:
        """Delete one file, if it is there."""
        self._require()
        await super().delete(key)

    def _write(self, file: Path, value: Buffer) -> None:
        _make_folders(file.parent)
        with whole_file(file) as partial:
            partial.write_bytes(value.as_buffer_like())
            self._require()


class FencedStore(ZarrObjectStore):  # type: ignore[type-arg]
    """Objects that are replaced only by who has seen their newest version and holds the lease."""

    def __init__(self, path: Path, require: Require) -> None:
        super().__init__(object_store(path))
        self._require, self._path = require, path

    async def get(self, key: str, prototype: BufferPrototype, byte_range: Any = None) -> Any:
        """A document."""
        return None if PIXELS in key else await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write one object. Raises LeaseLostError if another run was faster."""
        body = value.to_bytes()
        try:
            mode: Any = await self._seen(key) or "create"
            await asyncio.to_thread(self._require)
            await obstore.put_async(self.store, key, body, mode=mode)
        except (AlreadyExistsError, PreconditionError) as error:
            if not await self._is(key, body):  # an answer may be lost, and the request sent anew
                raise LeaseLostError(
                    f"{self._path / key} was written by another run meanwhile. This one has "
                    "stopped; what is done is kept, and the same command continues."
                ) from error
        except BaseError as error:
            raise OutputError(
                f"cannot write {self._path / key}: {reason(error)}. See to the storage and run the "
                "same command again; what was there is kept."
            ) from error

    async def delete(self, key: str) -> None:
        """Delete one object, if it is there."""
        if await self._seen(key):
            await asyncio.to_thread(self._require)
            await super().delete(key)

    async def _seen(self, key: str) -> Any:
        """The version that is there; None if there is none."""
        try:
            return version_of(await obstore.head_async(self.store, key))
        except FileNotFoundError:
            return None

    async def _is(self, key: str, body: bytes) -> bool:
        try:
            found = await obstore.get_async(self.store, key)
            return bytes(await found.bytes_async()) == body
        except FileNotFoundError:
            return False


def _make_folders(folder: Path) -> None:
    """Make a folder and what leads to it, and see that their names are on the disk."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)
