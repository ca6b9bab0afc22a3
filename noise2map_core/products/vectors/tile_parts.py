"""Vector tiles by parts: which polygons a tile shows, and tiles put together in one file.

A part is a square of tiles of one zoom, known by the tile of an earlier zoom that covers it (its
node), with few polygons, or a single tile. Tiles of one zoom do not depend on those of another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pmtiles.reader import MemorySource, Reader, all_tiles
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer

MOST_FROM_AFAR = 2_000
"""Polygons of a tile before the last zoom: of more, a screen shows little, and GDAL makes a tile of
over 500 kB anew again and again, coarser each time. Parts of several tiles have no more either."""
UNITS = 4_096
"""Of a tile's side: coordinates are whole numbers of them."""
MARGIN = 1 / 32
"""Around a tile, of its side: GDAL shows 80 units beyond it."""

Boxes = NDArray[np.float64]
"""[polygon, (west, south, east, north)]"""
Tiles = tuple[list[tuple[int, bytes]], dict[str, str]]
"""Number in PMTiles' order and bytes of each tile, and the type of each field."""


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


def parts_of(degrees: Boxes, zoom: int, last: int) -> list[Part]:
    """The parts of a zoom in the order of their tiles, of polygons with these bounds in degrees."""
    west, south, east, north = degrees.T
    boxes = np.stack([_x(west), _y(north), _x(east), _y(south)], axis=1)
    found = list(_split(Node(0, 0, 0), np.arange(len(boxes)), boxes, zoom, last))
    return sorted(found, key=lambda part: part[1].number(zoom))


def _split(
    node: Node, among: NDArray[np.int64], boxes: Boxes, zoom: int, last: int
) -> Iterator[Part]:
    left, top, right, bottom = node.frame(zoom)
    one = boxes[among]
    rows = among[
        (one[:, 0] <= right) & (one[:, 2] >= left) & (one[:, 1] <= bottom) & (one[:, 3] >= top)
    ]
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
    """One PMTiles file of tiles that come in its order."""

    def __init__(self, file: BinaryIO, degrees: Boxes, zooms: tuple[int, int]) -> None:
        self._writer, self._zooms = Writer(file), zooms
        west, south = degrees[:, :2].min(axis=0).tolist()
        east, north = degrees[:, 2:].max(axis=0).tolist()
        self._bounds = west, south, east, north
        self._fields: dict[str, str] = {}

    def add(self, tiles: Tiles) -> None:
        """Append the tiles of a part."""
        bodies, fields = tiles
        for number, body in bodies:
            self._writer.write_tile(number, body)
        self._fields |= fields

    def finish(self, layer: str, title: str) -> None:
        """Write the file, whose bounds are those of all polygons."""
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


def _placed(which: str, longitude: float, latitude: float) -> dict[str, int]:
    return {
        f"{which}_lon_e7": round(longitude * 1e7), f"{which}_lat_e7": round(latitude * 1e7)
    }  # fmt: skip
