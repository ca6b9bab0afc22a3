"""The outlines that objects had over the nights: a table that says from when to when."""

from dataclasses import dataclass, field
from datetime import date

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from noise2map_core.products.vectors.columns import OBJECTS

NIGHT_STATES = ("present", "unseen", "gone", "earlier")
"""What an outline is on the last night: there and seen, hidden on that night, gone, or replaced by
another outline of its object."""
KEPT = ["object_id", "class", "class_name", "area_m2", "pixels", "probability"]
SPAN_COLUMNS = [*OBJECTS, "geometry"]
"""`first_seen` and `last_seen` are of the object, `date` and `until` of this outline: the first and
the last night with it. On a night, those with date ≤ night ≤ until are what was there."""


@dataclass
class Spans:
    """Takes up the objects of one night after the other, earliest first."""

    days: list[date] = field(default_factory=list)
    _ended: list[pd.DataFrame] = field(default_factory=list)
    _open: pd.DataFrame | None = None
    """By object: its outline now, from which day, and when the object was seen."""
    _seen: dict[str, tuple[date, date]] = field(default_factory=dict)

    def add(self, day: date, objects: gpd.GeoDataFrame) -> None:
        """The table of a night, as `objects/DAY.parquet` has it."""
        now = _plain(objects).assign(date=day, until=day)
        for name, unseen in zip(now["object_id"], now["unseen"], strict=True):
            first, last = self._seen.get(name, (day, day))
            self._seen[name] = (first, last if unseen else day)
        if self._open is not None:
            self._carry_on(now, day)
        self._open, self.days = now.reset_index(drop=True), [*self.days, day]

    def _carry_on(self, now: pd.DataFrame, day: date) -> None:
        """Outlines that are as they were began when they began; the others have ended."""
        assert self._open is not None
        was = self._open.set_index("object_id")
        before = was.reindex(now["object_id"])
        same = before["outline"].to_numpy() == now["outline"].to_numpy()
        now.loc[same, "date"] = before["date"].to_numpy()[same]
        kept = now["object_id"].to_numpy()[same]
        self._ended.append(self._open[~self._open["object_id"].isin(kept)])

    def table(self, crs: str) -> gpd.GeoDataFrame:
        """All outlines, by the day they begin and object; of one night at least."""
        assert self._open is not None
        rows = pd.concat([*self._ended, self._open], ignore_index=True)
        rows["state"] = self._states(rows)
        for number, name in enumerate(("first_seen", "last_seen")):
            rows[name] = [self._seen[one][number] for one in rows["object_id"]]
        rows = rows.sort_values(["date", "object_id"]).reset_index(drop=True)
        shapes = shapely.from_wkb(rows.pop("outline").to_numpy())
        return gpd.GeoDataFrame(rows, geometry=shapes, crs=crs)[SPAN_COLUMNS]

    def _states(self, rows: pd.DataFrame) -> list[str]:
        """What each outline is on the last night; `rows` are in the order in which they ended."""
        newest = ~rows["object_id"].duplicated(keep="last")
        there = rows["until"] == self.days[-1]
        found = np.select(
            [~newest, ~there, rows["unseen"].astype(bool)], ["earlier", "gone", "unseen"], "present"
        )
        return [str(one) for one in found]


def _plain(objects: gpd.GeoDataFrame) -> pd.DataFrame:
    """The columns that are told, and outlines as WKB, which can be compared."""
    table = pd.DataFrame(objects[[*KEPT, "unseen"]]).reset_index(drop=True)
    table["outline"] = pd.Series(shapely.to_wkb(objects.geometry.to_numpy()), dtype=object)
    return table
