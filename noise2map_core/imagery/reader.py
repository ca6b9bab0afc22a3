"""Pixels of scenes on any grid: a thin layer over rasterio."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.clouds.hidden import Kinds
from noise2map_core.geo.turns import edge_in, half_turns_to
from noise2map_core.geo.window import Window
from noise2map_core.imagery.convention import without_offset
from noise2map_core.rasters.blocks import read_window
from noise2map_core.rasters.files import SourceInfo, inspect
from noise2map_core.rasters.placement import grid_shift
from noise2map_core.rasters.resample import resampled
from noise2map_core.runtime.errors import AssetReadError

__all__ = ["SourceInfo", "inspect", "pixel_type", "read_bands", "read_mosaic", "read_pixels"]

MARGIN_PX = 3
"""Pixels around a scene's projected edge that may touch it, too."""

Pixels = NDArray[Any]
Mask = NDArray[np.bool_]
Sources = NDArray[np.int32]
"""[H, W] number of the scene, in the order given, that gave the pixel; 0 where none did."""
Bounds = tuple[float, float, float, float]
"""West, south, east, north."""
Hide = Callable[[Scene, GeoBox], tuple[Kinds, Mask]]
"""Of a scene on a grid: [H, W] what hides the ground, and where its mask knows."""


def read_pixels(
    scenes: Sequence[Scene], geobox: GeoBox, resampling: str = "bilinear"
) -> tuple[Pixels, Mask]:
    """Image [band, H, W] in the source dtype and valid [H, W] of `scenes` on `geobox`.

    Scenes are mosaicked in their order: the first with a valid pixel gives it, in all bands. A
    pixel is valid if every band is observed there. A file on the very grid is read as it is; others
    are resampled: a pixel has one value, whatever window it is read in. Where no scene is valid: 0,
    and valid False. Needs one scene at least.

    Raises AssetReadError, naming the file, if one cannot be read or has another dtype.
    """
    image, valid, _, _ = read_mosaic(scenes, geobox, resampling)
    return image, valid


def read_mosaic(
    scenes: Sequence[Scene], geobox: GeoBox, resampling: str = "bilinear", hide: Hide | None = None
) -> tuple[Pixels, Mask, Kinds, Sources]:
    """Image and valid as of `read_pixels`; hidden [H, W]: by what, of pixels that are observed,
    but hidden in every scene; of several, the first scene's; and which scene gave each pixel.

    A pixel that `hide` hides is left to the next scene.
    """
    dtype = pixel_type(scenes)
    image = np.zeros((len(scenes[0].bands), *geobox.shape), dtype)
    valid, hidden = np.zeros(geobox.shape, np.bool_), np.zeros(geobox.shape, np.uint8)
    source = np.zeros(geobox.shape, np.int32)
    for number, scene in enumerate(scenes):
        part = _missing(valid).intersect(reach(scene, geobox))
        if part.is_empty:
            continue
        place = part.slices_in(Window(0, 0, 0, 0))
        pixels, observed = read_bands(scene.bands, geobox[place], resampling)
        if hide is not None and observed.any():
            observed &= admitted(hidden[place], observed, *hide(scene, geobox[place]))
        fresh = observed & ~valid[place]
        if fresh.all():  # most scenes show all of a window: no need to choose
            image[:, *place] = pixels
        else:
            np.copyto(image[:, *place], pixels, where=fresh)
        valid[place] |= fresh
        if number:
            np.copyto(source[place], number, where=fresh)
        if valid.all():
            break
    hidden[valid] = 0
    return image, valid, hidden, source


def admitted(hidden: Kinds, observed: Mask, kinds: Kinds, known: Mask) -> Mask:
    """What a mask lets through; what it hides of the `observed` is written into `hidden`, unless
    another scene's mask did so before."""
    np.copyto(hidden, kinds, where=observed & (hidden == 0))
    return known & (kinds == 0)


def pixel_type(scenes: Sequence[Scene]) -> np.dtype[Any]:
    """The dtype that all bands of `scenes` share. Raises AssetReadError if they do not.

    Opens one file of every scene and band.
    """
    first = scenes[0].bands[0]
    dtype = inspect(first).dtype
    for source in (band for scene in scenes for band in scene.bands):
        if inspect(source).dtype != dtype:
            raise AssetReadError(
                f"asset {source.href} is {inspect(source).dtype}, but {first.href} is {dtype}: "
                "bands and scenes must share one type. Choose bands or scenes of one type."
            )
    return np.dtype(dtype)


def reach(scene: Scene, geobox: GeoBox) -> Window:
    """The pixels of `geobox` that a scene's first file can touch; empty if none. The file says
    where it lies, not its item."""
    info = inspect(scene.bands[0])
    west, south, east, north = _file_bounds(info, str(geobox.crs))
    frame = Window(0, 0, geobox.shape[0], geobox.shape[1])
    if not all(map(math.isfinite, (west, south, east, north))):
        return frame
    return _pixels_of((west, south, east, north), geobox.affine).grow(MARGIN_PX).intersect(frame)


