"""The images that best show an alert: one before the change, and one with it.

How clear a look is is counted in decided pixels of the tile that an object begins in. Of looks that
are equally clear, the one nearest to the change is taken: the latest before, the earliest after.
"""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache

import geopandas as gpd
import shapely

from noise2map_core.alerts.looks import ItemPlace, LookRecord
from noise2map_core.geo.grid import RegionGrid


def with_items(
    objects: gpd.GeoDataFrame, records: Sequence[LookRecord], grid: RegionGrid
) -> gpd.GeoDataFrame:
    """Objects with before_item and after_item; `records`: of all looks so far, by day.

    Without an earlier look at the place, the image before is the baseline's. Looks after the
    object's last one count no more.
    """
    shown = _Shown(records, grid)
    points = objects.geometry.representative_point().to_crs("EPSG:4326")
    columns = (objects[name] for name in ("polygon_id", "prior_look", "first_seen", "last_look"))
    found = [shown.items(*one) for one in zip(*columns, points, strict=True)]
    return objects.assign(
        before_item=[before for before, _ in found], after_item=[after for _, after in found]
    )


class _Shown:
    """What the looks at each tile show."""

    def __init__(self, records: Sequence[LookRecord], grid: RegionGrid) -> None:
        self._tile_px = grid.tile_px
        self._at: dict[tuple[int, int], list[tuple[int, LookRecord]]] = {}
        for record in records:
            for row, col, decided in record.decided:
                self._at.setdefault((row, col), []).append((decided, record))

    def items(
        self, polygon_id: str, prior: date | None, first: date, last: date, point: shapely.Point
    ) -> tuple[str, str]:
        """Items before and after, at an object that begins at the pixel `polygon_id` names."""
        _, row, col = (int(word) for word in polygon_id.split(":"))
        looks = self._at.get((row // self._tile_px, col // self._tile_px), [])
        before = _clearest([one for one in reversed(looks) if prior and one[1].day <= prior])
        after = _clearest([one for one in looks if first <= one[1].day <= last])
        earlier = before.after if before else after.before if after else ()
        return _covering(earlier, point), _covering(after.after if after else (), point)


def _clearest(looks: list[tuple[int, LookRecord]]) -> LookRecord | None:
    """The first of those with the most decided pixels."""
    return max(looks, key=lambda one: one[0])[1] if looks else None


def _covering(items: Sequence[ItemPlace], point: shapely.Point) -> str:
    """Id of the first item that has a point; empty if none has."""
    for item in items:
        if shapely.intersects(_shape(item.footprint), point):
            return item.id
    return ""


@lru_cache(maxsize=10_000)
def _shape(footprint: str) -> shapely.Geometry:
    return shapely.from_wkb(footprint)
