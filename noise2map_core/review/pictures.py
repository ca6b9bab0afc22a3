"""Before and after of an alert, cut from the scenes themselves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.scene import Scene
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.products.overlays import outline_path
from noise2map_core.products.pictures import rgb_bands, stretched
from noise2map_core.report.images import photo_url
from noise2map_core.review.scenes import SliceScenes
from noise2map_core.runtime.errors import AssetReadError

LEAST_PX = 48
"""Side of what a picture shows: an alert without what lies around it says little."""
AROUND = 2.5
"""A picture is at least so many times as wide as its alert."""
MOST_PX = 320
"""Of a side; beyond it, pixels are larger than the map's."""
PHOTO_BYTES = 30_000
ORDINARY = 6.0
"""Median absolute deviations from the median brightness: 4 standard deviations where it is
normal."""


@dataclass(frozen=True)
class Picture:
    """One date of an alert."""

    caption: str
    """Which date, of which item."""
    url: str
    """`data:` URL; empty: there is no picture."""
    trouble: str = ""
    """Why not."""


@dataclass(frozen=True)
class Pair:
    """Both dates of an alert, on one frame."""

    before: Picture
    after: Picture
    width: int
    height: int
    """Of the frame, pixels."""
    outline: str
    """SVG path data of the alert, in pixels of the frame."""


class Album:
    """Cuts the pictures of an area's alerts out of the scenes of its slices."""

    def __init__(self, slices: Sequence[SliceScenes]) -> None:
        self._slices = slices
        self._by_id = {
            scene.id: scene for one in slices for scene in (*one.before, *one.after)
        }  # fmt: skip

    def pair(self, alert: Any, crs: str) -> Pair:
        """The pictures of a row of alerts, whose geometry is in `crs`: of the items that it names
        or, where it names none, of the first slice that shows it."""
        shown = self._first_slice(alert)
        if shown is None:
            nothing = "the scenes of its days are not known: its slices were made without alerts"
            return Pair(Picture("before", "", nothing), Picture("after", "", nothing), 1, 1, "")
        frame = frame_around(alert.geometry, crs, shown)
        named = [self._by_id.get(name) for name in (alert.before_item, alert.after_item)]
        before, after = (
            [item] if item is not None else scenes
            for item, scenes in zip(named, (shown.before, shown.after), strict=True)
        )
        return Pair(
            _picture("before", before, frame), _picture("after", after, frame),
            frame.shape.x, frame.shape.y, _outline(alert.geometry, frame),
        )  # fmt: skip

    def _first_slice(self, alert: Any) -> SliceScenes | None:
        later = (one for one in self._slices if one.day >= alert.first_seen)
        return next(later, None)


def frame_around(shape: BaseGeometry, crs: str, shown: SliceScenes) -> GeoBox:
    """A square of the map's own pixels around a shape; of larger ones around a large shape."""
    west, south, east, north = shape.bounds
    pixel, (x_origin, y_origin) = shown.resolution, shown.origin
    side = max(LEAST_PX, math.ceil(AROUND * max(east - west, north - south) / pixel))
    step = -(-side // MOST_PX)
    col = math.floor(((west + east) / 2 - x_origin) / pixel - side / 2)
    row = math.floor((y_origin - (south + north) / 2) / pixel - side / 2)
    x, y, large = x_origin + col * pixel, y_origin - row * pixel, pixel * step
    number = -(-side // step)
    return GeoBox((number, number), Affine(large, 0.0, x, 0.0, -large, y), crs)


def _picture(name: str, scenes: Sequence[Scene], frame: GeoBox) -> Picture:
    if not scenes:
        return Picture(name, "", "there is no image")
    dates = sorted({f"{scene.datetime:%Y-%m-%d}" for scene in scenes})
    said = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    caption = f"{name} {said}, {scenes[0].id}{' …' if len(scenes) > 1 else ''}"
    names = [band.name for band in scenes[0].bands]
    chosen = list(dict.fromkeys(rgb_bands(names)))
    thin = [replace(one, bands=tuple(one.bands[band] for band in chosen)) for one in scenes]
    try:
        image, valid = read_pixels(thin, frame)
    except AssetReadError as error:
        return Picture(caption, "", str(error))
    shown = [chosen.index(band) for band in rgb_bands(names)]
    picture = stretched(image, valid, shown, _ordinary(image, valid))
    return Picture(caption, photo_url(picture, PHOTO_BYTES))


def _ordinary(image: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[H, W] pixels about as bright as most: a cloud in a corner would leave the ground dark."""
    bright = image.mean(axis=0, dtype=np.float64)
    if not valid.any():
        return valid
    centre = np.median(bright[valid])
    spread = np.median(np.abs(bright[valid] - centre))
    ordinary: NDArray[np.bool_] = np.abs(bright - centre) <= ORDINARY * spread
    return ordinary


def _outline(shape: BaseGeometry, frame: GeoBox) -> str:
    to_pixels = ~frame.affine
    placed = shapely.transform(
        shape, lambda xy: np.stack(to_pixels @ (xy[:, 0], xy[:, 1]), axis=1)
    )  # fmt: skip
    return "".join(outline_path(part) for part in shapely.get_parts(placed))
