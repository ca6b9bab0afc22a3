"""The anchored region grid, its tiles, and the lattice of chips.

Pixels are counted from the lattice origin of the CRS: row 0 begins at `y_origin` and rows grow
southwards, column 0 begins at `x_origin` and columns grow eastwards. Both origins lie within one
pixel of the CRS's own, so that a tile id means the same place whatever the area of interest.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from shapely.geometry.base import BaseGeometry

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.ground import metres_per_unit, true_side
from noise2map_core.geo.turns import turn_of
from noise2map_core.geo.window import Window
from noise2map_core.runtime.errors import ConfigError

SNAP_PX = 0.1
"""Area edges this close to a pixel edge are taken to lie on it: reprojection bends lines."""

MAX_SMALL_REGION_PX = 4096

MAX_TILES = 100_000_000
"""The land of the world in pixels of 1 m has less."""

BAND_TILES = 25_000
"""Tiles that are looked at together; more make a plan no faster."""


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One square of the region grid; tile (0, 0) has its upper left corner at the origin."""

    row: int
    col: int

    def __str__(self) -> str:
        return f"r{self.row}c{self.col}"


@dataclass(frozen=True)
class ChipLattice:
    """Chips of `chip_px` pixels a side, `stride_px` apart, anchored at pixel (0, 0) of the grid."""

    chip_px: int
    stride_px: int

    def chips_touching(self, window: Window) -> list[Window]:
        """The chips that share a pixel with `window`, by rows, then columns."""
        return [
            Window(row, col, self.chip_px, self.chip_px)
            for row in self._starts(window.row, window.row_stop)
            for col in self._starts(window.col, window.col_stop)
        ]

    def cover(self, window: Window) -> Window:
        """The pixels that the chips touching `window` read: the window and its halo."""
        rows = self._starts(window.row, window.row_stop)
        cols = self._starts(window.col, window.col_stop)
        return Window(
            rows[0], cols[0], rows[-1] - rows[0] + self.chip_px, cols[-1] - cols[0] + self.chip_px
        )

    def _starts(self, start: int, stop: int) -> range:
        first = math.floor((start - self.chip_px) / self.stride_px) + 1
        last = math.ceil(stop / self.stride_px)
        return range(first * self.stride_px, last * self.stride_px, self.stride_px)


