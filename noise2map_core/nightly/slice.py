"""A time slice: a map of its own, begun with the tiles that did not change since the one before."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from noise2map_core.geo.aoi import absolute_aoi, read_aoi
from noise2map_core.inference.comparison import whole_tiles
from noise2map_core.inference.model import read_model
from noise2map_core.inference.planning import plan_job
from noise2map_core.inference.provenance import class_table
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.region_output import require_model
from noise2map_core.mapping.ledger import Done, Ledger, TileRecord
from noise2map_core.mapping.mosaic import Mosaic, require_same_output
from noise2map_core.nightly.areas import Area
from noise2map_core.nightly.plan import SlicePlan
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.pixels import RegionConfig

RECORDS = 1_000
"""Copied tiles that are recorded together."""

Settings = dict[str, Any]


def slice_settings(area: Area, plan: SlicePlan, grid: Settings) -> Settings:
    """What infer-region is told, as plain values; `grid` are those of the first slice, if any."""
    config = area.config
    same = set(RegionConfig.model_fields) - {"grid", "products"}
    return {
        "aoi": absolute_aoi(config.aoi),
        "search": area.search.model_dump(mode="json"),
        "task": "change",
        "before": plan.before,
        "after": plan.after,
        "checkpoint": str(config.checkpoint),
        "output": str(area.slice_path(plan.day)),
        "grid": grid or config.grid.model_dump(mode="json"),
        "products": config.products.model_dump(mode="json") | {"collection": str(area.collection)},
        **config.model_dump(mode="json", include=same),
        "composite": config.slice_composite.model_dump(mode="json"),
    }


def plan_slice(settings: Settings) -> RegionJob:
    """The tiles of a slice and what each is made from. Reads no imagery; Ray is asked for
    GPUs alone, and only a cluster that is elsewhere."""
    # Ray takes long to load, and a night that has no slice to plan does without.
    from noise2map_core.distributed.cluster.gpus import with_gpus

    config = with_gpus(InferRegionConfig.model_validate(settings))
    spec = read_model(config.checkpoint, config.search.bands, config)
    return plan_job(config, spec, read_aoi(config.aoi))


def grid_settings(job: RegionJob) -> Settings:
    """The grid of a job as settings: later slices lie on it whatever imagery there is."""
    grid = job.grid
    return {
        "crs": grid.crs, "resolution": grid.resolution, "tile_px": grid.tile_px,
        "origin": [grid.x_origin, grid.y_origin],
    }  # fmt: skip


def begin_slice(job: RegionJob, earlier: Path | None) -> tuple[int, int]:
    """Copy the tiles that `earlier` made from the same; how many tiles are there, and are missing.

    Safe to repeat: tiles that the slice has already are left alone. Raises OutputHeldError,
    OutputMismatchError, and CheckpointError if no worker could load the model.
    """
    if not (job.output / "mosaic.zarr").exists():
        require_model(job)
    table = class_table(job.task)
    require_same_output(job.output / "mosaic.zarr", job.grid, table, job.layers)
    with hold_lease(job.output) as fence:
        mosaic = Mosaic.create(job.output / "mosaic.zarr", job.grid, table, job.layers, fence)
        if earlier is not None:
            _copy(job, earlier, mosaic, fence)
    return count_tiles(job, job.output)


def count_tiles(job: RegionJob, output: Path | None) -> tuple[int, int]:
    """How many tiles of a job an output has, made from the same, and how many it lacks: records
    whose pixels are gone are none."""
    view = Ledger(output).view() if output else None
    kept = missing = 0
    for rows in job.grid.bands():
        tiles = job.grid.tiles_in(rows)
        done = _whole(job, output, view.done(rows), rows) if view and output else {}
        pairs = zip(map(tuple, tiles.tolist()), job.keys(tiles), strict=True)
        same = sum(at in done and done[at].key == key for at, key in pairs)
        kept, missing = kept + same, missing + len(tiles) - same
    return kept, missing


def _whole(
    job: RegionJob, output: Path, done: dict[tuple[int, int], Done], rows: range
) -> dict[tuple[int, int], Done]:
    """Of the tiles that a ledger has, those whose pixels are there."""
    whole = whole_tiles(done, rows, replace(job, output=output).shards)
    return {at: said for at, said in done.items() if at in whole}


def compare_tiles(job: RegionJob, other: RegionJob) -> tuple[int, int]:
    """How many tiles of two jobs on one grid are made from the same, and how many are not."""
    kept = differing = 0
    for rows in job.grid.bands():
        tiles = job.grid.tiles_in(rows)
        keys = zip(job.keys(tiles), other.keys(tiles), strict=True)
        same = sum(one == another for one, another in keys)
        kept, differing = kept + same, differing + len(tiles) - same
    return kept, differing


def _copy(job: RegionJob, earlier: Path, mosaic: Mosaic, fence: int) -> None:
    """Pixels first, then the records that speak of them."""
    source = earlier / "mosaic.zarr"
    require_same_output(source, job.grid, class_table(job.task), job.layers)
    before, ledger, same = Mosaic(source, job.grid), Ledger(job.output), _same_tiles(job, earlier)
    while records := tuple(islice(same, RECORDS)):
        for record in records:
            mosaic.copy(record.tile, before)
        ledger.append(records, fence)
        ledger.fold()


def _same_tiles(job: RegionJob, earlier: Path) -> Iterator[TileRecord]:
    """Records of tiles that `earlier` has under the key that is wanted, and the slice has not."""
    before, now = Ledger(earlier).view(), Ledger(job.output).view()
    for rows in job.grid.bands():
        whole = _whole(job, earlier, before.done(rows), rows)
        found = [one for one in before.newest(rows) if (one.row, one.col) in whole]
        yield from _wanted(job, found, _whole(job, job.output, now.done(rows), rows))


def _wanted(
    job: RegionJob, found: list[TileRecord], done: dict[tuple[int, int], Done]
) -> Iterable[TileRecord]:
    if not found:
        return
    keys = job.keys(np.array([(one.row, one.col) for one in found], np.int32))
    for record, key in zip(found, keys, strict=True):
        at = (record.row, record.col)
        if record.key == key and not (at in done and done[at].key == key):
            yield record
