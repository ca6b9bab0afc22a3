"""The picture of one date range, from all of its scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import Scene
from noise2map_core.clouds.hidden import Kinds
from noise2map_core.geo.turns import centre_of_grid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.masks import hidden_by
from noise2map_core.imagery.radiometry import corrected
from noise2map_core.imagery.reader import (
    Hide,
    Sources,
    admitted,
    inspect,
    pixel_type,
    reach,
    read_bands,
    read_mosaic,
)
from noise2map_core.imagery.recipe import PixelRecipe
from noise2map_core.runtime.errors import ConfigError

ROWS = 64
"""Of which a median is sorted at once."""
DEGREES_PER_HOUR = 15
"""By which the sun moves, seen from the ground."""


@dataclass(frozen=True, slots=True)
class DatePixels:
    """What one date shows on a grid."""

    image: NDArray[Any]
    """[band, H, W] in the source dtype; 0 where it is not valid."""
    valid: NDArray[np.bool_]
    """[H, W], True = observed and not masked."""
    hidden: Kinds
    """[H, W], by what pixels are hidden that are observed, but masked in every scene; where neither
    valid nor hidden, no scene has data."""
    source: Sources
    """[H, W] number of the scene that gave the pixel; 0 where none did, or several."""

    @property
    def masked(self) -> NDArray[np.bool_]:
        """[H, W], True = observed, but hidden."""
        return self.hidden > 0


def read_date(
    scenes: Sequence[Scene],
    geobox: GeoBox,
    recipe: PixelRecipe,
    resampling: str = "bilinear",
    *,
    last: bool = False,
) -> DatePixels:
    """The pixels of one date range on `geobox`; `last`: as the recipe has the last date, with its
    correction, and not an earlier one.

    Needs one scene at least, in the order in which they are preferred. Raises AssetReadError.
    """
    correction = recipe.correction if last else None
    if correction is not None and correction.shift_px != (0.0, 0.0):
        rows, cols = correction.shift_px
        moved = geobox.affine @ geobox.affine.translation(cols, rows)
        geobox = GeoBox(geobox.shape, moved, geobox.crs)
    hide = hidden_by(recipe.mask, scenes)
    read = _read_median if recipe.composite.of(last) == "median" else read_mosaic
    image, valid, hidden, source = read(scenes, geobox, resampling, hide)
    if correction is not None:
        image = corrected(image, valid, correction, inspect(scenes[0].bands[0]).nodata)
    return DatePixels(image, valid, hidden, source)


def order_scenes(
    scenes: Sequence[Scene], recipe: PixelRecipe, region: GeoBox, *, last: bool = True
) -> list[Scene]:
    """Scenes of one date in the order in which they are preferred; given: the latest first.

    Of the scenes of one day, those in the CRS of `region`, a coarse grid, come first: neighbouring
    zones show the same overpass, and these need no resampling. For least_cloud by the items' cloud
    cover, else by the masked share of `region`. Raises ConfigError if neither is known.
    """
    if len(scenes) < 2:
        return list(scenes)
    if recipe.composite.of(last) != "least_cloud":
        return _own_zone_first(scenes, region)
    covers = [scene.cloud_cover for scene in scenes]
    known = [cover for cover in covers if cover is not None]
    if len(known) < len(scenes):
        if hidden_by(recipe.mask, scenes) is None:
            unknown = next(scene for scene in scenes if scene.cloud_cover is None)
            raise ConfigError(
                f"item {unknown.id} states no cloud cover, and no mask is used. Set composite.kind "
                "to first or median."
            )
        known = [_masked_share(scene, recipe, region) for scene in scenes]
    return [scenes[index] for index in np.argsort(known, kind="stable")]


def _own_zone_first(scenes: Sequence[Scene], region: GeoBox) -> list[Scene]:
    """The latest solar day first; of each day, scenes that say they are in the CRS of `region`."""
    longitude, _ = centre_of_grid(region)
    ahead = timedelta(hours=longitude / DEGREES_PER_HOUR)

    def rank(scene: Scene) -> tuple[int, bool]:
        return -(scene.datetime + ahead).toordinal(), scene.proj_code != str(region.crs)

    return sorted(scenes, key=rank)


def _masked_share(scene: Scene, recipe: PixelRecipe, region: GeoBox) -> float:
    """Percent of the pixels of the region that a scene shows."""
    hide = hidden_by(recipe.mask, [scene])
    assert hide is not None  # `order_scenes` asked
    hidden, known = hide(scene, region)
    return 100.0 * float((hidden > 0).sum()) / max(int(known.sum()), 1)


def _read_median(
    scenes: Sequence[Scene], geobox: GeoBox, resampling: str, hide: Hide | None
) -> tuple[NDArray[Any], NDArray[np.bool_], Kinds, Sources]:
    """The median of all scenes, per band; of an even number, the mean of the middle two, rounded
    towards the lower. Holds all of them in memory."""
    frame, images, seen = Window(0, 0, 0, 0), [], []
    hidden, nobodys = np.zeros(geobox.shape, np.uint8), np.zeros(geobox.shape, np.int32)
    for scene in scenes:
        part = reach(scene, geobox)
        if part.is_empty:
            continue
        place = part.slices_in(frame)
        pixels, observed = read_bands(scene.bands, geobox[place], resampling)
        if hide is not None and observed.any():
            observed &= admitted(hidden[place], observed, *hide(scene, geobox[place]))
        if observed.any():
            images.append(_laid(pixels, part, geobox))
            seen.append(_laid(observed[None], part, geobox)[0])
    if not images:
        image = np.zeros((len(scenes[0].bands), *geobox.shape), pixel_type(scenes))
        return image, np.zeros(geobox.shape, np.bool_), hidden, nobodys
    image, valid = _median_by_rows(images, seen)
    hidden[valid] = 0
    return image, valid, hidden, nobodys


def _median_by_rows(
    images: Sequence[NDArray[Any]], seen: Sequence[NDArray[np.bool_]]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """As `median_of`, some rows at a time: sorting all at once would take all scenes thrice."""
    image, valid = np.empty_like(images[0]), np.empty_like(seen[0])
    for start in range(0, len(valid), ROWS):
        rows = slice(start, start + ROWS)
        image[:, rows], valid[rows] = median_of(
            np.stack([one[:, rows] for one in images]), np.stack([one[rows] for one in seen])
        )
    return image, valid


def _laid(pixels: NDArray[Any], part: Window, geobox: GeoBox) -> NDArray[Any]:
    """`pixels` [layer, h, w] at their place in an array of the size of `geobox`."""
    whole = np.zeros((len(pixels), *geobox.shape), pixels.dtype)
    whole[:, *part.slices_in(Window(0, 0, 0, 0))] = pixels
    return whole


def median_of(
    images: NDArray[Any], seen: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Median [band, H, W] of images [scene, band, H, W] where seen [scene, H, W]; and where any."""
    dtype = images.dtype
    whole = dtype.kind in "iu"
    top = np.iinfo(dtype).max if whole else np.inf
    ordered = np.sort(np.where(seen[:, None], images, top), axis=0)
    count = seen.sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, len(images) - 1)
    below, above = (
        np.take_along_axis(ordered, index[None, None].astype(np.intp), axis=0)[0]
        for index in (low, high)
    )
    # neither sum nor difference of two numbers need fit their type
    middle = (below & above) + ((below ^ above) >> 1) if whole else below / 2 + above / 2
    valid = count > 0
    return np.where(valid, middle, 0).astype(dtype), valid
