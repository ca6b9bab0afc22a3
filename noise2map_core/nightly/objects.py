"""Objects: polygons that are followed from slice to slice, and what became of each.

A polygon inherits the `object_id` of the earlier polygon of its class with which it shares most,
pair by pair, the largest overlap first; each id is inherited once. What inherits none gets an id of
its own: the day, and its `polygon_id`.

What a cloud hides is not gone. An object of which most was not seen stays as it was, and of one
that was seen in part, the part that was not is remembered: it is found again by either.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.nightly.unseen import Unseen, nothing_unseen, unseen_of
from noise2map_core.products.vectors.columns import CHANGES
from noise2map_core.products.vectors.polygon_files import GeoParquetFile
from noise2map_core.runtime.atomic import whole_file

EVENTS = ("new", "grown", "shrunk", "moved", "split", "merged", "unseen", "gone")
"""What may become of an object; moved: as many pixels as before, other ones; unseen: hidden for the
first time since it was seen."""
BATCH = 20_000
"""Polygons of a row group."""
OBJECT_COLUMNS = ["object_id", "polygon_id", "class", "class_name", "area_m2", "pixels",
                  "probability", "unseen", "hidden_px", "hidden", "geometry"]  # fmt: skip
"""`unseen`: it is as it was when it was seen last; `hidden_px` and `hidden` (WKB): what is
remembered of it, and was not seen."""
CHANGE_COLUMNS = [*(name for name in CHANGES if name != "date"), "geometry"]


@dataclass(frozen=True)
class Tracked:
    """The objects of a slice and what changed, as tables."""

    objects: gpd.GeoDataFrame
    """Every polygon with its object_id, in the order of the polygons; then what was not seen."""
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


def track(
    earlier: gpd.GeoDataFrame | None, polygons: gpd.GeoDataFrame, day: date,
    mosaic: Mosaic | None = None,
) -> Tracked:  # fmt: skip
    """Give the polygons of a day their object_id. `earlier`: the objects of the slice before.

    Both in the same CRS; `polygons` has the columns of polygons.parquet. `mosaic`: the day's map,
    which says what was not seen; None: all was.
    """
    polygons = _with_memory(polygons)
    if earlier is None:
        earlier = polygons.assign(object_id=polygons["polygon_id"]).iloc[:0]
    earlier = _with_memory(earlier)
    whole = shapely.union(earlier.geometry.to_numpy(), shapely.from_wkb(earlier["hidden"]))
    unseen = unseen_of(whole, mosaic) if mosaic else nothing_unseen(len(whole))
    overlaps = _overlaps(earlier, whole, polygons)
    objects = polygons.assign(object_id=_inherited(earlier, polygons, overlaps, day))
    objects = _remembered(objects, earlier, unseen)
    kept = unseen.mostly & ~np.isin(np.arange(len(earlier)), overlaps.before)
    changes = _changes(earlier, objects, overlaps, kept)
    return Tracked(_with_unseen(objects, earlier, unseen, kept), changes)


def _with_memory(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Polygons, and tables of earlier versions, remember nothing."""
    if "hidden" in table:
        return table
    return _memory(table, np.zeros(len(table), np.int64), nothing_unseen(len(table)).parts, False)


def _memory(
    table: gpd.GeoDataFrame, pixels: NDArray[np.int64], parts: NDArray[np.object_], unseen: bool
) -> gpd.GeoDataFrame:
    hidden = pd.Series(pa.array(shapely.to_wkb(parts), pa.binary()), index=table.index,
                       dtype=pd.ArrowDtype(pa.binary()))  # fmt: skip
    flags = np.full(len(table), unseen, np.bool_)
    return table.assign(unseen=flags, hidden_px=pixels, hidden=hidden)


