"""Places for training, validation and testing: windows of the grid, and areas in them."""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import get_args

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.labels.vectors import read_vectors
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.labels import BlockSplit, Box, SplitConfig, SplitName

WHOLE = "train"
"""The split of everything where no place is set."""

ROUNDING_PX = 1e-3
"""Coordinates of footprints are rounded; gaps are measured to this."""


@dataclass(frozen=True, slots=True)
class SplitWindow:
    """One place of a split: the pixels that its chips may show."""

    split: str
    window: Window
    within: BaseGeometry | None = field(default=None, repr=False)
    """If set, only chips that lie in this area (grid CRS) whole."""


def plan_splits(config: SplitConfig, grid: RegionGrid) -> list[SplitWindow]:
    """The places of all splits on the grid, clipped to the region, in the order of the settings.

    A pixel belongs to a box if its centre lies inside. Raises ConfigError if a box misses the
    region, or places of different splits are nearer than the buffer.
    """
    if config.boxes:
        return _boxes(config, grid)
    if config.blocks:
        return list(_blocks(config.blocks, config.buffer_px, grid))
    if config.areas or config.file:
        return _areas(config, grid)
    return [SplitWindow(WHOLE, grid.region)]


def find_too_near(
    footprints: NDArray[np.float64],
    splits: NDArray[np.str_],
    crs: NDArray[np.integer],
    buffer: float,
) -> tuple[int, int] | None:
    """Two chips of different splits whose footprints are nearer than `buffer`, if there are any.

    `footprints` [chip, edge] and `buffer` in units of the grid, less a little for rounding.
    """
    one, other = near_pairs(footprints, crs, buffer)
    near = np.flatnonzero(splits[one] != splits[other])
    return (int(one[near[0]]), int(other[near[0]])) if near.size else None


