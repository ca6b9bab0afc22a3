"""One night: each area planned, mapped where there is news, and its objects followed.

Areas come one after another: a map of one takes the whole machine or cluster.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from noise2map_core.alert_products.bundle import write_alert_products
from noise2map_core.alert_products.source import has_alerts
from noise2map_core.alerts.looks import look_at
from noise2map_core.catalog.search import search_scenes
from noise2map_core.delivery.deliver import deliver, require_targets
from noise2map_core.distributed.mappers import mapper_of
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.inference.model import read_model
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.nightly.alarm import alarms_of
from noise2map_core.nightly.areas import Area
from noise2map_core.nightly.changes_files import expect_changes, write_changes
from noise2map_core.nightly.cursor import Cursor, read_cursor, write_cursor
from noise2map_core.nightly.followed import drop_slice, follow_slice, grid_of, update_area
from noise2map_core.nightly.outcome import AreaOutcome, SliceOutcome, new_items
from noise2map_core.nightly.past import SliceRecord, forget_record, read_past, write_record
from noise2map_core.nightly.plan import AreaPlan, SlicePlan, plan_area, rule_of, search_interval
from noise2map_core.nightly.retention import slice_days
from noise2map_core.nightly.runner import Runner, run_process
from noise2map_core.nightly.scores import earlier_scores, measure_slice, read_score, write_score
from noise2map_core.nightly.slice import (
    begin_slice,
    compare_tiles,
    count_tiles,
    grid_settings,
    plan_slice,
    slice_settings,
)
from noise2map_core.review.precision import precision_of
from noise2map_core.review.scenes import write_scenes
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.diagnosis import diagnosis
from noise2map_core.runtime.errors import NoImageryError, Noise2MapError, OutputError, explained
from noise2map_core.runtime.redact import redacted_document
from noise2map_core.settings.places import anywhere, placed
from noise2map_core.workflows.infer_region import InferRegionConfig

Say = Callable[[str], None]


@dataclass
class Watch:
    """An area, where it stands, and what it needs."""

    area: Area
    plan: AreaPlan
    cursor: Cursor | None
    outcome: AreaOutcome
    grid: dict[str, Any] = field(default_factory=dict)


def watch_area(
    name: str, area: Area | Noise2MapError, until: date | None, *, dry_run: bool = False
) -> Watch | AreaOutcome:
    """Plan an area from its catalogue and cursor; what went wrong, as its outcome. In a dry run
    nobody is told anything, and what that needs is not looked for."""
    outcome = AreaOutcome(name, area.output if isinstance(area, Area) else None)
    with _recorded(outcome):
        if not isinstance(area, Area):
            raise area
        if not dry_run:
            require_targets(area.config.delivery)
        cursor = read_cursor(area.output)
        outcome.newest = cursor.slice if cursor else None
        plan = _plan(area, cursor, until)
        outcome.notices += plan.notices
        return Watch(area, plan, cursor, outcome, cursor.grid if cursor else {})
    return outcome


def _plan(area: Area, cursor: Cursor | None, until: date | None) -> AreaPlan:
    config = area.config
    # Vanished or damaged: found before there is work.
    spec = read_model(config.checkpoint, area.search.bands, config)
    past = read_past(area, until) if config.alerts else None
    interval = search_interval(config, cursor, until, past)
    try:
        scenes = search_scenes(area.search, read_aoi(config.aoi), interval, spec.bands)
    except NoImageryError:
        scenes = []
    return plan_area(config, area.search, cursor, scenes, past)


class _recorded:
    """Takes up what goes wrong with an area, so that the others go on."""

    def __init__(self, outcome: AreaOutcome) -> None:
        self._outcome = outcome

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False  # all is well, or the whole night is to stop
        said, code = diagnosis(error)
        if self._outcome.error:  # the first one stands for the area
            self._outcome.notices.append(said)
        else:
            self._outcome.error, self._outcome.exit_code = said, code
        return True


def forecast(watch: Watch) -> AreaOutcome:
    """Which slices would be made and how many tiles predicted; nothing is written."""
    outcome, earlier = watch.outcome, _newest_path(watch)
    outcome.waiting = _is_waiting(watch)
    with _recorded(outcome):
        job: RegionJob | None = None
        for plan in watch.plan.slices:
            if plan.gone:
                continue
            last, job = job, plan_slice(slice_settings(watch.area, plan, watch.grid))
            watch.grid = watch.grid or grid_settings(job)
            if plan.amended:
                kept, missing = count_tiles(job, watch.area.slice_path(plan.day))
            else:
                kept, missing = compare_tiles(job, last) if last else count_tiles(job, earlier)
            outcome.slices.append(
                SliceOutcome(plan.day, plan.amended, len(plan.news), missing, kept)
            )
    return outcome


def map_area(watch: Watch, run: Runner, say: Say) -> AreaOutcome:
    """Make the slices of an area in order, until one fails."""
    outcome = watch.outcome
    outcome.waiting = _is_waiting(watch)
    with _recorded(outcome):
        if watch.plan.slices:
            expect_changes(watch.area)
        for plan in watch.plan.slices:
            if plan.gone:
                _drop_slice(watch, plan.day)
                continue
            say(f"{watch.area.id}: slice of {plan.day}, {new_items(len(plan.news))}")
            outcome.slices.append(_map_slice(watch, plan, run))
            outcome.newest = watch.cursor.slice if watch.cursor else None
        _note_through(watch)
        _update_alerts(watch)
    with _recorded(outcome):  # also of what was made before a slice that failed
        if watch.cursor is not None and watch.cursor.grid:
            write_changes(watch.area, grid_of(watch.area, watch.cursor.grid))
    with _recorded(outcome):
        _make_alert_products(watch.area)
    with _recorded(outcome):
        _deliver(watch)
    return outcome


def _make_alert_products(area: Area) -> None:
    """The rasters, tables and the item of the day that the alerts have come to."""
    if area.config.alerts is None or not has_alerts(area.output):
        return
    aoi = replace(read_aoi(area.config.aoi), name=area.id)
    mapper = mapper_of(area.config.resources)
    write_alert_products(area.output, aoi, area.collection, mapper)


def _drop_slice(watch: Watch, day: date) -> None:
    """Delete a slice; first let the cursor point to the newest one that is left."""
    area, cursor = watch.area, watch.cursor
    assert cursor is not None
    if cursor.slice == day:
        past = read_past(area)
        newest = max((one for one in past.records if one < day), default=None)
        items, rule = (
            (past.records[newest].items, past.records[newest].rule) if newest else ({}, "")
        )
        watch.cursor = replace(cursor, slice=newest, items=items, rule=rule)
        write_cursor(area.output, watch.cursor)
        watch.outcome.newest = newest
    drop_slice(area, grid_of(area, cursor.grid), day)
    watch.outcome.notices.append(f"no slice of {day} any more: its imagery was withdrawn")


def _update_alerts(watch: Watch) -> None:
    """Take new looks into the area's alerts."""
    if watch.area.config.alerts is None or watch.cursor is None or not watch.cursor.grid:
        return
    updated = update_area(watch.area, watch.cursor)
    if updated is not None:
        watch.outcome.alerts = updated.events
        watch.outcome.notices.append(updated.line())


