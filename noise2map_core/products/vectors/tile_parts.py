"""Vector tiles by parts: which polygons a tile shows, and tiles put together in one file.

A part is a square of tiles of one zoom, known by the tile of an earlier zoom that covers it (its
node), with few polygons, or a single tile. Tiles of one zoom do not depend on those of another.
"""

from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pmtiles.reader import MemorySource, Reader, all_tiles
from pmtiles.tile import Compression, Entry, TileType, zxy_to_tileid
from pmtiles.writer import Writer

from noise2map_core.products.part_files import put_part

MOST_FROM_AFAR = 2_000
"""Polygons of a tile before the last zoom: of more, a screen shows little, and GDAL makes a tile of
over 500 kB anew again and again, coarser each time. Parts of several tiles have no more either."""
UNITS = 4_096
"""Of a tile's side: coordinates are whole numbers of them."""
MARGIN = 1 / 32
"""Around a tile, of its side: GDAL shows 80 units beyond it."""

MOST_AT_ONCE = 200_000
"""Polygons whose parts are found in one go."""

Numbers = NDArray[np.int64]
Boxes = NDArray[np.float64]
"""[polygon, (west, south, east, north)]"""
Tiles = tuple[list[tuple[int, bytes]], dict[str, str]]
"""Number in PMTiles' order and bytes of each tile, and the type of each field."""


class KeptTiles(NamedTuple):
    """What is known of tiles that lie one behind the other in the file of their part."""

    file: int
    tiles: list[tuple[int, int, bytes]]
    """Number in PMTiles' order, length and digest of each."""
    fields: dict[str, str]
    body: bytes | None
    """None: the file is there."""

    @classmethod
    def of(cls, tiles: Tiles, folder: Path, file: int) -> "KeptTiles":
        """Tiles, written where the folder is seen."""
        bodies, fields = tiles
        told = [(number, len(body), sha256(body).digest()) for number, body in bodies]
        body = b"".join(body for _, body in bodies)
        return cls(file, told, fields, None if put_part(folder, file, body) else body)


class Node(NamedTuple):
    """A tile of Web Mercator."""

    zoom: int
    col: int
    row: int

    def number(self, zoom: int) -> int:
        """Of its first tile at `zoom`, in PMTiles' order: that of a Hilbert curve."""
        before = (4**self.zoom - 1) // 3
        of_zoom = zxy_to_tileid(self.zoom, self.col, self.row) - before
        return int((4**zoom - 1) // 3 + of_zoom * 4 ** (zoom - self.zoom))

    def covers(self, zoom: int, col: int, row: int) -> bool:
        """Whether it is, or holds, a tile."""
        steps = zoom - self.zoom
        return (col >> steps, row >> steps) == (self.col, self.row)

    def children(self) -> Iterator["Node"]:
        """The four tiles of the next zoom."""
        for row in (0, 1):
            for col in (0, 1):
                yield Node(self.zoom + 1, 2 * self.col + col, 2 * self.row + row)

    def frame(self, zoom: int) -> tuple[float, float, float, float]:
        """West, north, east, south of what its tiles of `zoom` show, the world's square being 1."""
        side, margin = 0.5**self.zoom, MARGIN * 0.5**zoom
        return (
            self.col * side - margin, self.row * side - margin,
            (self.col + 1) * side + margin, (self.row + 1) * side + margin,
        )  # fmt: skip


Part = tuple[int, Node, NDArray[np.int64]]
"""Zoom, node, and the polygons that are shown."""


def squares_of(degrees: Boxes, counts: NDArray[np.int64], zoom: int) -> list[tuple[Node, Numbers]]:
    """Nodes that show everything at a zoom, each with the groups of polygons that it may show:
    `counts` of them lie within `degrees`. A node shows few polygons, or it is a tile."""
    return list(_cut(Node(0, 0, 0), np.arange(len(counts)), squared(degrees), counts, zoom))


def _cut(
    node: Node, among: Numbers, boxes: Boxes, counts: NDArray[np.int64], zoom: int
) -> Iterator[tuple[Node, Numbers]]:
    near = among[_shows(node, zoom, boxes[among])]
    if node.zoom == zoom or counts[near].sum() <= MOST_AT_ONCE:
        if len(near):
            yield node, near
        return
    for child in node.children():
        yield from _cut(child, near, boxes, counts, zoom)


def parts_of(
    degrees: Boxes, zoom: int, last: int, within: Node | None = None, rows: Numbers | None = None
) -> list[Part]:
    """The parts of a zoom in the order of their tiles, of polygons with these bounds in degrees:
    those `within` a node (None: the world), of these numbers (None: 0, 1, …)."""
    boxes, numbers = squared(degrees), np.arange(len(degrees)) if rows is None else rows
    node = _nearest(within or Node(0, 0, 0), boxes, zoom)
    found = _split(node, np.arange(len(boxes)), boxes, zoom, last)
    return in_order([(zoom, one, numbers[some]) for _, one, some in found])


def in_order(parts: list[Part]) -> list[Part]:
    """The parts of a zoom as their tiles lie in a file."""
    return sorted(parts, key=lambda part: part[1].number(part[0]))


def squared(degrees: Boxes) -> Boxes:
    """Bounds in Web Mercator, the world's square being 1: left, top, right, bottom."""
    west, south, east, north = degrees.T
    return np.stack([_x(west), _y(north), _x(east), _y(south)], axis=1)


def _nearest(node: Node, boxes: Boxes, zoom: int) -> Node:
    """The smallest one outside of which nothing is shown; the node itself, if they are few."""
    whole = np.append(boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0))
    while node.zoom < zoom and len(boxes) > MOST_FROM_AFAR:
        near = [one for one in node.children() if _shows(one, zoom, whole[None])[0]]
        if len(near) != 1:
            break
        (node,) = near
    return node


