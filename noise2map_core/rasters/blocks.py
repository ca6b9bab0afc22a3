"""Windows of files with what is observed in them, as pixels or as means of blocks of pixels."""

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as FileWindow

from noise2map_core.catalog.scene import BandSource
from noise2map_core.geo.window import Window
from noise2map_core.rasters.files import SourceInfo, opened
from noise2map_core.rasters.stated_masks import mask_beside
from noise2map_core.rasters.zarr_arrays import is_zarr, read_array
from noise2map_core.runtime.errors import AssetReadError

Mask = NDArray[np.bool_]

MEAN_FROM = 2.0
"""Pixels of a file along one of the grid from which the mean under the pixel is taken."""

FINER = 2.0
"""Blocks and overviews are at least this many times finer than the grid."""

_warnings = Lock()
"""Python's warning filters are one for all threads."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The blocks that a file is read in: counted from its corner, whatever the window."""

    overview: int | None
    """Number of the overview that is read; None: the file's own pixels."""
    shape: tuple[int, int]
    """Of what is read, pixels."""
    step: tuple[int, int]
    """Pixels along a block, by rows and by columns."""

    @property
    def blocks(self) -> tuple[int, int]:
        """Rows and columns of blocks; those at the far edges may be cut."""
        (height, width), (down, across) = self.shape, self.step
        return -(-height // down), -(-width // across)

    def pixels(self, blocks: Window) -> Window:
        """The pixels of some blocks."""
        down, across = self.step
        window = Window(
            blocks.row * down, blocks.col * across, blocks.height * down, blocks.width * across
        )
        return window.intersect(Window(0, 0, *self.shape))


def lattice_for(
    source: BandSource, info: SourceInfo, resampling: str, ratio: tuple[float, float]
) -> Lattice:
    """The blocks to read for a grid whose pixels hold `ratio` pixels of the file along their sides.

    Nearest neighbours are of the file itself, never of an overview.
    """
    overview, shape, step = None, info.shape, (1, 1)
    if resampling == "nearest":
        return Lattice(overview, shape, step)
    fit = [number for number, times in enumerate(info.overviews) if times * FINER <= min(ratio)]
    if fit:
        overview = max(fit, key=lambda number: info.overviews[number])
        shape = _overview_shape(source, overview)
    down, across = (
        max(1, math.floor(times * size / full / FINER))
        for times, size, full in zip(ratio, shape, info.shape, strict=True)
    )
    return Lattice(overview, shape, (down, across))


@lru_cache(maxsize=4096)
def _overview_shape(source: BandSource, overview: int) -> tuple[int, int]:
    with opened(source, overview) as file:
        height, width = file.shape
        return height, width


def read_window(
    source: BandSource, info: SourceInfo, window: Window, overview: int | None = None
) -> tuple[NDArray[Any], Mask]:
    """Pixels of a window of a file, or of one of its overviews, and which of them are observed.

    Observed is what nothing speaks against: neither nodata of the file or of the item, nor a mask
    in the file or beside it, nor full transparency, nor a number that is not finite.
    """
    if is_zarr(source.href):
        pixels = read_array(source, window)
        return pixels, _numbers(pixels, info)
    place = FileWindow(window.col, window.row, window.width, window.height)
    with opened(source, overview) as file:
        pixels = file.read(source.band, window=place)
        observed = _numbers(pixels, info)
        if info.masked:
            observed &= file.read_masks(source.band, window=place) > 0
        if info.alpha is not None:
            observed &= file.read(info.alpha, window=place) > 0
    if info.beside:
        observed &= _read_beside(source, info, place)
    return pixels, observed


def _numbers(pixels: NDArray[Any], info: SourceInfo) -> Mask:
    """Where pixels are finite and not nodata."""
    observed: Mask = np.ones(pixels.shape, np.bool_)
    if pixels.dtype.kind == "f":
        observed = np.isfinite(pixels)
    with np.errstate(over="ignore"):  # a nodata beyond float32 is infinite there
        for nodata in info.hidden:
            observed &= pixels != pixels.dtype.type(nodata)
    return observed


def _read_beside(source: BandSource, info: SourceInfo, place: FileWindow) -> Mask:
    mask = mask_beside(source)
    with _warnings, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # it lies where the image does
        return _read_mask(mask, source.band, info, place)


def _read_mask(mask: BandSource, band: int, info: SourceInfo, place: FileWindow) -> Mask:
    with opened(mask) as file:
        if file.shape != info.shape:
            raise AssetReadError(
                f"mask {mask.href} has {file.width} x {file.height} pixels, the image beside it "
                f"{info.shape[1]} x {info.shape[0]}. Write it anew, or take it away."
            )
        observed: Mask = file.read(band if file.count > 1 else 1, window=place) > 0
        return observed


def read_blocks(
    source: BandSource, info: SourceInfo, lattice: Lattice, blocks: Window
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of some blocks, the mean of their pixels [h, w] times the share that is observed, and that
    share [h, w], of a whole block: hidden pixels, and those beyond the file, count as nothing.
    """
    pixels, observed = read_window(source, info, lattice.pixels(blocks), lattice.overview)
    exact = np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
    values = (pixels if observed.all() else np.where(observed, pixels, 0)).astype(exact)
    if lattice.step == (1, 1):
        return values, observed.astype(np.float32)
    return _means(values, lattice.step), _means(observed, lattice.step)


def _means(values: NDArray[Any], step: tuple[int, int]) -> NDArray[np.float64]:
    """Sums over blocks, one pixel of all blocks after the other, divided by the size of a whole."""
    down, across = step
    height, width = values.shape
    padded = np.pad(values, ((0, -height % down), (0, -width % across)))
    lines = np.zeros((len(padded) // down, padded.shape[1]))
    for row in range(down):
        lines += padded[row::down]
    sums = np.zeros((len(lines), padded.shape[1] // across))
    for col in range(across):
        sums += lines[:, col::across]
    return sums / (down * across)
