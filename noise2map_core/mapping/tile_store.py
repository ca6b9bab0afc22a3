"""Where the tiles of a mosaic are written, by whoever still holds its lease.

On a disk an object is there, file and folder, when its writing returns: a record may vouch for it.
On object storage it is created, or replaced on condition: it must still be what it was before the
writer looked whether its run holds the lease, so that who slept through the end of it destroys
nothing. Who creates need not look first: storage says if something is there.

Tiles are written whole, and the Zarr stores here show none of their pixels: Zarr would read a shard
before it replaces it, and stumble over one that is damaged.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from zarr.abc.store import Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore
from zarr.storage import ObjectStore as ZarrObjectStore

from noise2map_core.mapping.shards import Found, found_as
from noise2map_core.runtime.atomic import whole_file
from noise2map_core.runtime.errors import LeaseLostError, OutputError
from noise2map_core.runtime.mapper import at_once
from noise2map_core.runtime.storage import is_local, object_store, reason, sync, version_of

PIXELS = "/c/"
"""Is in the key of an object that holds pixels."""
Require = Callable[[], None]
"""Raises LeaseLostError if the lease is not held any more."""
Bodies = Mapping[str, bytes | None]
"""The bytes of objects by key; None: there is to be no such object."""


def nothing() -> None:
    """What is asked of who writes without a lease, or done before a tile is replaced."""


class TileObjects(Protocol):
    """The objects of a store."""

    def replace(self, bodies: Bodies, before: Callable[[], None] = nothing) -> dict[str, Found]:
        """Make the objects of a tile what `bodies` says; what is there then, by key.

        `before` is called, once, before anything that is there is changed. Raises LeaseLostError,
        and OutputError or OSError if storage refuses.
        """


def tile_objects(path: Path, require: Require) -> TileObjects:
    """The objects of a mosaic, for whose writing `require` is asked."""
    return Files(path, require) if is_local(path) else FencedObjects(path, require)


def tile_store(path: Path, require: Require) -> Store:
    """The same as a Zarr store."""
    return DurableStore(path, require) if is_local(path) else FencedStore(path, require)


class Files:
    """Files that are on the disk when they are said to be."""

    def __init__(self, path: Path, require: Require) -> None:
        self._path, self._require = path, require

    def replace(self, bodies: Bodies, before: Callable[[], None] = nothing) -> dict[str, Found]:
        """See `TileObjects`."""
        if any((self._path / key).exists() for key in bodies):
            before()
        for key, body in bodies.items():
            self._put(self._path / key, body)
        return {key: Found(len(body), "") for key, body in bodies.items() if body is not None}

    def _put(self, file: Path, body: bytes | None) -> None:
        if body is None:
            self._require()
            file.unlink(missing_ok=True)
            return
        _make_folders(file.parent)
        with whole_file(file) as partial:
            partial.write_bytes(body)
            self._require()


class _Standing(NamedTuple):
    """Something else that is there: it can be replaced by who has seen this version."""

    version: dict[str, Any]


class FencedObjects:
    """Objects that are replaced only by who has seen their newest version and holds the lease."""

    def __init__(self, path: Path, require: Require) -> None:
        self._path, self._require, self._store = path, require, object_store(path)

    def replace(self, bodies: Bodies, before: Callable[[], None] = nothing) -> dict[str, Found]:
        """See `TileObjects`. What is made anew takes one request an object, all at once."""
        self._require()
        created = at_once(lambda one: self._create(*one), bodies.items())
        made = dict(zip(bodies, created, strict=True))
        standing = {key: at for key, at in made.items() if isinstance(at, _Standing)}
        if standing:
            before()
            self._require()
            made |= {key: self._change(key, bodies[key], at) for key, at in standing.items()}
        return {key: at for key, at in made.items() if isinstance(at, Found)}

    def _create(self, key: str, body: bytes | None) -> Found | _Standing | None:
        """Put an object where none is; what is there instead, if it has other bytes."""
        with self._named(key):
            if body is None:
                return self._seen(key)
            try:
                return found_as(len(body), obstore.put(self._store, key, body, mode="create"))
            except AlreadyExistsError:
                return self._look(key, body)

    def _change(self, key: str, body: bytes | None, seen: _Standing) -> Found | None:
        """Put an object in the place of the version that was seen."""
        with self._named(key):
            if body is None:
                obstore.delete(self._store, key)
                return None
            try:
                mode: Any = seen.version
                return found_as(len(body), obstore.put(self._store, key, body, mode=mode))
            except (AlreadyExistsError, PreconditionError) as error:
                found = self._look(key, body)
                if isinstance(found, Found):
                    return found
                raise LeaseLostError(
                    f"{self._path / key} was written by another run meanwhile. This one has "
                    "stopped; what is done is kept, and the same command continues."
                ) from error

    def _look(self, key: str, body: bytes) -> Found | _Standing:
        """What is there: ours, if an answer was lost and the request sent anew."""
        found = obstore.get(self._store, key)
        if bytes(found.bytes()) == body:
            return found_as(len(body), found.meta)
        return _Standing(version_of(found.meta))

    def _seen(self, key: str) -> _Standing | None:
        try:
            return _Standing(version_of(obstore.head(self._store, key)))
        except FileNotFoundError:
            return None

    @contextmanager
    def _named(self, key: str) -> Iterator[None]:
        try:
            yield
        except BaseError as error:
            raise OutputError(
                f"cannot write {self._path / key}: {reason(error)}. See to the storage and run the "
                "same command again; what was there is kept."
            ) from error


class DurableStore(LocalStore):
    """Files as a Zarr store that shows documents alone."""

    def __init__(self, path: Path, require: Require) -> None:
        super().__init__(path)
        self._files = Files(path, require)

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: Any = None
    ) -> Buffer | None:
        """A document."""
        return None if PIXELS in key else await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write one file, whole."""
        await asyncio.to_thread(self._files.replace, {key: value.to_bytes()})

    async def delete(self, key: str) -> None:
        """Delete one file, if it is there."""
        await asyncio.to_thread(self._files.replace, {key: None})


class FencedStore(ZarrObjectStore):  # type: ignore[type-arg]
    """Objects as a Zarr store that shows documents alone."""

    def __init__(self, path: Path, require: Require) -> None:
        super().__init__(object_store(path))
        self._objects = FencedObjects(path, require)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: Any = None) -> Any:
        """A document."""
        return None if PIXELS in key else await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write one object. Raises LeaseLostError if another run was faster."""
        await asyncio.to_thread(self._objects.replace, {key: value.to_bytes()})

    async def delete(self, key: str) -> None:
        """Delete one object, if it is there."""
        await asyncio.to_thread(self._objects.replace, {key: None})


def _make_folders(folder: Path) -> None:
    """Make a folder and what leads to it, and see that their names are on the disk."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)