def _shows(node: Node, zoom: int, boxes: Boxes) -> NDArray[np.bool_]:
    """Which of the boxes tiles of `zoom` show."""
    left, top, right, bottom = node.frame(zoom)
    within: NDArray[np.bool_] = (
        (boxes[:, 0] <= right) & (boxes[:, 2] >= left)
        & (boxes[:, 1] <= bottom) & (boxes[:, 3] >= top)
    )  # fmt: skip
    return within


def _split(
    node: Node, among: NDArray[np.int64], boxes: Boxes, zoom: int, last: int
) -> Iterator[Part]:
    rows = among[_shows(node, zoom, boxes[among])]
    if node.zoom == zoom or len(rows) <= MOST_FROM_AFAR:
        if len(rows):
            yield zoom, node, rows if zoom == last else _largest(rows, boxes)
        return
    for child in node.children():
        yield from _split(child, rows, boxes, zoom, last)


def _largest(rows: NDArray[np.int64], boxes: Boxes) -> NDArray[np.int64]:
    """The largest of these, in their order; of equal ones the first."""
    sides = boxes[rows, 2:] - boxes[rows, :2]
    return np.sort(rows[np.argsort(-sides.prod(axis=1), kind="stable")[:MOST_FROM_AFAR]])


def _x(longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    return longitude / 360 + 0.5


def _y(latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """From north to south, as tiles are counted."""
    return 0.5 - np.arcsinh(np.tan(np.radians(latitude))) / (2 * np.pi)


def shown(table: pa.Table, node: Node, zoom: int, *, last: bool) -> pa.Table:
    """The same polygons, in degrees, without what no tile of the part shows: one that covers much
    of a region is not traced whole for each part. Before the last zoom, without what is finer than
    the tiles' units either, which GDAL takes long to see."""
    left, top, right, bottom = node.frame(zoom)
    west, east = (360 * (x - 0.5) for x in (left, right))
    north, south = (
        float(np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * y))))) for y in (top, bottom)
    )
    shapes = shapely.from_wkb(table["geometry"].to_numpy())
    inner = shapely.clip_by_rect(shapes, west, south, east, north)
    if not last:
        plain = shapely.simplify(inner, 360 / UNITS / 2**zoom, preserve_topology=False)
        inner = np.where(shapely.is_empty(plain), inner, plain)
    kept = pa.array(shapely.to_wkb(inner), pa.binary())
    whole = table.set_column(table.schema.get_field_index("geometry"), "geometry", kept)
    return whole.filter(pa.array(~shapely.is_empty(inner)))