def _remembered(
    objects: gpd.GeoDataFrame, earlier: gpd.GeoDataFrame, unseen: Unseen
) -> gpd.GeoDataFrame:
    """Objects with what was not seen of those that they were."""
    at = {name: number for number, name in enumerate(earlier["object_id"])}
    was = np.array([at.get(name, -1) for name in objects["object_id"]], np.int64)
    pixels = np.append(unseen.pixels, 0)[was]
    parts = np.append(unseen.parts, nothing_unseen(1).parts)[was]
    return _memory(objects, pixels, parts, False)


def _with_unseen(
    objects: gpd.GeoDataFrame, earlier: gpd.GeoDataFrame, unseen: Unseen, kept: NDArray[np.bool_]
) -> gpd.GeoDataFrame:
    if not kept.any():
        return objects[OBJECT_COLUMNS]
    hidden = _memory(earlier[kept], unseen.pixels[kept], unseen.parts[kept], True)
    both = pd.concat([objects[OBJECT_COLUMNS], hidden[OBJECT_COLUMNS]], ignore_index=True)
    return gpd.GeoDataFrame(both, geometry="geometry", crs=objects.crs)


def read_objects(path: Path) -> gpd.GeoDataFrame:
    """A table of polygons or objects."""
    return gpd.read_parquet(path)


def write_table(path: Path, table: gpd.GeoDataFrame) -> None:
    """Write GeoParquet, whole or not at all; the same table gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, GeoParquetFile(partial) as file:
        for start in range(0, max(1, len(table)), BATCH):
            file.write(table.iloc[start : start + BATCH])


def _overlaps(
    before: gpd.GeoDataFrame, old: NDArray[np.object_], now: gpd.GeoDataFrame
) -> _Overlaps:
    """By area; of equal ones by first pixel, so that the order of tables does not matter. `old`:
    the objects before with what is remembered of them."""
    new = now.geometry.to_numpy()
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
    before: gpd.GeoDataFrame, now: gpd.GeoDataFrame, overlaps: _Overlaps, kept: NDArray[np.bool_]
) -> gpd.GeoDataFrame:
    parents: dict[int, list[int]] = {}
    children: Counter[int] = Counter(overlaps.before.tolist())
    for old, new in zip(overlaps.before.tolist(), overlaps.now.tolist(), strict=True):
        parents.setdefault(new, []).append(old)
    events = [_event(before, now, new, parents.get(new, []), children) for new in range(len(now))]
    gone = [old for old in range(len(before)) if old not in children and not kept[old]]
    hidden = np.flatnonzero(kept & ~before["unseen"].to_numpy(np.bool_)).tolist()
    lost = [_lost_rows(before, hidden, "unseen"), _lost_rows(before, gone, "gone")]
    table = pd.concat([_rows(before, now, events, parents), *lost])
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
    return _resized(before.iloc[parents[0]], now.iloc[new])


def _resized(was: "pd.Series[Any]", now: "pd.Series[Any]") -> str:
    """What became of an object's extent, as far as both were seen."""
    remembered = 0 if was["unseen"] else int(was["hidden_px"])
    if now["pixels"] > was["pixels"] + remembered:
        return "grown"
    if now["pixels"] + now["hidden_px"] < was["pixels"]:
        return "shrunk"
    if remembered or now["hidden_px"] or now["geometry"].equals(was["geometry"]):
        return ""
    return "moved"


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


def _lost_rows(before: gpd.GeoDataFrame, lost: list[int], event: str) -> pd.DataFrame:
    """One row for each object that has no polygon; what is only unseen is as large as it was."""
    table = pd.DataFrame(before.iloc[lost].reset_index(drop=True))
    table["event"] = pd.Series([event] * len(lost), dtype="str")
    table["parents"] = table["object_id"].astype("str")
    table["area_m2_before"], table["pixels_before"] = table["area_m2"], table["pixels"]
    if event == "gone":
        table["area_m2"], table["pixels"] = 0.0, np.zeros(len(lost), np.int64)
    return table[CHANGE_COLUMNS]
