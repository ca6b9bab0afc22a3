"""Alerts as objects: components of the state of a day, with the ids of the day before.

A component has the id of the object whose largest part it is; of several, the oldest, and the
others are its parents. What has none becomes an object as soon as it has the minimum area, and is
named by its seed: day, row and column on the anchored grid. An object lasts as long as it has a
pixel that is an alert.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from noise2map_core.alerts.components import ACTIVE
from noise2map_core.alerts.state import date_of
from noise2map_core.alerts.tables import ALERT_COLUMNS, HISTORY_COLUMNS

LASTING = ("provisional", "confirmed")

Row = dict[str, Any]
Event = tuple[str, float, float, str]
"""Id, area and confirmed area in m², what happened."""


@dataclass(frozen=True)
class Followed:
    """The objects of a day, those that have ended among them, and what became of them that day."""

    objects: gpd.GeoDataFrame
    """Columns of alerts."""
    events: pd.DataFrame
    """Columns of the history."""


@dataclass(frozen=True)
class _Kinship:
    """Who comes from whom; objects that last and components by their numbers."""

    own: dict[int, int]
    """Component to the object whose id it has."""
    merged: dict[int, list[int]]
    """Component to the other objects that ended in it."""
    touched: dict[int, list[int]]
    """Component to all objects that it shares pixels with."""
    parts: Counter[int]
    """Of each object, in how many components that are objects it goes on."""


def no_objects(crs: Any) -> gpd.GeoDataFrame:
    """The objects before the first look."""
    columns: dict[str, list[Any]] = {name: [] for name in ALERT_COLUMNS if name != "geometry"}
    return gpd.GeoDataFrame(columns, geometry=[], crs=crs)


def lasting(objects: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The objects that have not ended."""
    return objects[objects["status"].isin(LASTING)].reset_index(drop=True)


def follow(
    before: gpd.GeoDataFrame, found: gpd.GeoDataFrame, day: date, minimum_m2: float,
    resolution: float,
) -> Followed:  # fmt: skip
    """The objects of a day from those of the look before and the components of its state.

    `before`: columns of alerts; `found`: those of `find_components`, in one CRS; `resolution`: side
    of a pixel in its units.
    """
    old, components = lasting(before), _records(found)
    pairs = _shared(old.geometry.to_numpy(), found.geometry.to_numpy(), resolution**2)
    was = _records(old)
    kin = _kinship(was, components, pairs, minimum_m2)
    given = set(before["object_id"])
    rows, events = [], []
    for new, component in enumerate(components):
        if new in kin.own or component["area_m2"] >= minimum_m2:
            row = _row(component, minimum_m2)
            row |= _descent(row, new, kin, was, component, day, given)
            rows.append(row)
            events += _events(row, new, kin, was)
    over = _records(before[~before["status"].isin(LASTING)])
    ended, ends = _ended(was, kin, day)
    return Followed(_objects([*over, *ended, *rows], before.crs), _history([*events, *ends], day))


def _records(table: gpd.GeoDataFrame) -> list[Row]:
    rows = pd.DataFrame(table).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _objects(rows: list[Row], crs: Any) -> gpd.GeoDataFrame:
    if not rows:
        return no_objects(crs)
    ordered = sorted(rows, key=lambda row: row["object_id"])
    return gpd.GeoDataFrame(ordered, columns=ALERT_COLUMNS, geometry="geometry", crs=crs)


def _history(events: list[Event], day: date) -> pd.DataFrame:
    rows = [(name, day, area, confirmed, event) for name, area, confirmed, event in events]
    return pd.DataFrame(rows, columns=HISTORY_COLUMNS)


def _kinship(
    old: list[Row], found: list[Row], pairs: list[tuple[int, int]], minimum_m2: float
) -> _Kinship:
    """Each object goes on in the component with which it shares most, of equal ones in the first;
    a component that several go on in is the oldest one."""
    heirs: dict[int, int] = {}
    touched: dict[int, list[int]] = {}
    for was, new in pairs:  # the largest share first
        heirs.setdefault(was, new)
        touched.setdefault(new, []).append(was)
    several: dict[int, list[int]] = {}
    for was, new in heirs.items():
        several.setdefault(new, []).append(was)
    own = {new: min(olds, key=lambda was: (old[was]["first_seen"], old[was]["object_id"]))
           for new, olds in several.items()}  # fmt: skip
    merged = {new: [was for was in olds if was != own[new]] for new, olds in several.items()}
    parts = Counter(was for new, olds in touched.items() for was in olds
                    if new in own or found[new]["area_m2"] >= minimum_m2)  # fmt: skip
    return _Kinship(own, merged, touched, parts)


