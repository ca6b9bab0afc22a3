"""Objects: polygons that are followed from slice to slice, and what became of each.

A polygon inherits the `object_id` of the earlier polygon of its class with which it shares most,
pair by pair, the largest overlap first; each id is inherited once. What inherits none gets an id of
its own: the day, and its `polygon_id`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from noise2map_core.products.polygon_files import GeoParquetFile
from noise2map_core.runtime.atomic import whole_file

EVENTS = ("new", "grown", "shrunk", "moved", "split", "merged", "gone")
"""What may become of an object; moved: as many pixels as before, other ones."""
BATCH = 20_000
"""Polygons of a row group."""
OBJECT_COLUMNS = ["object_id", "polygon_id", "class", "class_name", "area_m2", "pixels",
                  "probability", "geometry"]  # fmt: skip
CHANGE_COLUMNS = ["event", "object_id", "polygon_id", "parents", "class", "class_name",
                  "area_m2_before", "area_m2", "pixels_before", "pixels", "geometry"]  # fmt: skip


@dataclass(frozen=True)
class Tracked:
    """The objects of a slice and what changed, as tables."""

    objects: gpd.GeoDataFrame
    """Every polygon with its object_id, in the order of the polygons."""
    changes: gpd.GeoDataFrame
    """One row for every polygon that is not as it was, and for every object that is gone: event,
    parents (ids of the objects it overlaps, the largest share first, with spaces between), areas
    before and now. The geometry of what is gone is its last."""

    @property
    def counts(self) -> dict[str, int]:
        """How often each event happened; of those that did."""
        found = Counter(self.changes["event"])
        return {event: found[event] for event in EVENTS if found[event]}


@dataclass(frozen=True, slots=True)
class _Overlaps:
    """Pairs that share area, the largest first."""

    before: NDArray[np.int64]
    now: NDArray[np.int64]


def track(earlier: gpd.GeoDataFrame | None, polygons: gpd.GeoDataFrame, day: date) -> Tracked:
    """Give the polygons of a day their object_id. `earlier`: the objects of the slice before.

    Both in the same CRS; `polygons` has the columns of polygons.parquet.
    """
    if earlier is None:
        earlier = polygons.assign(object_id=polygons["polygon_id"]).iloc[:0]
    overlaps = _overlaps(earlier, polygons)
    objects = polygons.assign(object_id=_inherited(earlier, polygons, overlaps, day))
    changes = _changes(earlier, objects, overlaps)
    return Tracked(objects[OBJECT_COLUMNS], changes)


def read_objects(path: Path) -> gpd.GeoDataFrame:
    """A table of polygons or objects."""
    return gpd.read_parquet(path)


def write_table(path: Path, table: gpd.GeoDataFrame) -> None:
    """Write GeoParquet, whole or not at all; the same table gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, GeoParquetFile(partial) as file:
        for start in range(0, max(1, len(table)), BATCH):
            file.write(table.iloc[start : start + BATCH])


def _overlaps(before: gpd.GeoDataFrame, now: gpd.GeoDataFrame) -> _Overlaps:
    """By area; of equal ones by first pixel, so that the order of tables does not matter."""
    old, new = before.geometry.to_numpy(), now.geometry.to_numpy()
    which_new, which_old = shapely.STRtree(old).query(new, "intersects")
    same = before["class"].to_numpy()[which_old] == now["class"].to_numpy()[which_new]
    which_old, which_new = which_old[same], which_new[same]
    shared = shapely.area(shapely.intersection(old[which_old], new[which_new]))
    keep = shared > 0
    which_old, which_new, shared = which_old[keep], which_new[keep], shared[keep]
    names = (
        now["polygon_id"].to_numpy(str)[which_new],
        before["object_id"].to_numpy(str)[which_old],
    )
    order = np.lexsort((*names, -shared))
    return _Overlaps(which_old[order], which_new[order])


def _inherited(
    before: gpd.GeoDataFrame, now: gpd.GeoDataFrame, overlaps: _Overlaps, day: date
) -> list[str]:
    ids = [f"{day:%Y%m%d}-{name}" for name in now["polygon_id"]]
    old_ids = before["object_id"].tolist()
    heirs: set[int] = set()
    left: set[int] = set()
    for old, new in zip(overlaps.before.tolist(), overlaps.now.tolist(), strict=True):
        if old not in left and new not in heirs:
            ids[new] = old_ids[old]
            left.add(old)
            heirs.add(new)
    return ids


def _changes(
    before: gpd.GeoDataFrame, now: gpd.GeoDataFrame, overlaps: _Overlaps
) -> gpd.GeoDataFrame:
    parents: dict[int, list[int]] = {}
    children: Counter[int] = Counter(overlaps.before.tolist())
    for old, new in zip(overlaps.before.tolist(), overlaps.now.tolist(), strict=True):
        parents.setdefault(new, []).append(old)
    events = [_event(before, now, new, parents.get(new, []), children) for new in range(len(now))]
    gone = sorted(set(range(len(before))) - set(children))
    table = pd.concat([_rows(before, now, events, parents), _gone_rows(before, gone)])
    return gpd.GeoDataFrame(table.reset_index(drop=True), geometry="geometry", crs=now.crs)


def _event(
    before: gpd.GeoDataFrame, now: gpd.GeoDataFrame, new: int, parents: list[int],
    children: Mapping[int, int],
) -> str:  # fmt: skip
    """What became of a polygon; "" if it is as it was."""
    if not parents:
        return "new"
    if len(parents) > 1:
        return "merged"
    if children[parents[0]] > 1:
        return "split"
    old = parents[0]
    pixels = int(now["pixels"].iat[new]) - int(before["pixels"].iat[old])
    if pixels:
        return "grown" if pixels > 0 else "shrunk"
    same = now.geometry.iat[new].equals(before.geometry.iat[old])
    return "" if same else "moved"


def _rows(
    before: gpd.GeoDataFrame, now: gpd.GeoDataFrame, events: list[str],
    parents: Mapping[int, list[int]],
) -> pd.DataFrame:  # fmt: skip
    """One row for each polygon with an event; before: the sums over its parents."""
    chosen = [new for new, event in enumerate(events) if event]
    ids = before["object_id"].tolist()
    area, pixels = before["area_m2"].to_numpy(), before["pixels"].to_numpy()
    table = pd.DataFrame(now.iloc[chosen].reset_index(drop=True))
    of = [parents.get(new, []) for new in chosen]
    table["event"] = pd.Series([events[new] for new in chosen], dtype="str")
    table["parents"] = pd.Series([" ".join(ids[old] for old in olds) for olds in of], dtype="str")
    table["area_m2_before"] = np.array([float(area[olds].sum()) for olds in of], np.float64)
    table["pixels_before"] = np.array([int(pixels[olds].sum()) for olds in of], np.int64)
    return table[CHANGE_COLUMNS]


def _gone_rows(before: gpd.GeoDataFrame, gone: list[int]) -> pd.DataFrame:
    table = pd.DataFrame(before.iloc[gone].reset_index(drop=True))
    table["event"] = pd.Series(["gone"] * len(gone), dtype="str")
    table["parents"] = table["object_id"].astype("str")
    table["area_m2_before"], table["pixels_before"] = table["area_m2"], table["pixels"]
    table["area_m2"], table["pixels"] = 0.0, np.zeros(len(gone), np.int64)
    return table[CHANGE_COLUMNS]