def tiles_of(path: Path, node: Node) -> Tiles:
    """The tiles of a node in a file that GDAL has written, in order, and the layer's fields."""
    source = MemorySource(path.read_bytes())
    if not Reader(source).header()["addressed_tiles_count"]:
        return [], {}
    found = [
        (zxy_to_tileid(*place), body) for place, body in all_tiles(source) if node.covers(*place)
    ]
    (layer,) = Reader(source).metadata()["vector_layers"]
    return sorted(found), layer["fields"]


class Archive:
    """One PMTiles file of tiles that come in its order: where they lie until it is written."""

    def __init__(self, degrees: Boxes, zooms: tuple[int, int]) -> None:
        """Of polygons that lie within these bounds."""
        self._head, self._zooms = BytesIO(), zooms
        self._writer = Writer(self._head)
        west, south = degrees[:, :2].min(axis=0).tolist()
        east, north = degrees[:, 2:].max(axis=0).tolist()
        self._bounds = west, south, east, north
        self._fields: dict[str, str] = {}
        self._runs: list[tuple[int, int, int]] = []

    def add(self, part: KeptTiles) -> None:
        """Append the tiles of a part; equal ones are in the file once."""
        at = 0
        for number, length, digest in part.tiles:
            if digest not in self._writer.hash_to_offset:
                self._writer.hash_to_offset[digest] = self._writer.offset
                self._writer.offset += length
                self._runs.append((part.file, at, length))
            self._enter(number, self._writer.hash_to_offset[digest], length)
            at += length
        self._fields |= part.fields

    def _enter(self, number: int, offset: int, length: int) -> None:
        """As `Writer.write_tile` does: one entry for equal tiles in a row."""
        entries = self._writer.tile_entries
        last = entries[-1] if entries else Entry(-1, -1, 0, 0)
        if number == last.tile_id + last.run_length and last.offset == offset:
            last.run_length += 1
        else:
            entries.append(Entry(number, offset, length, 1))
        self._writer.addressed_tiles += 1

    @property
    def runs(self) -> NDArray[np.int64]:
        """[run, (file, offset, bytes)] What follows the head."""
        return np.array(self._runs, np.int64).reshape(-1, 3)

    def head(self, layer: str, title: str) -> bytes:
        """All that stands before the tiles; bounds are those of all polygons."""
        low, high = self._zooms
        west, south, east, north = self._bounds
        middle = (west + east) / 2, (south + north) / 2
        header = {
            "tile_type": TileType.MVT, "tile_compression": Compression.GZIP,
            **_placed("min", west, south), **_placed("max", east, north),
            **_placed("center", *middle), "center_zoom": low,
        }  # fmt: skip
        of_layer = {"id": layer, "description": "", "minzoom": low, "maxzoom": high}
        about = {
            "name": layer, "description": title, "type": "overlay", "format": "pbf",
            "minzoom": str(low), "maxzoom": str(high),
            "bounds": ",".join(f"{one:.7f}" for one in self._bounds),
            "center": ",".join([*(f"{one:.7f}" for one in middle), str(low)]),
            "vector_layers": [{**of_layer, "fields": self._fields}],
        }  # fmt: skip
        self._writer.finalize(header, about)
        return self._head.getvalue()


def _placed(which: str, longitude: float, latitude: float) -> dict[str, int]:
    return {
        f"{which}_lon_e7": round(longitude * 1e7), f"{which}_lat_e7": round(latitude * 1e7)
    }  # fmt: skip