@dataclass(frozen=True)
class RegionGrid:
    """The pixels of a region: a window of the anchored lattice, cut into tiles.

    `outline` is the area of interest in `crs`; `region` is its bounding window, snapped outwards.
    """

    crs: str
    resolution: float
    x_origin: float
    y_origin: float
    tile_px: int
    region: Window
    outline: BaseGeometry = field(repr=False)

    @classmethod
    def covering(
        cls,
        aoi: AreaOfInterest,
        crs: str,
        resolution: float,
        x_origin: float = 0.0,
        y_origin: float = 0.0,
        tile_px: int | None = None,
    ) -> "RegionGrid":
        """The grid over an area. Without `tile_px`: 512 for regions under 4096², else 2048.

        Raises ConfigError if the CRS does not reach the area, or if that is less than one pixel.
        """
        outline = Geometry(aoi.geometry, "EPSG:4326").to_crs(crs, resolution="auto").geom
        if not np.isfinite(shapely.get_coordinates(outline)).all():
            raise ConfigError(
                f"area {aoi.name} lies where {crs} has no coordinates. Set grid.crs to auto or to "
                "a CRS for that place."
            )
        _require_one_place(outline, crs, aoi)
        if outline.area < resolution**2:
            raise ConfigError(
                f"area {aoi.name} has {outline.area:.3g} m², less than one pixel of {resolution:g} "
                "m. Draw a larger one, or choose finer imagery."
            )
        west, south, east, north = outline.bounds
        row, row_stop = _snapped(y_origin - north, y_origin - south, resolution)
        col, col_stop = _snapped(west - x_origin, east - x_origin, resolution)
        region = Window(row, col, row_stop - row, col_stop - col)
        small = max(region.height, region.width) < MAX_SMALL_REGION_PX
        side = tile_px or (512 if small else 2048)
        grid = cls(crs, resolution, x_origin, y_origin, side, region, outline)
        rows, cols = grid.shape_tiles
        if rows * cols > MAX_TILES:
            raise ConfigError(
                f"area {aoi.name} comes to {rows * cols:,} tiles of {side:,} x {side:,} pixels of "
                f"{resolution:g} m: too many to be made. Set a coarser grid.resolution, a larger "
                "grid.tile_px, or a smaller area."
            )
        return grid

    @cached_property
    def ground_m(self) -> float:
        """Side of a pixel in metres on the ground, in the middle of the region: `resolution`, but
        for projections such as Web Mercator."""
        side = self.resolution * metres_per_unit(self.geobox(self.region))
        return true_side(self.resolution, side)

    def transform(self, window: Window) -> Affine:
        """Pixel to CRS coordinates of an array that covers `window`."""
        x = self.x_origin + window.col * self.resolution
        y = self.y_origin - window.row * self.resolution
        return Affine(self.resolution, 0.0, x, 0.0, -self.resolution, y)

    def geobox(self, window: Window) -> GeoBox:
        """The georeferenced frame of `window`."""
        return GeoBox((window.height, window.width), self.transform(window), self.crs)

    @cached_property
    def tile_frame(self) -> Window:
        """The smallest window of whole tiles that holds the region: the frame of the mosaic."""
        px = self.tile_px
        row, col = self.region.row // px, self.region.col // px
        row_stop, col_stop = -(-self.region.row_stop // px), -(-self.region.col_stop // px)
        return Window(row * px, col * px, (row_stop - row) * px, (col_stop - col) * px)

    @property
    def shape_tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles in `tile_frame`."""
        return self.tile_frame.height // self.tile_px, self.tile_frame.width // self.tile_px

    def tile_at(self, index: int) -> Tile:
        """The tile of a flat index over `tile_frame`, by rows."""
        rows, cols = self.shape_tiles
        first_row, first_col = (
            self.tile_frame.row // self.tile_px,
            self.tile_frame.col // self.tile_px,
        )
        assert 0 <= index < rows * cols
        return Tile(first_row + index // cols, first_col + index % cols)

    def tiles(self) -> Iterator[Tile]:
        """The tiles that meet the outline, by rows; a band of them is held in memory."""
        for rows in self.bands():
            for row, col in self.tiles_in(rows).tolist():
                yield Tile(row, col)

    def bands(self) -> Iterator[range]:
        """The rows of tiles of `tile_frame`, as many at a time as hold BAND_TILES at most."""
        rows, cols = self.shape_tiles
        first, step = self.tile_frame.row // self.tile_px, max(1, BAND_TILES // cols)
        for row in range(first, first + rows, step):
            yield range(row, min(row + step, first + rows))

    def tiles_in(self, rows: range) -> NDArray[np.int32]:
        """[tile, (row, col)] of the tiles in some rows that meet the outline, by rows."""
        first, cols = self.tile_frame.col // self.tile_px, self.shape_tiles[1]
        row, col = np.meshgrid(np.array(rows), first + np.arange(cols), indexing="ij")
        tiles = np.stack([row.ravel(), col.ravel()], axis=1).astype(np.int32)
        shapely.prepare(self.outline)
        return tiles[shapely.intersects(self.outline, self.tile_boxes(tiles))]

    def tile_boxes(self, tiles: NDArray[np.int32]) -> NDArray[np.object_]:
        """The outer edge of each tile [tile, (row, col)] in the grid's CRS."""
        side = self.tile_px * self.resolution
        west = self.x_origin + tiles[:, 1] * side
        north = self.y_origin - tiles[:, 0] * side
        boxes: NDArray[np.object_] = shapely.box(west, north - side, west + side, north)
        return boxes

    def window(self, tile: Tile) -> Window:
        """The core pixels of a tile."""
        return Window(tile.row * self.tile_px, tile.col * self.tile_px, self.tile_px, self.tile_px)

    def bounds_polygon(self, window: Window) -> BaseGeometry:
        """The outer edge of `window` in the grid's CRS."""
        transform = self.transform(window)
        x, y = transform.c, transform.f
        return shapely.box(
            x, y - window.height * self.resolution, x + window.width * self.resolution, y
        )


def _require_one_place(outline: BaseGeometry, crs: str, aoi: AreaOfInterest) -> None:
    """Raise ConfigError if an area comes to lie at both ends of a CRS that unrolls the globe."""
    turn, (west, _, east, _) = turn_of(crs), outline.bounds
    if turn is not None and east - west > turn / 2:
        raise ConfigError(
            f"area {aoi.name} crosses the antimeridian, at which {crs} is cut. Set grid.crs to "
            "auto or to a CRS for that place."
        )


def _snapped(low: float, high: float, resolution: float) -> tuple[int, int]:
    """Pixel numbers that hold [low, high], outwards; at least one pixel."""
    start = math.floor(low / resolution + SNAP_PX)
    stop = math.ceil(high / resolution - SNAP_PX)
    return start, max(stop, start + 1)