def read_bands(
    sources: Sequence[BandSource], geobox: GeoBox, resampling: str = "bilinear"
) -> tuple[Pixels, Mask]:
    """Image [band, H, W] of one scene on `geobox`, and where all bands are observed.

    Observed is what no nodata of file or item, mask, transparency or not finite number speaks
    against. Unobserved pixels hold anything. Whole-number offsets of the sensor are taken off.
    """
    image = np.zeros((len(sources), *geobox.shape), inspect(sources[0]).dtype)
    observed = np.ones(geobox.shape, np.bool_)
    asked = frozenset((source.href, source.band) for source in sources)
    for group in _groups(sources):
        members = [sources[number] for number in group]
        found = _read_turns(members, geobox, resampling, asked)
        for number, (pixels, seen) in zip(group, found, strict=True):
            image[number] = without_offset(pixels, seen, sources[number], inspect(sources[number]))
            observed &= seen
    return image, observed


def _read_turns(
    sources: Sequence[BandSource],
    geobox: GeoBox,
    resampling: str,
    asked: frozenset[tuple[str, int]],
) -> list[tuple[Pixels, Mask]]:
    """`_read_group`, of files in longitudes of any turn; both ends of those that go round."""
    found: list[tuple[Pixels, Mask]] | None = None
    for half_turns in half_turns_to(inspect(sources[0]).geobox, geobox):
        turned = [replace(source, half_turns=half_turns) for source in sources]
        part = _read_group(turned, geobox, resampling, asked)
        found = (
            part if found is None else [_joined(*pair) for pair in zip(found, part, strict=True)]
        )
    dtype = inspect(sources[0]).dtype
    missing = np.zeros(geobox.shape, dtype), np.zeros(geobox.shape, np.bool_)
    return [missing] * len(sources) if found is None else found


def _joined(one: tuple[Pixels, Mask], other: tuple[Pixels, Mask]) -> tuple[Pixels, Mask]:
    return np.where(one[1], one[0], other[0]), one[1] | other[1]


def _groups(sources: Sequence[BandSource]) -> list[list[int]]:
    """Numbers of the bands that lie on one grid, with one nodata: they are resampled together."""
    groups: dict[SourceInfo, list[int]] = {}
    for number, source in enumerate(sources):
        groups.setdefault(inspect(source), []).append(number)
    return list(groups.values())


def _missing(valid: Mask) -> Window:
    """The smallest window that holds every pixel not yet valid; empty if there is none."""
    rows, cols = (np.flatnonzero(~valid.all(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Window(0, 0, 0, 0)
    top, left = int(rows[0]), int(cols[0])
    return Window(top, left, int(rows[-1]) + 1 - top, int(cols[-1]) + 1 - left)


@lru_cache(maxsize=4096)
def _file_bounds(info: SourceInfo, crs: str) -> Bounds:
    return _bounds_in(info.geobox, crs)


def _bounds_in(geobox: GeoBox, crs: str) -> Bounds:
    """West, south, east, north of a grid in another CRS, along its projected edges."""
    return _box_of(*edge_in(geobox, crs))


def _box_of(x: Pixels, y: Pixels) -> Bounds:
    return float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))


def _pixels_of(bounds: Bounds, transform: Any) -> Window:
    """The pixels that a box of CRS coordinates touches, north up or not."""
    west, south, east, north = bounds
    corners = [~transform @ (x, y) for x in (west, east) for y in (south, north)]
    cols, rows = zip(*corners, strict=True)
    row, col = math.floor(min(rows)), math.floor(min(cols))
    return Window(row, col, math.ceil(max(rows)) - row, math.ceil(max(cols)) - col)


def _read_group(
    sources: Sequence[BandSource],
    geobox: GeoBox,
    resampling: str,
    asked: frozenset[tuple[str, int]],
) -> list[tuple[Pixels, Mask]]:
    """Bands of one grid on `geobox`, and where each is observed.

    A band that is `asked` for as a picture, by file and number, is not the transparency of others:
    files of four bands are often written as if their near infrared were.
    """
    info = inspect(sources[0])
    if info.alpha is not None and (sources[0].href, info.alpha) in asked:
        info = replace(info, alpha=None)
    shift = grid_shift(info, geobox)
    if shift is not None:
        window = Window(*shift, *geobox.shape)
        return [_read_plain(source, info, window) for source in sources]
    return resampled(sources, info, geobox, resampling)


def _read_plain(source: BandSource, info: SourceInfo, window: Window) -> tuple[Pixels, Mask]:
    """A window of the file, nothing resampled; it may reach beyond the file."""
    inside = window.intersect(Window(0, 0, *info.shape))
    if inside == window:
        return read_window(source, info, window)
    shape = (window.height, window.width)
    pixels, observed = np.zeros(shape, info.dtype), np.zeros(shape, np.bool_)
    if not inside.is_empty:
        place = inside.slices_in(window)
        pixels[place], observed[place] = read_window(source, info, inside)
    return pixels, observed