def _deliver(watch: Watch) -> None:
    """Tell of the area's events, older ones that could not be delivered among them."""
    if watch.area.config.alerts is None:
        return
    area, folder = watch.area, watch.area.output / "alerts"
    watch.outcome.precision = precision_of(folder)
    told = deliver(area.id, folder, area.config.delivery, _standing_alarms(area, watch.outcome))
    watch.outcome.notices += told.lines
    watch.outcome.undelivered = told.waiting


def _map_slice(watch: Watch, plan: SlicePlan, run: Runner) -> SliceOutcome:
    """Copy what did not change, predict the rest, follow the objects, move the cursor."""
    started, area = time.perf_counter(), watch.area
    _make_folders(area)
    settings = slice_settings(area, plan, watch.grid)
    job = plan_slice(settings)
    watch.grid = watch.grid or grid_settings(job)
    settings["grid"] = watch.grid
    settings = placed(InferRegionConfig, settings, anywhere)
    forget_record(area, plan.day)
    kept, missing = begin_slice(job, None if plan.amended else _earlier_path(watch, plan.day))
    file = area.output / "settings" / f"{plan.day}.yaml"
    write_atomically(file, json.dumps(settings, indent=1) + "\n")  # JSON is YAML
    try:
        # Without tiles to predict there is nothing for a cluster to do: only products are made.
        (run if missing else run_process)(file, area.output / "logs" / f"{plan.day}.log")
    finally:  # the catalogue's address may hold a key
        write_atomically(file, json.dumps(redacted_document(settings), indent=1) + "\n")
    if area.config.alerts is not None:
        write_scenes(area.output, plan.day, job.before, job.after, job.grid)
    tracked = follow_slice(area, job.grid, plan.day)
    _keep_score(area, job, plan.day)
    rule = rule_of(area.config, area.search, plan.day)
    if area.config.alerts is not None:
        look = look_at(job.output, plan.day, area.config.products.threshold, job.before, job.after)
        write_record(area, plan.day, SliceRecord(rule, plan.items, look))
    if watch.cursor is None or watch.cursor.slice is None or plan.day >= watch.cursor.slice:
        through = max(plan.day, watch.cursor.through if watch.cursor else plan.day)
        watch.cursor = Cursor(through, plan.items, watch.grid, plan.day, rule)
    write_cursor(area.output, watch.cursor)
    seconds = time.perf_counter() - started
    return SliceOutcome(
        plan.day, plan.amended, len(plan.news), missing, kept, tracked.counts, seconds,
        _alarms(area, plan.day),
    )  # fmt: skip


