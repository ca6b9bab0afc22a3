"""Small pictures of the imagery, for people."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from shapely import box, intersects

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.footprints import footprints_on
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.products.photos import Photo
from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.runtime.mapper import Mapper, here

PART_PX = 512
"""Of a picture, that are read at once."""

Place = tuple[slice, slice]


def read_picture(
    scenes: Sequence[Scene],
    bands: Sequence[str],
    grid: RegionGrid,
    step: int,
    skip_unreadable: bool = False,
    plain: NDArray[np.bool_] | None = None,
    mapper: Mapper = here,
) -> Photo:
    """The region at `step` times its pixel size.

    The contrast is that of the pixels that are `plain` [H, W], ground and no cloud; None: of all.

    Read at that size, part by part by `mapper`, each from the scenes that lie there, and only the
    bands that are shown: the region is never in memory whole. `skip_unreadable` leaves out scenes
    that cannot be read: those behind the holes of a map that was asked for all the same. Raises
    AssetReadError.
    """
    shown = rgb_bands(bands)
    chosen = list(dict.fromkeys(shown))
    geobox = coarse_geobox(grid, step)
    thinned = [replace(scene, bands=tuple(scene.bands[b] for b in chosen)) for scene in scenes]
    parts = list(_parts(thinned, grid, geobox))
    image = np.zeros((len(chosen), *geobox.shape), np.float32)
    valid = np.zeros(geobox.shape, np.bool_)
    read = mapper(partial(_read_part, skip_unreadable), [part for _, part in parts])
    for (place, _), (pixels, observed) in zip(parts, read, strict=True):
        image[:, *place], valid[place] = pixels, observed
    rgb = stretched(image, valid, [chosen.index(band) for band in shown], plain)
    return Photo(rgb, valid, geobox)


def _parts(
    scenes: Sequence[Scene], grid: RegionGrid, geobox: GeoBox
) -> Iterator[tuple[Place, tuple[list[Scene], GeoBox]]]:
    """The picture in squares, each with the scenes that may show it."""
    footprints, frame = footprints_on(grid, scenes), Window(0, 0, *geobox.shape)
    for row, col in product(*(range(0, side, PART_PX) for side in geobox.shape)):
        window = Window(row, col, PART_PX, PART_PX).intersect(frame)
        place = window.slices_in(frame)
        around = box(*geobox[place].boundingbox.bbox).buffer(geobox.resolution.x)
        there = np.flatnonzero(intersects(footprints, around))
        yield place, ([scenes[number] for number in there.tolist()], geobox[place])


def _read_part(
    skip_unreadable: bool, part: tuple[Sequence[Scene], GeoBox]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Image and valid as of `read_pixels`; without a scene, nothing is valid."""
    scenes, geobox = part
    if skip_unreadable:
        scenes = [scene for scene in scenes if _is_readable(scene, geobox)]
    if not scenes:
        return np.zeros(geobox.shape, np.float32), np.zeros(geobox.shape, np.bool_)
    return read_pixels(scenes, geobox)


def _is_readable(scene: Scene, geobox: GeoBox) -> bool:
    try:
        read_pixels([scene], geobox)
    except AssetReadError:
        return False
    return True


def coarse_geobox(grid: RegionGrid, step: int) -> GeoBox:
    """The region at `step` times its pixel size."""
    shape = (-(-grid.region.height // step), -(-grid.region.width // step))
    fine = grid.transform(grid.region)
    pixel = grid.resolution * step
    return GeoBox(shape, Affine(pixel, 0.0, fine.c, 0.0, -pixel, fine.f), grid.crs)


def stretched(
    image: NDArray[np.generic],
    valid: NDArray[np.bool_],
    rgb: Sequence[int],
    plain: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Bands `rgb` of `image` [band, H, W] as [H, W, 3] in 0–1: 2nd to 98th percentile, of pixels
    that are `plain` where there are any; white where not valid."""
    told = valid if plain is None or not (valid & plain).any() else valid & plain
    picture = np.ones((*valid.shape, 3), np.float32)
    for channel, band in enumerate(rgb):
        values = image[band].astype(np.float32)
        if told.any():
            low, high = np.percentile(values[told], (2, 98))
            values = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
        picture[..., channel] = np.where(valid, values, 1)
    return picture


def literal(text: str) -> str:
    """A name as matplotlib draws it: between dollar signs it would see mathematics, and fail."""
    return text.replace("$", r"\$")


def rgb_bands(bands: Sequence[str]) -> tuple[int, int, int]:
    """Which bands to show as red, green and blue: natural colour if there, else the first ones."""
    if {"red", "green", "blue"} <= set(bands):
        return bands.index("red"), bands.index("green"), bands.index("blue")
    last = len(bands) - 1
    return 0, min(1, last), min(2, last)
