"""Parts of a search: a place and a time, cut in two or drawn more plainly."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median_low

import shapely
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.interval import Interval, parse_time
from noise2map_core.catalog.item import Document
from noise2map_core.geo.turns import WHOLE_MAP

MAX_CORNERS = 100
"""Of an outline in place of one that is too long for a server."""
MIN_DEGREES = 1e-5
"""Areas no larger than this are not cut."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a search: a place and a time."""

    area: BaseGeometry
    """In EPSG:4326."""
    interval: Interval | None

    def halves(self, found: list[Document]) -> Iterator[tuple["Part", "Part"]]:
        """This part cut in two, as far as it can be cut: in time, and in space; in space first
        where what was `found` is of one moment."""
        cuts = [self._in_time(found), self._in_space()]
        moments = {one["properties"].get("datetime") for one in found}
        yield from filter(None, reversed(cuts) if len(moments) == 1 < len(found) else cuts)

    def _in_time(self, found: list[Document]) -> tuple["Part", "Part"] | None:
        middle = self._moment(found)
        if middle is None:
            return None
        start, end = (self.interval.start, self.interval.end) if self.interval else (None, None)
        early, late = Interval(start, middle), Interval(middle, end)
        return replace(self, interval=early), replace(self, interval=late)

    def _in_space(self) -> tuple["Part", "Part"] | None:
        west, south, east, north = self.area.bounds
        if max(east - west, north - south) <= MIN_DEGREES:
            return None
        x, y = (west + east) / 2, (south + north) / 2
        wide = east - west >= north - south
        one = shapely.box(west, south, x, north) if wide else shapely.box(west, south, east, y)
        other = shapely.box(x, south, east, north) if wide else shapely.box(west, y, east, north)
        return replace(self, area=self.area & one), replace(self, area=self.area & other)

    def _moment(self, found: list[Document]) -> datetime | None:
        """The whole second at which the time is cut; None if it cannot be."""
        start, end = (self.interval.start, self.interval.end) if self.interval else (None, None)
        times = [parse_time(str(t)) for one in found if (t := one["properties"].get("datetime"))]
        if start and end:
            times = [start + (end - start) / 2]
        if not times:
            return None
        middle = median_low(times).replace(microsecond=0)
        cut = (start is None or middle - start >= timedelta(seconds=1)) and (
            end is None or end - middle >= timedelta(seconds=1)
        )
        return middle if cut else None


def simplified(area: BaseGeometry) -> BaseGeometry:
    """An outline of up to MAX_CORNERS corners that covers `area`, tightly where that can be."""
    west, south, east, north = area.bounds
    for share in (0.001, 0.01, 0.05):
        tolerance = share * max(east - west, north - south)
        cover = area.simplify(tolerance).buffer(1.1 * tolerance, join_style="mitre")
        if shapely.get_num_coordinates(cover) <= MAX_CORNERS and cover.covers(area):
            return cover & WHOLE_MAP
    return shapely.box(*area.bounds)


def is_beside(document: Document, area: BaseGeometry, asked: BaseGeometry) -> bool:
    """True if an item was found only for being asked for by more than the area. Whether one meets
    what was asked for is for the server to say."""
    if asked is area or not document.get("geometry"):
        return False
    place = shapely.geometry.shape(document["geometry"])
    return place.intersects(asked) and not place.intersects(area)
