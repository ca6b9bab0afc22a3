"""The alerts of an area brought up to its slices: state, objects, events, tables, in one step."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import geopandas as gpd
import pandas as pd

from noise2map_core.alerts.commit import SNAPSHOTS, commit, copy_state, finish, stage
from noise2map_core.alerts.components import find_components
from noise2map_core.alerts.evidence import with_items
from noise2map_core.alerts.objects import follow, lasting, no_objects
from noise2map_core.alerts.replay import Replay, Slice, plan_replay, snapshot_days
from noise2map_core.alerts.settle import EVENTS, OBJECTS, is_settled, revised, settle
from noise2map_core.alerts.state import day_number
from noise2map_core.alerts.store import NAME, LookKey, StateRules, StateStore
from noise2map_core.alerts.tables import (
    ALERTS,
    HISTORY,
    HISTORY_COLUMNS,
    REVISIONS,
    read_alerts,
    read_history,
    write_alerts,
    write_history,
)
from noise2map_core.alerts.tiles import FoldJob, FoldTiles
from noise2map_core.geo.grid import RegionGrid


@dataclass(frozen=True)
class Updated:
    """What became of the alerts of an area."""

    looks: int
    """Looks that were taken in."""
    anew: bool
    """True if earlier ones were taken in again."""
    events: dict[str, int]
    """Rows of history and revisions that were not there before, by event."""

    def line(self) -> str:
        """For people."""
        again = ", earlier ones among them" if self.anew else ""
        events = ", ".join(f"{count:,} {event}" for event, count in self.events.items())
        looks = f"{self.looks:,} look{'' if self.looks == 1 else 's'} taken in{again}"
        return f"alerts: {looks}; {events or 'as before'}"


@dataclass
class _Work:
    """A state that is being made in a folder of its own."""

    folder: Path
    store: StateStore
    objects: gpd.GeoDataFrame
    events: pd.DataFrame
    looks: list[LookKey] = field(default_factory=list)

    def save(self, objects: gpd.GeoDataFrame) -> None:
        """Write all that is not written yet."""
        if self.looks:
            self.store.note(tuple(self.looks))
        write_alerts(self.folder / OBJECTS, objects)
        write_history(self.folder / EVENTS, self.events)


def update_alerts(
    folder: Path,
    grid: RegionGrid,
    rules: StateRules,
    slices: list[Slice],
    fold_tiles: FoldTiles,
    threshold: float | None = None,
) -> Updated | None:
    """Take the looks that are new into the state, and make it anew where earlier ones changed.

    `slices`: all of the area; `threshold`: of the slices' products. None: nothing was to be done;
    then nothing is written. Raises OutputError as `plan_replay` does.
    """
    finish(folder)
    plan = plan_replay(folder, rules, slices)
    if plan is None:
        if not is_settled(folder):
            settle(folder)
        return None
    work = _begin(folder, plan, grid, rules)
    for one in plan.todo:
        _snapshot(work, one.record.day)
        _take_in(work, one, rules, fold_tiles, threshold)
    records = [record for record in plan.looks if record.look in work.looks]
    work.save(with_items(work.objects, records, grid))
    settle(folder, raw=work.folder, target=work.folder)
    fresh = _revise(folder, work, plan)
    commit(folder, _dropped(folder, work, plan))
    return Updated(len(plan.todo), plan.anew, fresh)


def _begin(folder: Path, plan: Replay, grid: RegionGrid, rules: StateRules) -> _Work:
    staged = stage(folder)
    if plan.base is None:
        store = StateStore.create(staged / NAME, grid, rules)
        events = pd.DataFrame(columns=HISTORY_COLUMNS)
        return _Work(staged, store, no_objects(grid.crs), events)
    copy_state(plan.base, staged)
    # The items that show an object best are found when all looks are known.
    objects = read_alerts(staged / OBJECTS).assign(before_item="", after_item="")
    events = read_history(staged / EVENTS)
    return _Work(staged, StateStore(staged / NAME, grid), objects, events, list(plan.known))


def _snapshot(work: _Work, day: date) -> None:
    """Before the first look of a month, keep the state of the last one of the month before."""
    as_of = work.looks[-1].day if work.looks else None
    if as_of is None or (as_of.year, as_of.month) == (day.year, day.month):
        return
    work.save(work.objects)
    copy_state(work.folder, work.folder / SNAPSHOTS / str(as_of))


def _take_in(
    work: _Work, one: Slice, rules: StateRules, fold_tiles: FoldTiles, threshold: float | None
) -> None:
    """One look: tiles without a decision are left alone, and without any, all is."""
    assert one.mosaic is not None
    tiles, day = one.record.tiles, one.record.day
    work.looks.append(one.record.look)
    if not tiles:
        return
    job = FoldJob(work.store.path, one.mosaic, work.store.grid, day_number(day), rules.pixels,
                  threshold)  # fmt: skip
    fold_tiles(job, tiles)
    known = lasting(work.objects).geometry.to_numpy()
    found = find_components(work.store, rules.minimum_m2, known)
    resolution = work.store.grid.resolution
    followed = follow(work.objects, found, day, rules.minimum_m2, resolution)
    work.objects = followed.objects
    work.events = _joined([work.events, followed.events])


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    some = [table for table in tables if len(table)]
    return pd.concat(some, ignore_index=True) if some else tables[0]


def _revise(folder: Path, work: _Work, plan: Replay) -> dict[str, int]:
    """Write what a replay took back; how many rows there are that were not there, by event."""
    old = read_history(folder / HISTORY) if (folder / HISTORY).exists() else work.events[:0]
    told = read_history(folder / REVISIONS) if (folder / REVISIONS).exists() else work.events[:0]
    taken_back = work.events[:0]
    day = work.looks[-1].day if work.looks else plan.was_as_of
    if plan.base != folder and (folder / ALERTS).exists() and day:
        taken_back = revised(folder, work.folder, day)
        write_history(work.folder / REVISIONS, _joined([told, taken_back]))
    known = set(old[["object_id", "day", "event"]].itertuples(index=False, name=None))
    now = read_history(work.folder / HISTORY)[["object_id", "day", "event"]]
    fresh = [event for *rest, event in now.itertuples(index=False, name=None)
             if (*rest, event) not in known]  # fmt: skip
    counts = pd.Series([*fresh, *taken_back["event"]], dtype="str").value_counts()
    return {str(event): int(number) for event, number in sorted(counts.items())}


def _dropped(folder: Path, work: _Work, plan: Replay) -> list[str]:
    """Snapshots of looks that are not as they were, and of days that end a month no more."""
    last = work.looks[len(plan.known) - 1].day if plan.known else date.min
    ends = {(look.day.year, look.day.month): look.day for look in work.looks}
    made = set(snapshot_days(work.folder))
    return [str(day) for day in snapshot_days(folder)
            if day not in made and (day > last or day not in ends.values())]  # fmt: skip
