"""The objects that hold the tiles of a mosaic: of each array one, or none if all is fill value.

What a record says of them is compared with what a listing shows: a tile is kept only if its pixels
are there. A listing reads no pixels, so that ten thousand tiles take seconds; a digest reads all.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import obstore

from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.runtime.mapper import at_once
from noise2map_core.runtime.storage import is_local, object_store, read_if_there

ARRAYS = ("class", "probability", "reason", "valid")
"""The arrays of every mosaic."""
NONE = "none"
"""Said of a tile without any object: all its pixels have the fill value."""


class Found(NamedTuple):
    """An object as a listing shows it."""

    size: int
    tag: str
    """What object storage names this version of its bytes; empty on a disk."""


class Shards:
    """Where the pixels of each tile lie. Reads nothing at first, and needs no Zarr."""

    def __init__(self, path: Path, grid: RegionGrid, names: Iterable[str] = ARRAYS) -> None:
        self._path, self._grid, self._names = path, grid, sorted(names)

    def keys(self, tile: Tile) -> list[tuple[str, str]]:
        """Array and key of each object of a tile."""
        row, col = self._place(tile)
        return [(name, f"{name}/c/{row}/{col}") for name in self._names]

    def digest(self, tile: Tile) -> str:
        """SHA-256 over the objects that hold one tile; one that is not there counts as empty."""
        return digest_over({name: read_if_there(self._path / key) for name, key in self.keys(tile)})

    def stated(self, tile: Tile) -> str:
        """What there is of a tile, for its record."""
        return stated(
            self.look(range(tile.row, tile.row + 1), [tile.col]).get((tile.row, tile.col), {})
        )

    def look(
        self, rows: range, cols: Sequence[int] | None = None
    ) -> dict[tuple[int, int], dict[str, Found]]:
        """The objects of each tile (row, col) of some rows of tiles, by array; of those `cols` that
        are named, or of all."""
        shown: dict[tuple[int, int], dict[str, Found]] = {}
        for name, row, col, found in self._listed(rows, cols):
            shown.setdefault((row, col), {})[name] = found
        return shown

    def tell(self, stated: str, found: dict[str, Found]) -> bool | None:
        """Whether a tile's pixels are those that its record speaks of, as far as a listing tells;
        None if they have to be read.

        Another tag is no fault by itself: copies of a bucket have others. Nor is an object that is
        not there, of a tile whose record, an early one, does not say which are.
        """
        if not stated:
            return True if found.keys() >= set(self._names) else None
        wanted = _parsed(stated)
        if {n: at.size for n, at in wanted.items()} != {n: at.size for n, at in found.items()}:
            return False
        tags = ((at.tag, wanted[name].tag) for name, at in found.items())
        return None if any(now and then and now != then for now, then in tags) else True

    def is_as_written(self, tile: Tile, digest: str) -> bool:
        """True if the pixels have the digest of the record; reads them."""
        return self.digest(tile) == digest

    def _place(self, tile: Tile) -> tuple[int, int]:
        """Row and column of a tile's objects."""
        frame, px = self._grid.tile_frame, self._grid.tile_px
        return tile.row - frame.row // px, tile.col - frame.col // px

    def _listed(
        self, rows: range, cols: Sequence[int] | None
    ) -> Iterator[tuple[str, int, int, Found]]:
        """Array, row and column of tile, and what is there."""
        top, left = self._place(Tile(0, 0))
        wanted = None if cols is None else {str(col + left) for col in cols}
        folders = [(name, row) for name in self._names for row in rows]
        lists = self._on_disk(folders, top) if is_local(self._path) else self._stored(folders, top)
        for (name, row), entries in zip(folders, lists, strict=True):
            for key, found in entries:
                if key.isdecimal() and (wanted is None or key in wanted):
                    yield name, row, int(key) - left, found

    def _on_disk(
        self, folders: list[tuple[str, int]], top: int
    ) -> Iterator[list[tuple[str, Found]]]:
        for name, row in folders:
            try:
                with os.scandir(self._path / name / "c" / str(row + top)) as entries:
                    yield [(one.name, Found(one.stat().st_size, "")) for one in entries]
            except FileNotFoundError:
                yield []

    def _stored(
        self, folders: list[tuple[str, int]], top: int
    ) -> Iterator[list[tuple[str, Found]]]:
        store = object_store(self._path)

        def listing(folder: tuple[str, int]) -> list[tuple[str, Found]]:
            name, row = folder
            found = obstore.list_with_delimiter(store, f"{name}/c/{row + top}")["objects"]
            return [(one["path"].rpartition("/")[2], found_as(one["size"], one)) for one in found]

        yield from at_once(listing, folders)


def digest_over(bodies: Mapping[str, bytes | None]) -> str:
    """SHA-256 over the objects of a tile by array; one that is not there counts as empty."""
    found = sha256()
    for name, body in sorted(bodies.items()):
        found.update(f"{name} {len(body or b'')}\n".encode())
        found.update(body or b"")
    return found.hexdigest()


def stated(found: Mapping[str, Found]) -> str:
    """The objects of a tile, by array, for its record: array, bytes and tag, a space between."""
    words = [f"{name}={at.size}={at.tag}".rstrip("=") for name, at in sorted(found.items())]
    return " ".join(words) or NONE


def found_as(size: int, meta: Mapping[str, Any]) -> Found:
    """An object of which storage says this."""
    return Found(size, (meta["e_tag"] or "").strip('"'))


def _parsed(stated: str) -> dict[str, Found]:
    entries = (one.split("=", 2) for one in stated.split() if "=" in one)
    return {name: Found(int(size), *tag) if tag else Found(int(size), "")
            for name, size, *tag in entries}  # fmt: skip