def _make_folders(area: Area) -> None:
    try:
        for name in ("slices", "objects", "changes", "settings", "logs"):
            (area.output / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {area.output}: {explained(error)} Or set another output."
        ) from error


def _keep_score(area: Area, job: RegionJob, day: date) -> None:
    """Keep the numbers of a slice, by which nights are judged."""
    mosaic = Mosaic(area.slice_path(day) / "mosaic.zarr", job.grid)
    write_score(area.output, measure_slice(mosaic, day, area.config.products.threshold))


def _alarms(area: Area, day: date) -> tuple[str, ...]:
    """What does not look right of a slice; nothing of one whose numbers are not kept."""
    score, alarm = read_score(area.output, day), area.config.alarm
    if score is None:
        return ()
    return tuple(alarms_of(score, earlier_scores(area.output, day, alarm.nights), alarm))


def _standing_alarms(area: Area, outcome: AreaOutcome) -> list[str]:
    """Those of this night's slices; of a night without any, that of the newest slice, whose events
    may still have to be told."""
    if outcome.slices or outcome.newest is None:
        return outcome.alarms
    return [f"{outcome.newest}: {text}" for text in _alarms(area, outcome.newest)]


def _newest_path(watch: Watch) -> Path | None:
    cursor = watch.cursor
    return watch.area.slice_path(cursor.slice) if cursor and cursor.slice else None


def _earlier_path(watch: Watch, day: date) -> Path | None:
    """The slice before a day, of which tiles may be taken over."""
    cursor = watch.cursor
    if cursor is None or cursor.slice is None or cursor.slice < day:
        return _newest_path(watch)
    earlier = [one for one in slice_days(watch.area) if one < day]
    return watch.area.slice_path(earlier[-1]) if earlier else None


def _is_waiting(watch: Watch) -> bool:
    return watch.plan.through is None and watch.outcome.newest is None


def _note_through(watch: Watch) -> None:
    """Days that could not become a slice are not looked at again."""
    newest, cursor = watch.plan.through, watch.cursor
    if newest and (cursor is None or newest > cursor.through):
        _make_folders(watch.area)
        write_cursor(watch.area.output, replace(cursor or Cursor(newest), through=newest))
