"""Resampling by weights: a pixel is the weighted mean of the observed pixels around its place.

Weights and the order of sums follow from a pixel's place alone, so that no window moves the result.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.window import Window
from noise2map_core.rasters.placement import NEAR_PX

Float64 = NDArray[np.float64]

CUBIC = -0.5
"""The parameter of cubic convolution that GDAL takes, too."""

SAME_SIZE = 1.05
"""A grid whose pixels are larger by less needs no wider kernel."""

MIN_WEIGHT = 1e-6
"""What weighs less of the whole is rounding of the place, not an observation."""

TIE = 1e-6
"""A half that the rounding of its place has lowered by less counts as a half."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Weights of source pixels along one axis."""

    radius: float
    """Source pixels from the centre that count."""
    weigh: Callable[[Float64], Float64]
    """Weight of pixels whose centres lie this far, in source pixels."""


@dataclass(frozen=True, slots=True)
class Taps:
    """Source pixels along one axis, and what each weighs."""

    index: NDArray[np.int64]
    """[tap, …] within the part of the source that was read."""
    weight: Float64
    """[tap, …]; 0 for those outside the source."""
    inside: NDArray[np.bool_]
    """[tap, …] whether they are in the source."""

    @property
    def alike(self) -> "Taps":
        """The same, each weighing 1 within the source and 0 outside."""
        return Taps(self.index, self.inside.astype(np.float64), self.inside)


@dataclass(frozen=True, slots=True)
class Stencil:
    """The source pixels that places are means of, looked up once for all bands."""

    rows: Taps
    cols: Taps
    found: tuple[tuple[NDArray[np.int64], ...], ...]
    """By tap of rows, then of columns: number [H, W] of a source pixel in the part that was read.
    Empty where rows and columns of the pixels run along the source's."""

    @property
    def alike(self) -> "Stencil":
        """The same, each pixel weighing 1 within the source and 0 outside."""
        return Stencil(self.rows.alike, self.cols.alike, self.found)

    @property
    def count(self) -> int:
        """Source pixels of a place."""
        return len(self.rows.index) * len(self.cols.index)

    @property
    def weight(self) -> Float64:
        """`sum` of a part that is 1 everywhere: to the last bit, though nothing is looked up."""
        rows, cols = self.rows.weight, self.cols.weight
        if not self.found:
            lines = _summed(rows, lambda _: 1.0)
            return _summed(cols, lambda _: lines)
        across = _summed(cols, lambda _: 1.0)
        return _summed(rows, lambda _: across)

    def sum(self, values: NDArray[Any]) -> Float64:
        """Sum [H, W] of the part's values times their weights, in one fixed order."""
        rows, cols = self.rows, self.cols
        if not self.found:
            lines = _summed(rows.weight, lambda tap: values[rows.index[tap, :, 0]])
            return _summed(cols.weight, lambda tap: lines[:, cols.index[tap, 0]])
        flat = values.ravel()
        return _summed(
            rows.weight,
            lambda row: _summed(cols.weight, lambda col: flat.take(self.found[row][col])),
        )


def kernel_of(resampling: str, ratio: float) -> Kernel:
    """The kernel for a grid whose pixels hold `ratio` source pixels along an axis.

    bilinear and cubic as GDAL has them, widened for coarser grids; average: the share of each
    source pixel that lies under the pixel.
    """
    wide = ratio if ratio > SAME_SIZE else 1.0
    if resampling == "bilinear":
        return Kernel(wide, lambda away: np.maximum(0.0, 1.0 - np.abs(away) / wide))
    if resampling == "cubic":
        return Kernel(2 * wide, lambda away: _cubic(np.abs(away) / wide))
    half = ratio / 2
    return Kernel(half + 0.5, lambda away: _overlap(away, half))


def _overlap(away: Float64, half: float) -> Float64:
    """How much of pixels lies within `half` of the centre."""
    return np.maximum(0.0, np.minimum(away + 0.5, half) - np.maximum(away - 0.5, -half))


def _cubic(away: Float64) -> Float64:
    """Keys (1981), eq. 4, with a = CUBIC."""
    near = ((CUBIC + 2) * away - (CUBIC + 3)) * away**2 + 1
    far = CUBIC * (((away - 5) * away + 8) * away - 4)
    return np.where(away <= 1, near, np.where(away < 2, far, 0.0))


def taps_of(kernel: Kernel, centres: Float64, size: int, begin: int) -> Taps:
    """The source pixels around places in a source of `size` pixels along an axis, of which a part
    was read that begins with pixel `begin`."""
    first = np.floor(centres - 0.5 - kernel.radius).astype(np.int64) + 1
    steps = np.arange(math.ceil(2 * kernel.radius)).reshape(-1, *(1,) * centres.ndim)
    index = first + steps
    inside = (index >= 0) & (index < size)
    weight = kernel.weigh(index + 0.5 - centres)
    if not inside.all():
        index, weight = index.clip(0, size - 1), np.where(inside, weight, 0.0)
    index -= begin
    return Taps(index, weight, inside)


@dataclass(frozen=True)
class Centres:
    """Places of pixels in a source of which a part was read."""

    rows: Float64
    cols: Float64
    """In source pixels: [H, W] each; straight: [H, 1] and [1, W]."""
    straight: bool
    """True if rows and columns of the pixels run along the source's."""
    part: Window
    """What was read."""
    shape: tuple[int, int]
    """Of the source."""

    @cached_property
    def lookup(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column in the part of the source pixel that each place lies in."""
        row, col = (
            np.floor(at + NEAR_PX).astype(np.int64).clip(0, size - 1) - first
            for at, size, first in zip(
                (self.rows, self.cols), self.shape, (self.part.row, self.part.col), strict=True
            )
        )
        return row, col

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """The source pixel [H, W] that each place lies in."""
        return values[self.lookup]

    def stencil(self, kernels: tuple[Kernel, Kernel]) -> Stencil:
        """The source pixels around each place."""
        rows = taps_of(kernels[0], self.rows, self.shape[0], self.part.row)
        cols = taps_of(kernels[1], self.cols, self.shape[1], self.part.col)
        if self.straight:
            return Stencil(rows, cols, ())
        lines = [row * self.part.width for row in rows.index]
        return Stencil(rows, cols, tuple(tuple(line + col for col in cols.index) for line in lines))


def _summed(weights: Float64, part: Callable[[int], NDArray[Any] | float]) -> Float64:
    total: Float64 = weights[0] * part(0)
    for tap in range(1, len(weights)):
        total += weights[tap] * part(tap)
    return total


def to_type(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rounded half up and clipped to an integer type; as it is to a float type or to its own."""
    if dtype.kind not in "iu" or values.dtype == dtype:
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    whole = values + (0.5 + TIE)
    np.floor(whole, out=whole)
    return whole.clip(limits.min, limits.max, out=whole).astype(dtype)
