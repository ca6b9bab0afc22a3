"""Days of imagery over an area: how much of it each shows, and how much of that is under cloud."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from rasterio.features import geometry_mask
from rasterio.transform import from_origin
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.search import search_scenes
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.zone import centre_of, local_crs
from noise2map_core.imagery.composite import order_scenes
from noise2map_core.imagery.masks import read_hidden
from noise2map_core.imagery.recipe import UNCHANGED
from noise2map_core.imagery.region import finest_on_ground
from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.imagery import MaskConfig

COARSE_PX = 256
"""Longer side of the grid on which an area is looked at."""

SNAP_PX = 1e-6
"""A side this much longer than some pixels is as long."""

_LOGGER = logging.getLogger(__name__)

Mask = NDArray[np.bool_]
CloudOf = Literal["area", "scene"] | None


@dataclass(frozen=True)
class CoarseArea:
    """An area on a few pixels, in metres of its own zone."""

    geobox: GeoBox
    inside: Mask
    """[H, W], True = in the area."""

    @classmethod
    def of(cls, aoi: AreaOfInterest) -> "CoarseArea":
        """Square pixels, COARSE_PX along the longer side."""
        crs = local_crs(aoi.geometry)
        outline = Geometry(aoi.geometry, "EPSG:4326").to_crs(crs, resolution="auto").geom
        west, south, east, north = outline.bounds
        side = max(east - west, north - south) / COARSE_PX
        rows, cols = (max(1, math.ceil(length / side - SNAP_PX))
                      for length in (north - south, east - west))  # fmt: skip
        shape = (rows, cols)
        transform = from_origin(west, north, side, side)
        inside = geometry_mask([outline], shape, transform, invert=True)
        if not inside.any():  # narrower than a pixel everywhere
            inside = geometry_mask([outline], shape, transform, invert=True, all_touched=True)
        return cls(GeoBox(shape, transform, crs), inside)


@dataclass(frozen=True)
class Day:
    """What was recorded over an area on one day, UTC."""

    day: date
    scenes: tuple[Scene, ...]
    """The one that is preferred for a pixel first."""
    cloud: float | None
    """Share under cloud; None: not known."""
    cloud_of: CloudOf
    """Of the area's pixels that the day shows, by the scenes' masks; or of the whole scenes, as
    their items say."""
    coverage: float
    """Share of the area within the scenes' footprints."""
    hidden: Mask
    """[H, W] of the coarse area: masked in every scene that shows it; all False without masks."""
    place: tuple[float, float]
    """Longitude and latitude of the middle of the area."""

    @property
    def sensor(self) -> str:
        """Constellations or platforms; "?" if no item names one."""
        names = sorted({scene.sensor for scene in self.scenes if scene.sensor})
        return ", ".join(names) or "?"

    @cached_property
    def gsd(self) -> float | None:
        """Side of the finest pixels, metres: as the items say, else the first scene's files, which
        are opened. None: not known."""
        stated = [scene.gsd for scene in self.scenes if scene.gsd]
        if stated:
            return min(stated)
        try:
            return float(f"{finest_on_ground(self.scenes[:1], *self.place):.3g}")
        except AssetReadError as error:
            _LOGGER.warning("item %s: %s", self.scenes[0].id, error)
            return None

    @property
    def cloud_text(self) -> str:
        """For people: "3 %", "21 % of the scene" or "?"."""
        if self.cloud is None:
            return "?"
        return f"{100 * self.cloud:.0f} %" + (" of the scene" if self.cloud_of == "scene" else "")


def find_days(
    search: SearchConfig,
    aoi: AreaOfInterest,
    dates: str,
    bands: Sequence[str],
    mask: MaskConfig,
    coarse: CoarseArea,
) -> list[Day]:
    """All days on which a search finds scenes with `bands`, in their order.

    `mask` says what counts as cloud; with `use` off, masks are not read. Raises as `search_scenes`
    does, and AssetReadError for a mask that is there and cannot be read.
    """
    return days_of(search_scenes(search, aoi, dates, bands), aoi, mask, coarse)


def days_of(
    scenes: Sequence[Scene], aoi: AreaOfInterest, mask: MaskConfig, coarse: CoarseArea
) -> list[Day]:
    """The days of scenes, in their order. Raises AssetReadError as `find_days` does."""
    in_time = sorted(scenes, key=lambda scene: scene.datetime)
    days = groupby(in_time, lambda scene: scene.datetime.date())
    return [_day(day, list(found)[::-1], aoi, mask, coarse) for day, found in days]


def _day(
    day: date, scenes: list[Scene], aoi: AreaOfInterest, mask: MaskConfig, coarse: CoarseArea
) -> Day:
    ordered = tuple(order_scenes(scenes, UNCHANGED, coarse.geobox))
    hidden, clear = _looked_at(ordered, mask, coarse)
    cloud, cloud_of = _cloud(ordered, int(hidden.sum()), int(clear.sum()))
    coverage, place = covered(ordered, aoi.geometry), centre_of(aoi.geometry)
    return Day(day, ordered, cloud, cloud_of, coverage, hidden, place)


def _looked_at(scenes: Sequence[Scene], mask: MaskConfig, coarse: CoarseArea) -> tuple[Mask, Mask]:
    """Pixels of the area that are masked in every scene that knows them, and those that are not;
    neither where masks are not read, or a scene has none."""
    hidden, clear = np.zeros((2, *coarse.inside.shape), np.bool_)
    if mask.use == "off" or any(scene.mask is None for scene in scenes):
        return hidden, clear
    undilated = mask.model_copy(update={"dilate_px": 0})  # meant for pixels of the map's size
    try:
        for scene in scenes:
            kinds, known = read_hidden(scene, coarse.geobox, undilated)
            masked = kinds > 0
            hidden, clear = hidden | masked, clear | (known & ~masked)
    except AssetReadError as error:
        if not error.missing:
            raise
        _LOGGER.warning("the cloud mask of item %s is not there: %s", scene.id, error)
        return np.zeros_like(hidden), np.zeros_like(clear)
    return hidden & ~clear & coarse.inside, clear & coarse.inside


def _cloud(scenes: Sequence[Scene], hidden: int, clear: int) -> tuple[float | None, CloudOf]:
    """The masked share of pixels; without any, the mean of what the items say, if all do."""
    if hidden + clear:
        return hidden / (hidden + clear), "area"
    covers = [scene.cloud_cover for scene in scenes if scene.cloud_cover is not None]
    if len(covers) < len(scenes):
        return None, None
    return sum(covers) / len(covers) / 100, "scene"


def covered(scenes: Sequence[Scene], area: BaseGeometry) -> float:
    """Share of an area, in EPSG:4326, that lies within the scenes' footprints."""
    footprints = shapely.make_valid(shapely.from_wkb([scene.footprint_wkb for scene in scenes]))
    whole = _equal_area(area)
    shown = shapely.union_all(_equal_area(footprints))
    return float(shapely.intersection(whole, shown).area / whole.area)


def _equal_area(geometries: Any) -> Any:
    """Longitude and the sine of latitude (Lambert's cylinder): areas are as on the sphere."""
    return shapely.transform(
        geometries, lambda xy: np.stack([xy[:, 0], np.sin(np.radians(xy[:, 1]))], axis=1)
    )
