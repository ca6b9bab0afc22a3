"""Which slices of an area stay."""

import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from noise2map_core.alerts.replay import snapshot_days
from noise2map_core.nightly.areas import Area, day_of
from noise2map_core.nightly.cursor import read_cursor
from noise2map_core.products.stac.collection import refresh_collection
from noise2map_core.workflows.run_nightly import AreaConfig

KEPT_SNAPSHOTS = 2
"""Of alerts: so many newest ones can be begun with."""
PERIODS = {"year": "%Y", "month": "%Y-%m"}


def kept_days(area: AreaConfig, days: Sequence[date]) -> set[date]:
    """The newest `keep_last` of `days`, and the first of each period; all without a rule."""
    ordered = sorted(days)
    if area.keep_last is None:
        return set(ordered)
    kept = set(ordered[-area.keep_last :])
    if area.keep_first_of != "never":
        period = PERIODS[area.keep_first_of]
        kept |= set({f"{day:{period}}": day for day in reversed(ordered)}.values())
    return kept


def slice_days(area: Area) -> list[date]:
    """Days of the slices on disk, finished ones alone, in order. Other files are left alone."""
    cursor, folder = read_cursor(area.output), area.output / "slices"
    if cursor is None or cursor.slice is None or not folder.is_dir():
        return []
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    days = [day for path in folders if (day := day_of(path.name))]
    return sorted(day for day in days if day <= cursor.slice)


def _replayed_days(area: Area, days: Sequence[date]) -> set[date]:
    """With alerts, slices behind the snapshot before the last: imagery may come late, be replaced
    or withdrawn for a month at least."""
    if area.config.alerts is None:
        return set()
    snapshots = snapshot_days(area.alerts_path)
    return {day for day in days if len(snapshots) < KEPT_SNAPSHOTS or day > snapshots[-2]}


def prune_area(area: Area, dry_run: bool) -> tuple[list[Path], int]:
    """Delete the slices that no rule keeps; which they are, and their bytes.

    The tables of objects and changes stay, so that every object can be followed to its beginning.
    """
    days = slice_days(area)
    kept = kept_days(area.config, days) | _replayed_days(area, days)
    paths = [area.slice_path(day) for day in days if day not in kept]
    size = sum(file.stat().st_size for path in paths for file in path.rglob("*") if file.is_file())
    if paths and not dry_run:
        for path in paths:  # first what lists them: nobody finds half a slice
            (path / "item.json").unlink(missing_ok=True)
        refresh_collection(area.collection)
        for path in paths:
            shutil.rmtree(path)
    return paths, size
