"""What a run would take, from a few tiles that are made for it and thrown away."""

import os
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.grid import Tile
from noise2map_core.inference.comparison import Comparison
from noise2map_core.inference.model import predictor_of
from noise2map_core.inference.provenance import class_table
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.tile import TilePredictor, predict_tile
from noise2map_core.inference.tile_image import read_tile
from noise2map_core.mapping.ledger import Ledger
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.settings.resources import ResourcesConfig

NUM_SAMPLES = 3
"""Tiles that are made to measure: spread evenly over those that a run would make."""

START_S = 20.0
"""Starting Ray and its workers, about."""

PRODUCTS_S_PER_MPX = 0.25
"""Rasters, polygons, pictures and report, about, on one processor."""

DRIVER_BYTES = 700 << 20
"""The driver's memory, whatever the region."""


@dataclass(frozen=True, slots=True)
class TileCost:
    """Means over the tiles that were made to measure."""

    read_s: float
    predict_s: float
    write_s: float
    pixel_bytes: float
    output_bytes: float
    worker_bytes: int
    """Highest memory of this process, which held the model and one tile."""


@dataclass(frozen=True, slots=True)
class RegionEstimate:
    """What a run would take."""

    tiles: int
    todo: int
    read_bytes: float
    """Pixels to be read, decoded, halos included."""
    output_bytes: float
    """Of the mosaic; rasters come to about the same again."""
    seconds: float
    memory_bytes: float
    """Of driver and workers together."""
    cost: TileCost | None
    """None: nothing is to be made."""

    def lines(self, price_per_hour: float | None) -> list[str]:
        """For people."""
        kept = self.tiles - self.todo
        if self.cost is None:
            return [f"{self.tiles} tiles, all made already: a run would predict nothing"]
        per_tile = (
            f"reading {self.cost.read_s:.2g} s, predicting {self.cost.predict_s:.2g} s, writing "
            f"{self.cost.write_s:.2g} s"
        )
        lines = [
            f"tiles    {self.todo:,} of {self.tiles:,} to be made, {kept:,} kept",
            f"a tile   {per_tile}",
            f"reading  {_size(self.read_bytes)} of pixels, decoded",
            f"output   {_size(self.output_bytes)} of mosaic, and about as much again of products",
            f"memory   {_size(self.memory_bytes)} for driver and workers",
            f"time     about {_duration(self.seconds)}",
        ]
        if price_per_hour is not None:
            lines.append(f"cost     {price_per_hour * self.seconds / 3600:,.2f}")
        return lines


def estimate_region(job: RegionJob, output: Path, resources: ResourcesConfig) -> RegionEstimate:
    """Make some of the tiles that `output` lacks in this process, and multiply.

    Workers and readers of `resources` work at the same time: the slower of them decides. Raises
    AssetReadError if a tile cannot be read.
    """
    comparison = Comparison(job, Ledger(output), job.shards)
    missing = [*comparison.waves()]
    todo = comparison.missing
    if not todo:
        return RegionEstimate(comparison.tiles, 0, 0, 0, 0, 0, None)
    cost = _measure(job, np.concatenate(missing))
    workers, readers = min(resources.predictors, todo), _readers(resources)
    work = max((cost.predict_s + cost.write_s) / workers, cost.read_s / readers) * todo
    mpx = comparison.tiles * job.grid.tile_px**2 / 1e6
    return RegionEstimate(
        tiles=comparison.tiles,
        todo=todo,
        read_bytes=cost.pixel_bytes * todo,
        output_bytes=cost.output_bytes * comparison.tiles,
        seconds=START_S + work + PRODUCTS_S_PER_MPX * mpx,
        memory_bytes=DRIVER_BYTES + workers * cost.worker_bytes + readers * 3 * cost.pixel_bytes,
        cost=cost,
    )


def _readers(resources: ResourcesConfig) -> float:
    """How many tiles are read at once, on the machine or cluster that the settings describe."""
    left = (resources.num_cpus or os.cpu_count() or 1) - (
        resources.predictors * resources.predictor_cpus
    )
    # A reading task keeps one CPU busy, whatever share of it Ray reserves.
    return max(1.0, min(left / resources.reader_cpus, left))


def _measure(job: RegionJob, missing: NDArray[np.int32]) -> TileCost:
    predictor = predictor_of(job)
    count = min(NUM_SAMPLES, len(missing))
    rows = missing[[(2 * i + 1) * len(missing) // (2 * count) for i in range(count)]]
    with TemporaryDirectory(prefix="noise2map-plan-") as folder:
        scratch = replace(job, output=Path(folder))
        mosaic = Mosaic.create(
            Path(folder) / "mosaic.zarr", job.grid, class_table(job.task), job.layers
        )
        empty = _size_of(Path(folder))
        made = [_timed(scratch, predictor, mosaic, Tile(row, col)) for row, col in rows.tolist()]
        output = _size_of(Path(folder)) - empty
    read_s, predict_s, write_s, pixel_bytes = np.mean(made, axis=0).tolist()
    return TileCost(
        read_s, predict_s, write_s, pixel_bytes, output / count,
        worker_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )  # fmt: skip


def _timed(
    job: RegionJob, predictor: TilePredictor, mosaic: Mosaic, tile: Tile
) -> tuple[float, float, float, int]:
    """Make a tile: seconds of reading, predicting and writing it, and bytes of its pixels."""
    begun = time.perf_counter()
    pixels = read_tile(job, tile)
    read = time.perf_counter()
    made = predict_tile(job, predictor, tile, pixels)
    predicted = time.perf_counter()
    mosaic.write(tile, made.map)
    written = time.perf_counter()
    return read - begun, predicted - read, written - predicted, pixels.image.nbytes


def _size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