def _shared(
    old: NDArray[np.object_], new: NDArray[np.object_], pixel: float
) -> list[tuple[int, int]]:
    """Pairs (old, new) that share pixels, the most first, then by the order of both; `pixel`: area
    of one in units of the CRS."""
    which_new, which_old = shapely.STRtree(old).query(new, "intersects")
    share = np.rint(shapely.area(shapely.intersection(old[which_old], new[which_new])) / pixel)
    kept = share > 0
    which_old, which_new, share = which_old[kept], which_new[kept], share[kept]
    order = np.lexsort((which_new, which_old, -share))
    return list(zip(which_old[order].tolist(), which_new[order].tolist(), strict=True))


def _row(found: Row, minimum_m2: float) -> Row:
    """What a component says of itself, in columns of alerts."""
    p_mean = found["sum_p"] / found["sum_hits"] / 100
    support = found["sum_hits"] / found["sum_looks"]
    certain = found["area_confirmed_m2"]
    return {
        "polygon_id": f"{ACTIVE}:{found['row']}:{found['col']}",
        "status": "confirmed" if certain > 0 and certain >= minimum_m2 else "provisional",
        "confidence": p_mean * support,
        "prior_look": date_of(found["prior"]), "first_seen": date_of(found["first"]),
        "last_seen": date_of(found["last"]), "last_look": date_of(found["seen"]),
        "looks": found["looks"], "detections": found["hits"], "support": support,
        "p_mean": p_mean, "p_max": found["p_max"] / 100, "area_m2": found["area_m2"],
        "area_confirmed_m2": certain, "before_item": "", "after_item": "", "review": "",
        "reject_reason": "", "geometry": found["geometry"],
    }  # fmt: skip


def _descent(
    row: Row, new: int, kin: _Kinship, old: list[Row], found: Row, day: date, given: set[str]
) -> Row:
    """Id, parents, and since when it is confirmed."""
    certain = row["status"] == "confirmed"
    if new not in kin.own:
        parents = sorted(old[was]["object_id"] for was in kin.touched.get(new, []))
        return {"object_id": _name(found, day, given), "parents": " ".join(parents),
                "confirmed_on": day if certain else None}  # fmt: skip
    was = old[kin.own[new]]
    others = [old[one]["object_id"] for one in kin.merged[new]]
    since = was["confirmed_on"] if was["status"] == "confirmed" else day
    parents = sorted({*was["parents"].split(), *others})
    return {"object_id": was["object_id"], "parents": " ".join(parents),
            "confirmed_on": since if certain else None}  # fmt: skip


def _name(found: Row, day: date, given: set[str]) -> str:
    """By the seed; with the day if the seed has named another one already, which it parted from."""
    first = date_of(found["first"])
    assert first is not None
    name = f"{first:%Y%m%d}-r{found['seed_row']}c{found['seed_col']}"
    return f"{name}-{day:%Y%m%d}" if name in given else name


def _events(row: Row, new: int, kin: _Kinship, old: list[Row]) -> list[Event]:
    """What became of an object that lasts; more than one event, or none."""
    found, touched = [], kin.touched.get(new, [])
    was = old[kin.own[new]] if new in kin.own else None
    if not touched:
        found.append("opened")
    elif kin.merged.get(new):
        found.append("merged")
    elif any(kin.parts[one] > 1 for one in touched):
        found.append("split")
    elif was and row["area_m2"] > was["area_m2"]:
        found.append("grew")
    before = was["status"] if was else "provisional"
    if row["status"] != before:
        found.append("confirmed" if row["status"] == "confirmed" else "downgraded")
    return [(row["object_id"], row["area_m2"], row["area_confirmed_m2"], one) for one in found]


def _ended(old: list[Row], kin: _Kinship, day: date) -> tuple[list[Row], list[Event]]:
    """Objects without a pixel of their own, as they were last; and how they ended."""
    merged = {was for olds in kin.merged.values() for was in olds}
    gone = sorted({*range(len(old))} - {*kin.own.values()})
    events = [(old[was]["object_id"], 0.0, 0.0, "merged" if was in merged else "ended")
              for was in gone]  # fmt: skip
    return [old[was] | {"status": "ended", "last_look": day} for was in gone], events
