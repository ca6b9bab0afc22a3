"""Bands of a file on another grid. A pixel's value does not depend on the window it is read in."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import BandSource
from noise2map_core.geo.window import Window
from noise2map_core.rasters.blocks import MEAN_FROM, Lattice, lattice_for, read_blocks, read_window
from noise2map_core.rasters.files import SourceInfo
from noise2map_core.rasters.kernels import (
    MIN_WEIGHT,
    Centres,
    Float64,
    Kernel,
    Stencil,
    kernel_of,
    to_type,
)
from noise2map_core.rasters.placement import Place, locate, pixel_ratio

Pixels = NDArray[Any]
Mask = NDArray[np.bool_]

MAX_WINDOW_PX = 1 << 23
"""Pixels of one band of a file that are held at a time: larger windows are read in parts."""

STRIP_PX = 1 << 15
"""Pixels of the grid that are weighed at a time."""


@dataclass(frozen=True)
class Method:
    """How blocks of a file become pixels of a grid."""

    lattice: Lattice
    block_px: tuple[float, float]
    """Pixels of the file along a block, by rows and by columns."""
    kernels: tuple[Kernel, Kernel] | None
    """By rows and by columns, in blocks; None: the nearest pixel."""
    fallback: tuple[Kernel, Kernel] | None = None
    """Where any block under `kernels` is not observed as a whole."""
    mean: bool = False
    """A pixel is observed where anything under it is; else where its nearest block is."""

    @property
    def radii(self) -> tuple[float, float]:
        """Blocks around a place that count, by rows and by columns."""
        if self.kernels is None:
            return 0.5, 0.5
        return self.kernels[0].radius, self.kernels[1].radius


def resampled(
    sources: Sequence[BandSource], info: SourceInfo, geobox: GeoBox, resampling: str
) -> list[tuple[Pixels, Mask]]:
    """Bands of files of one grid on another, and where each is observed.

    Only what is observed weighs. On grids twice as coarse as the file, or more, a pixel is the mean
    of what lies under it, whatever the method, but for nearest: that gives the file's own numbers,
    those that are not observed, too.
    """
    method, place = _method(sources[0], info, geobox, resampling), locate(info, geobox)
    made = [(np.zeros(geobox.shape, info.dtype), np.zeros(geobox.shape, np.bool_)) for _ in sources]
    for part, blocks in _parts(method, info, place, Window(0, 0, *geobox.shape)):
        read = _read(sources, info, method, blocks)
        for strip in _strips(part):
            _fill(made, read, strip, blocks, method, info, place)
    return made


def _method(source: BandSource, info: SourceInfo, geobox: GeoBox, resampling: str) -> Method:
    ratio = pixel_ratio(info, geobox)
    lattice = lattice_for(source, info, resampling, ratio)
    block_px = tuple(
        size / read * step
        for size, read, step in zip(info.shape, lattice.shape, lattice.step, strict=True)
    )
    down, across = block_px
    if resampling == "nearest":
        return Method(lattice, (down, across), None)
    mean = resampling == "average" or max(ratio) >= MEAN_FROM
    names = ["average" if times >= MEAN_FROM else resampling for times in ratio]
    blocks = (ratio[0] / down, ratio[1] / across)
    kernels = kernel_of(names[0], blocks[0]), kernel_of(names[1], blocks[1])
    linear = kernel_of("bilinear", blocks[0]), kernel_of("bilinear", blocks[1])
    fallback = linear if resampling == "cubic" and not mean else None
    return Method(lattice, (down, across), kernels, fallback, mean)


def _parts(
    method: Method, info: SourceInfo, place: Place, window: Window
) -> Iterator[tuple[Window, Window]]:
    """Parts of the grid that touch the file, each with the blocks it needs: few enough to hold."""
    blocks = _needed(method, info, place.part(window))
    if blocks.is_empty:
        return
    pixels = method.lattice.pixels(blocks)
    if pixels.height * pixels.width <= MAX_WINDOW_PX or window.height == window.width == 1:
        yield window, blocks
        return
    for half in _halves(window):
        yield from _parts(method, info, place, half)


def _halves(window: Window) -> tuple[Window, Window]:
    row, col, height, width = window.row, window.col, window.height, window.width
    if height >= width:
        top = height // 2
        return Window(row, col, top, width), Window(row + top, col, height - top, width)
    left = width // 2
    return Window(row, col, height, left), Window(row, col + left, height, width - left)


def _needed(method: Method, info: SourceInfo, place: Place) -> Window:
    """The blocks that some pixels of the grid need; empty if none lies in the file."""
    spans = []
    inside = place.within(info.shape)
    for at, here, px, radius, size in zip(
        (place.rows, place.cols), inside, method.block_px, method.radii, method.lattice.blocks,
        strict=True,
    ):  # fmt: skip
        centres = at if here.all() else at[here]
        if not centres.size:
            return Window(0, 0, 0, 0)
        first = math.floor(centres.min() / px - 0.5 - radius)
        stop = math.ceil(centres.max() / px + 0.5 + radius) + 1
        spans.append((max(0, first), min(size, stop)))
    (top, bottom), (left, right) = spans
    return Window(top, left, bottom - top, right - left)


def _strips(window: Window) -> Iterator[Window]:
    """Some rows of a window after the other."""
    rows = max(1, STRIP_PX // window.width)
    for start in range(0, window.height, rows):
        height = min(rows, window.height - start)
        yield Window(window.row + start, window.col, height, window.width)


@dataclass(frozen=True)
class _Band:
    """What was read of one band."""

    values: Pixels
    share: NDArray[Any]
    """What is observed; of bands in which it is alike, one array."""
    whole: bool
    """True if everything is."""


def _read(
    sources: Sequence[BandSource], info: SourceInfo, method: Method, blocks: Window
) -> list[_Band]:
    """Some blocks of every band."""
    found: list[_Band] = []
    for source in sources:
        if method.kernels is None:
            values, share = read_window(source, info, blocks)
        else:
            values, share = read_blocks(source, info, method.lattice, blocks)
        if found and np.array_equal(share, found[-1].share):  # alike in most bands
            found.append(_Band(values, found[-1].share, found[-1].whole))
        else:
            found.append(_Band(values, share, bool((share == 1).all())))
    return found


def _fill(
    made: Sequence[tuple[Pixels, Mask]],
    read: Sequence[_Band],
    strip: Window,
    blocks: Window,
    method: Method,
    info: SourceInfo,
    place: Place,
) -> None:
    """Make the pixels of a strip, in all bands."""
    part = place.part(strip)
    inside = part.within(info.shape)
    if not all(here.any() for here in inside):
        return
    rows, cols = (
        _known(at, here) / px
        for at, here, px in zip((part.rows, part.cols), inside, method.block_px, strict=True)
    )
    centres = Centres(rows, cols, part.straight, blocks, method.lattice.blocks)
    where, shown = strip.slices_in(Window(0, 0, 0, 0)), inside[0] & inside[1]
    everywhere = bool(shown.all())
    for (pixels, observed), (values, seen) in zip(made, _bands(read, method, centres), strict=True):
        typed = to_type(values, pixels.dtype)
        pixels[where] = typed if everywhere else np.where(shown, typed, 0)
        observed[where] = shown & seen


def _known(at: Float64, here: Mask) -> Float64:
    """Places, with one that is `here` in place of those that are not."""
    return at if here.all() else np.where(here, at, at[here][0])


def _bands(
    read: Sequence[_Band], method: Method, centres: Centres
) -> Iterator[tuple[Pixels, Mask | bool]]:
    """Pixels of each band, not yet of its type, and where they are observed."""
    if method.kernels is None:
        for band in read:
            yield centres.nearest(band.values), band.whole or centres.nearest(band.share)
        return
    stencil = centres.stencil(method.kernels)
    linear = None if method.fallback is None else centres.stencil(method.fallback)
    last: _Band | None = None
    for band in read:
        if last is None or band.share is not last.share:
            last, weight = band, _weight(stencil, band)
            seen = weight > MIN_WEIGHT if method.mean else _seen(centres, band)
            good = linear is None or _whole(stencil, band)
            rough = None if linear is None or good is True else _weight(linear, band)
        made = _quotient(stencil.sum(band.values), weight, seen)
        if linear is not None and rough is not None:
            made = np.where(good, made, _quotient(linear.sum(band.values), rough, seen))
        yield made, seen


def _weight(stencil: Stencil, band: _Band) -> Float64:
    """What is observed under a kernel, by its weights."""
    return stencil.weight if band.whole else stencil.sum(band.share)


def _seen(centres: Centres, band: _Band) -> Mask:
    """Where the nearest block is observed."""
    if band.whole:
        return np.ones(np.broadcast_shapes(centres.rows.shape, centres.cols.shape), np.bool_)
    return centres.nearest(band.share) > 0


def _whole(stencil: Stencil, band: _Band) -> Mask | bool:
    """Where all blocks under a kernel are in the file, and wholly observed; True: everywhere."""
    if band.whole and stencil.rows.inside.all() and stencil.cols.inside.all():
        return True
    return _weight(stencil.alike, band) > stencil.count - 0.5


def _quotient(total: Float64, weight: Float64, seen: Mask) -> Float64:
    if seen.all():
        return total / weight
    return np.divide(total, weight, out=np.zeros(total.shape), where=seen)
