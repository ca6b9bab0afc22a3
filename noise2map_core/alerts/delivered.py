"""The tables that leave the house: objects and events, and what people said of them.

Verdicts never change the state or what is followed: taken back, all is as if nobody had judged.
An object whose verdict is `rejected` is so as long as it lasts, whatever it grows to, unless one
that was not rejected ended in it. What parts from it is rejected with it where it lies for the most
part in what was judged.
"""

from datetime import date
from typing import Any

import geopandas as gpd
import pandas as pd

from noise2map_core.alerts.tables import ALERT_COLUMNS, HISTORY_COLUMNS

MOST_OF_IT = 0.5
"""Share of what parted from a rejected object that lies in what was judged."""


def judged_alerts(
    objects: gpd.GeoDataFrame, events: pd.DataFrame, verdicts: gpd.GeoDataFrame
) -> gpd.GeoDataFrame:
    """Objects with `review`, `reject_reason`, and the status of those that are rejected."""
    if verdicts.empty or objects.empty:
        return objects[ALERT_COLUMNS]
    said = verdicts.to_crs(objects.crs).set_index("object_id")
    by = _rejections(objects, events, said)
    names, was = objects["object_id"].tolist(), objects["status"].tolist()
    review, reason = said["verdict"].to_dict(), said["reason"].to_dict()
    judged = objects.assign(
        review=[review.get(name, "") for name in names],
        reject_reason=[reason[by[name]] if name in by else "" for name in names],
        status=["rejected" if name in by else one for name, one in zip(names, was, strict=True)],
    )
    return judged[ALERT_COLUMNS]


def judged_history(
    events: pd.DataFrame, objects: gpd.GeoDataFrame, verdicts: gpd.GeoDataFrame
) -> pd.DataFrame:
    """Events with a row for each rejection, of the day it was decided on, with the areas that the
    object had by then."""
    known = verdicts[verdicts["object_id"].isin(set(objects["object_id"]))]
    rejected = known[known["verdict"] == "rejected"]
    rows = [_rejection(events, name, day)
            for name, day in zip(rejected["object_id"], rejected["decided_on"], strict=True)
            ]  # fmt: skip
    if not rows:
        return events
    return pd.concat([events, pd.DataFrame(rows, columns=HISTORY_COLUMNS)], ignore_index=True)


def _rejections(
    objects: gpd.GeoDataFrame, events: pd.DataFrame, said: gpd.GeoDataFrame
) -> dict[str, str]:
    """Each rejected object, and the one whose verdict that was."""
    parents = dict(zip(objects["object_id"], objects["parents"].str.split(), strict=True))
    shapes = dict(zip(objects["object_id"], objects.geometry, strict=True))
    rejected = set(said.index[said["verdict"] == "rejected"])
    ended = events[(events["event"] == "merged") & (events["area_m2"] == 0)]
    merged_on = dict(zip(ended["object_id"], ended["day"], strict=True))

    def has_more(name: str) -> bool:
        """Whether an object that was not rejected ended in this one since it was judged."""
        decided = said["decided_on"][name]
        return any(one in merged_on and merged_on[one] > decided and one not in rejected
                   for one in parents[name])  # fmt: skip

    by = {name: name for name in parents if name in rejected and not has_more(name)}
    unjudged = {name for name in parents if name not in said.index}
    while parted := {
        name: by[parent] for name in unjudged - by.keys() for parent in parents[name]
        if parent in by and _lies_in(shapes[name], said.geometry[by[parent]])
    }:  # fmt: skip
        by |= parted
    return by


def _lies_in(shape: Any, judged: Any) -> bool:
    return bool(shape.intersection(judged).area >= MOST_OF_IT * shape.area)


def _rejection(events: pd.DataFrame, name: str, day: date) -> tuple[Any, ...]:
    own = events[events["object_id"] == name].sort_values("day")
    by_then = own[own["day"] <= day]
    last = (by_then if len(by_then) else own.head(1)).tail(1)
    area, certain = last[["area_m2", "area_confirmed_m2"]].to_numpy()[0]
    return name, day, float(area), float(certain), "rejected"