def near_pairs(
    footprints: NDArray[np.float64], crs: NDArray[np.integer], buffer: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of all chips whose footprints are nearer than `buffer`, those of a pair in either
    order and every chip with itself; arguments as of `find_too_near`."""
    grown = shapely.box(*(footprints + buffer * np.array([-1, -1, 1, 1])).T)
    tree = shapely.STRtree(shapely.box(*footprints.T))
    one, other = tree.query(grown, predicate="intersects")
    same = crs[one] == crs[other]
    return one[same], other[same]


def _boxes(config: SplitConfig, grid: RegionGrid) -> list[SplitWindow]:
    found = [
        SplitWindow(split, _window(split, box, grid))
        for split, boxes in config.boxes.items()
        for box in boxes
    ]
    for one, other in combinations(found, 2):
        if one.split != other.split and gap_px(one.window, other.window) < config.buffer_px:
            raise ConfigError(
                f"split boxes of {one.split} and {other.split} are "
                f"{gap_px(one.window, other.window)} pixels apart, less than split.buffer_px "
                f"{config.buffer_px}: training would see what it is judged on. Move the boxes."
            )
    return found


def _blocks(config: BlockSplit, buffer_px: int, grid: RegionGrid) -> Iterator[SplitWindow]:
    """Blocks anchored to the grid; where splits meet, each side gives up half the buffer."""
    side, region, half = config.side_px, grid.region, -(-buffer_px // 2)
    if buffer_px >= side:
        raise ConfigError(
            f"split.blocks.side_px {side} leaves nothing between buffers of {buffer_px}. Set it "
            "higher, or split.buffer_px lower."
        )
    for row in range(region.row // side, -(-region.row_stop // side)):
        for col in range(region.col // side, -(-region.col_stop // side)):
            split = block_split(config, row, col)
            up, down, left, right = (
                half * any(block_split(config, row + r, col + c) != split for r, c in edge)
                for edge in _EDGES
            )
            window = Window(
                row * side + up, col * side + left, side - up - down, side - left - right
            ).intersect(region)
            if not window.is_empty:
                yield SplitWindow(split, window)


_EDGES = (
    ((-1, -1), (-1, 0), (-1, 1)),
    ((1, -1), (1, 0), (1, 1)),
    ((-1, -1), (0, -1), (1, -1)),
    ((-1, 1), (0, 1), (1, 1)),
)
"""Neighbours (row, col) above, below, left and right of a block, corners too."""


def block_split(config: BlockSplit, row: int, col: int) -> str:
    """The split of a block: a function of its place and the seed alone."""
    digest = hashlib.sha256(f"{config.seed} {row} {col}".encode()).digest()
    drawn, reached = int.from_bytes(digest[:8]) / 2**64, 0.0
    for split, fraction in config.fractions.items():
        reached += fraction
        if drawn < reached:
            return split
    return split


def _areas(config: SplitConfig, grid: RegionGrid) -> list[SplitWindow]:
    """The polygons of each split, as one area each."""
    found = []
    for split, area in _split_areas(config, grid.crs):
        west, south, east, north = area.bounds
        frame = Window(*_pixels(math.floor, math.ceil, (west, south, east, north), grid))
        window = frame.intersect(grid.region)
        if window.is_empty or not area.intersects(grid.bounds_polygon(grid.region)):
            raise ConfigError(
                f"the area of split {split} lies outside the region. Check its file's CRS, or set "
                "split.areas or split.file to others."
            )
        found.append(SplitWindow(split, window, area))
    return found


def _split_areas(config: SplitConfig, crs: str) -> Iterator[tuple[str, BaseGeometry]]:
    for split, path in config.areas.items():
        yield split, shapely.union_all(read_vectors(path, crs, "split.areas").frame.geometry)
    if config.file is None:
        return
    frame = read_vectors(config.file, crs, "split.file").frame
    if config.column not in frame.columns:
        raise ConfigError(f"{config.file} has no property {config.column!r}. Set split.column.")
    names = frame[config.column].dropna().astype(str)
    for split in get_args(SplitName):
        if (names == split).any():
            yield split, shapely.union_all(frame.loc[names.index[names == split]].geometry)
    if unknown := sorted(set(names) - set(get_args(SplitName))):
        raise ConfigError(
            f"{config.file} has {config.column} {unknown[0]!r}: splits are train, val and test."
        )


def gap_px(one: Window, other: Window) -> int:
    """Pixels between two windows, by rows or columns, whichever is more; 0 if they touch."""
    rows = max(one.row, other.row) - min(one.row_stop, other.row_stop)
    cols = max(one.col, other.col) - min(one.col_stop, other.col_stop)
    return max(rows, cols, 0)


def _window(split: str, box: Box, grid: RegionGrid) -> Window:
    west, south, east, north = box
    if not (west < east and south < north):
        raise ConfigError(
            f"split box {list(box)} of {split} is not (west, south, east, north). Mend split.boxes."
        )
    window = Window(*_pixels(round, round, box, grid)).intersect(grid.region)
    if window.is_empty:
        extent = ", ".join(f"{edge:.12g}" for edge in grid.bounds_polygon(grid.region).bounds)
        raise ConfigError(
            f"split box {list(box)} of {split} lies outside the region, which spans ({extent}) in "
            f"{grid.crs}. Set split.boxes in that CRS."
        )
    return window


def _pixels(
    first: Callable[[float], int], last: Callable[[float], int], box: Box, grid: RegionGrid
) -> tuple[int, int, int, int]:
    """Row, column, height and width of a box of CRS coordinates; edges are rounded as told."""
    west, south, east, north = box
    row, row_stop = (grid.y_origin - north), (grid.y_origin - south)
    col, col_stop = (west - grid.x_origin), (east - grid.x_origin)
    top, left = (first(edge / grid.resolution) for edge in (row, col))
    bottom, right = (last(edge / grid.resolution) for edge in (row_stop, col_stop))
    return top, left, bottom - top, right - left
