"""Where the pixels of a grid lie in a file: the same answer whatever window is asked for.

Every number here is computed from a pixel's own row and column, counted from the origin of the
grid's CRS, and from the file; the window says only which pixels are asked for. So a pixel that two
windows share has the same place in both, to the last bit.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from noise2map_core.geo.turns import HALF_TURN
from noise2map_core.geo.window import Window
from noise2map_core.rasters.files import SourceInfo

Float64 = NDArray[np.float64]

SAME_GRID_PX = 1e-3
"""Grids that agree to this fraction of a pixel, over all of the file, are one grid."""

NEAR_PX = 1e-6
"""A centre this close to the edge of two pixels lies in the right or lower one: both windows that
read it, and both spellings of one transform, then agree."""

PHASE_DIGITS = 6
"""Of a pixel: how far a grid lies off the origin of its CRS."""

RATIO_DIGITS = 4
"""A ratio of two, computed another way, is the same two."""

MAX_NODE_PX, MAX_BEND_M = 16, 8000.0
"""Centres are projected at every 16th pixel and interpolated between; less far apart where pixels
are large: lines bend by spacing² · pixel / 8 · 1.6e-7 per metre, so by less than 2e-4 pixels."""

LINES_PX = 1 << 15
"""Pixels that are placed at a time."""

DEGREE_M = 111_320.0
TURN = 2 * HALF_TURN
SPREAD = (np.arange(5) + 0.5) / 5
"""Parts of a file, along its sides, at which its pixels are measured."""


@dataclass(frozen=True, slots=True)
class Place:
    """Centres of a grid's pixels in a file, in pixels from the file's upper left corner."""

    rows: Float64
    """[H, W], or [H, 1] where rows and columns run along the file's own."""
    cols: Float64
    """[H, W], or [1, W]; not finite where the file's CRS does not reach."""

    straight: bool
    """True if rows and columns can be looked at one by one."""

    def part(self, window: Window) -> "Place":
        """Some pixels of the grid."""
        rows, cols = window.slices_in(Window(0, 0, 0, 0))
        if self.straight:
            return Place(self.rows[rows], self.cols[:, cols], True)
        return Place(self.rows[rows, cols], self.cols[rows, cols], False)

    def within(self, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where a centre lies in a file of this shape, for its rows and its columns."""
        rows, cols = (
            _within(at, size) for at, size in zip((self.rows, self.cols), shape, strict=True)
        )
        if self.straight:
            return rows, cols
        inside = rows & cols
        return inside, inside


def _within(at: Float64, size: int) -> NDArray[np.bool_]:
    if at.size and at.min() + NEAR_PX >= 0 and at.max() + NEAR_PX < size:  # of no NaN
        return np.ones(at.shape, np.bool_)
    inside: NDArray[np.bool_] = (at + NEAR_PX >= 0) & (at + NEAR_PX < size)
    return inside


def grid_shift(info: SourceInfo, geobox: GeoBox) -> tuple[int, int] | None:
    """Row and column of the file at which `geobox` begins; None: not the same grid."""
    if geobox.crs != info.geobox.crs:
        return None
    to_grid = ~geobox.affine @ info.transform
    drift = (to_grid.a - 1, to_grid.b, to_grid.d, to_grid.e - 1)
    if max(map(abs, drift)) * max(info.shape) > SAME_GRID_PX:
        return None
    col, row = to_grid @ (0, 0)  # of the file's corner: the same fraction for every window
    if max(abs(row - round(row)), abs(col - round(col))) > SAME_GRID_PX:
        return None
    first = ~to_grid @ (0, 0)
    return round(first[1]), round(first[0])


def pixel_ratio(info: SourceInfo, geobox: GeoBox) -> tuple[float, float]:
    """Pixels of the file along one pixel of the grid, by rows and by columns.

    The median over all of the file: it does not depend on where the grid begins.
    """
    assert geobox.crs is not None
    a, b, _, d, e, _, *_ = geobox.affine
    return _ratio(info, str(geobox.crs), (a, b, d, e))


@lru_cache(maxsize=4096)
def _ratio(
    info: SourceInfo, crs: str, pixel: tuple[float, float, float, float]
) -> tuple[float, float]:
    height, width = info.shape
    row, col = np.meshgrid(SPREAD * height, SPREAD * width, indexing="ij")
    x, y = _transformed(*_applied(info.transform, row, col), info.crs, crs)
    a, b, d, e = pixel
    right, left, down, up = (
        _file_pixels(info, *_transformed(x + dx / 2, y + dy / 2, crs, info.crs))
        for dx, dy in ((a, d), (-a, -d), (b, e), (-b, -e))
    )
    sides = np.hypot(np.subtract(right, left), np.subtract(down, up))
    known = np.isfinite(sides).all(axis=0)
    if not known.any():
        return 1.0, 1.0
    rows, cols = (round(float(np.median(side[known])), RATIO_DIGITS) for side in sides)
    return rows, cols


def locate(info: SourceInfo, geobox: GeoBox) -> Place:
    """Where the centres of a grid's pixels lie in a file."""
    assert geobox.crs is not None
    affine, row, col = _anchored(geobox.affine)
    height, width = geobox.shape
    rows: Float64 = row.whole + 0.5 + np.arange(height, dtype=np.float64)
    cols: Float64 = col.whole + 0.5 + np.arange(width, dtype=np.float64)
    turned = any((affine.b, affine.d, info.transform.b, info.transform.d))
    if geobox.crs == info.geobox.crs and not turned:
        y, x = affine.e * (rows + row.part), affine.a * (cols + col.part)
        return Place(*_file_pixels(info, x[None], y[:, None]), True)
    px = _node_px(geobox)
    down, across = _nodes(rows, px), _nodes(cols, px)
    corners = np.meshgrid(down * px + row.part, across * px + col.part, indexing="ij")
    x, y = _transformed(*_applied(affine, *corners), str(geobox.crs), info.crs)
    rows, cols = rows / px - down[0], cols / px - across[0]
    period = TURN if _is_geographic(info.crs) else math.inf
    return Place(*_laid_out(info, (x, y), (rows, cols), period), False)


def _laid_out(
    info: SourceInfo, nodes: tuple[Float64, Float64], at: tuple[Float64, Float64], period: float
) -> tuple[Float64, Float64]:
    """Rows and columns [H, W] in a file of places between nodes; some lines after the other, which
    a processor keeps close by."""
    (x, y), (rows, cols) = nodes, at
    found = np.empty((2, len(rows), len(cols)))
    step = max(1, LINES_PX // max(1, len(cols)))
    for start in range(0, len(rows), step):
        lines = slice(start, start + step)
        here = _between(x, rows[lines], cols, period), _between(y, rows[lines], cols, math.inf)
        found[0, lines], found[1, lines] = _file_pixels(info, *here)
    return found[0], found[1]


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a grid begins, in pixels from its CRS's origin: whole ones, and a part of one."""

    whole: int = 0
    part: float = 0.0


def _anchored(affine: Affine) -> tuple[Affine, _Start, _Start]:
    """A grid counted from its CRS's origin, and its first row and column there.

    A grid that does not run along its axes has no such origin: it is counted from its own corner.
    """
    if affine.b or affine.d:
        return affine, _Start(), _Start()
    row, col = _start(affine.f / affine.e), _start(affine.c / affine.a)
    return Affine(affine.a, 0.0, 0.0, 0.0, affine.e, 0.0), row, col


def _start(at: float) -> _Start:
    whole = math.floor(at + 0.5)
    return _Start(whole, round(at - whole, PHASE_DIGITS))


def _node_px(geobox: GeoBox) -> int:
    """Pixels between the centres that are projected."""
    metres = math.sqrt(abs(geobox.affine.determinant))
    metres *= DEGREE_M if geobox.crs is not None and geobox.crs.geographic else 1.0
    spacing = MAX_NODE_PX
    while spacing > 1 and spacing**2 * metres > MAX_BEND_M:
        spacing //= 2
    return spacing


def _nodes(centres: Float64, spacing: int) -> NDArray[np.int64]:
    """Numbers of the nodes, counted from pixel 0, that centres lie between."""
    if not len(centres):
        return np.zeros(2, np.int64)
    return np.arange(centres[0] // spacing, centres[-1] // spacing + 2).astype(np.int64)


def _between(nodes: Float64, rows: Float64, cols: Float64, period: float) -> Float64:
    """Values [H, W] at places given in nodes, linear between them; `period`: of the values."""
    first = np.floor(rows).astype(np.int64)
    apart = _apart(nodes, 0, period)
    by_row = nodes[first] + (rows - first)[:, None] * apart[first]
    first = np.floor(cols).astype(np.int64)
    between = _apart(by_row, 1, period).take(first, axis=1)
    between *= cols - first
    between += by_row.take(first, axis=1)
    return between


def _apart(nodes: Float64, axis: int, period: float) -> Float64:
    """From each node to the next, the shorter way round."""
    apart: Float64 = np.diff(nodes, axis=axis)
    if math.isfinite(period):
        apart -= period * np.rint(apart / period)
    return apart


def _applied(affine: Affine, rows: Float64, cols: Float64) -> tuple[Float64, Float64]:
    """Coordinates x, y of places in pixels."""
    x = affine.a * cols + affine.b * rows + affine.c
    return x, affine.d * cols + affine.e * rows + affine.f


def _file_pixels(info: SourceInfo, x: Float64, y: Float64) -> tuple[Float64, Float64]:
    """Rows and columns of coordinates in a file; longitudes are taken as the file counts them."""
    if _is_geographic(info.crs):
        middle, _ = info.transform @ (info.shape[1] / 2, info.shape[0] / 2)
        x = x - TURN * np.floor((x - middle + TURN / 2) / TURN)
    to_file = ~info.transform
    if not to_file.b and not to_file.d:
        return to_file.e * y + to_file.f, to_file.a * x + to_file.c
    cols, rows = to_file @ (x, y)
    return rows, cols


def _transformed(x: Float64, y: Float64, crs: str, to: str) -> tuple[Float64, Float64]:
    return (x, y) if crs == to else _transformer(crs, to)(x, y)


@lru_cache(maxsize=256)
def _transformer(crs: str, to: str) -> Any:
    return CRS(crs).transformer_to_crs(CRS(to))


@lru_cache(maxsize=256)
def _is_geographic(crs: str) -> bool:
    return bool(CRS(crs).geographic)
