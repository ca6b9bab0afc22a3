"""What follows from slices: objects from slice to slice, and the alerts of an area."""

import shutil
from collections.abc import Sequence
from datetime import date
from typing import Any

from noise2map_core.alerts.store import StateRules
from noise2map_core.alerts.tiles import FoldJob, FoldTiles, fold_here
from noise2map_core.alerts.update import Updated, update_alerts
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.nightly import scores
from noise2map_core.nightly.areas import Area, day_of
from noise2map_core.nightly.cursor import Cursor
from noise2map_core.nightly.objects import Tracked, read_objects, track, write_table
from noise2map_core.nightly.past import forget_record, read_past
from noise2map_core.products.stac.collection import add_asset, refresh_collection
from noise2map_core.review import scenes
from noise2map_core.runtime.storage import listed

FEW_TILES = 64
"""Fewer are folded here before a cluster would have started."""


def follow_slice(area: Area, grid: RegionGrid, day: date) -> Tracked:
    """Write the objects of a slice and its changes, and those of the slices behind it, which may be
    others now; list the tables in the collection."""
    tracked = _follow(area, grid, day)
    for later in sorted(one for one in _days(area) if one > day):
        _follow(area, grid, later)
    return tracked


def _days(area: Area) -> list[date]:
    """Days that have a slice and a table of objects."""
    paths = listed(area.output / "objects", ".parquet")
    days = [day for path in paths if (day := day_of(path.stem))]
    return [day for day in days if (area.slice_path(day) / "polygons.parquet").exists()]


def _follow(area: Area, grid: RegionGrid, day: date) -> Tracked:
    tables = listed(area.output / "objects", ".parquet")
    before = sorted(path for path in tables if (at := day_of(path.stem)) and at < day)
    earlier = read_objects(before[-1]) if before else None
    polygons = read_objects(area.slice_path(day) / "polygons.parquet")
    mosaic = Mosaic(area.slice_path(day) / "mosaic.zarr", grid)
    tracked = track(earlier, polygons, day, mosaic)
    write_table(area.changes_path(day), tracked.changes)
    write_table(area.objects_path(day), tracked.objects)
    for path, what in ((area.objects_path(day), "Objects"), (area.changes_path(day), "Changes")):
        add_asset(area.collection, path, f"{what} of {day}")
    return tracked


def drop_slice(area: Area, grid: RegionGrid, day: date) -> None:
    """Delete a slice and its tables: nothing that it shows is in the catalogue any more."""
    forget_record(area, day)
    path = area.slice_path(day)
    (path / "item.json").unlink(missing_ok=True)  # first what lists it
    for table in (area.objects_path(day), area.changes_path(day)):
        table.unlink(missing_ok=True)
    refresh_collection(area.collection)
    shutil.rmtree(path, ignore_errors=True)
    for other in (scenes.FOLDER, scores.FOLDER):
        (area.output / other / f"{day}.json").unlink(missing_ok=True)
    if later := [one for one in _days(area) if one > day]:
        follow_slice(area, grid, min(later))


def update_area(area: Area, cursor: Cursor) -> Updated | None:
    """Bring an area's alerts up to its slices; None: they are. Raises OutputError."""
    assert area.config.alerts is not None
    grid = grid_of(area, cursor.grid)
    return update_alerts(
        area.alerts_path, grid, StateRules.of(area.config.alerts, grid),
        read_past(area).looks(area), fold_tiles_of(area), area.config.products.threshold,
    )  # fmt: skip


def grid_of(area: Area, settings: dict[str, Any]) -> RegionGrid:
    """The grid of all slices of an area, from what its cursor keeps of it."""
    x_origin, y_origin = settings["origin"]
    return RegionGrid.covering(
        read_aoi(area.config.aoi), settings["crs"], settings["resolution"], x_origin, y_origin,
        settings["tile_px"],
    )  # fmt: skip


def fold_tiles_of(area: Area) -> FoldTiles:
    """Who takes looks into tiles: this process, or, where there are many, a cluster."""

    def fold_tiles(job: FoldJob, tiles: Sequence[Tile]) -> None:
        if len(tiles) < FEW_TILES:
            fold_here(job, tiles)
            return
        # Here and not above: Ray takes seconds, which nights with few tiles are spared.
        from noise2map_core.distributed.alerts import fold_on_cluster

        fold_on_cluster(job, tiles, area.config.resources)

    return fold_tiles
