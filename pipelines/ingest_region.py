"""Make a chip store of one area: scenes of two dates, with labels where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.application import application
from noise2map_core.catalog.config import SearchConfig
from noise2map_core.distributed.config import ResourcesConfig
from noise2map_core.errors import ConfigError, IncompleteRegionError
from noise2map_core.geo.config import GridConfig
from noise2map_core.imagery.config import ChipsConfig, LabelsConfig, NoLabels, SplitConfig

if TYPE_CHECKING:
    from noise2map_core.catalog.scene import Scene
    from noise2map_core.imagery.chip_plan import ChipTable
    from noise2map_core.imagery.chip_source import ChipJob
    from noise2map_core.imagery.chip_writer import StoreHeader
    from noise2map_core.imagery.labels import LabelSource
    from noise2map_core.imagery.splits import SplitWindow
    from noise2map_core.stopwatch import Stopwatch


class IngestRegionConfig(BaseModel):
    """Make a chip store: scenes, grid, chips, labels, splits."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    aoi: Path
    """Area of interest: GeoJSON in EPSG:4326."""

    search: SearchConfig
    """Where the imagery is."""

    before: str
    """First date or date range, "2000-03-01/2000-03-31"."""

    after: str
    """Second date or date range."""

    output: Path
    """The chip store, a Zarr directory; a rerun continues it."""

    grid: GridConfig = Field(default_factory=GridConfig)
    """The grid of the chips."""

    chips: ChipsConfig = Field(default_factory=ChipsConfig)
    """Size and distance of the chips."""

    labels: LabelsConfig = Field(default_factory=NoLabels)
    """Labels of change: kind raster (asset or path), polygons (path) or none."""

    split: SplitConfig = Field(default_factory=SplitConfig)
    """Places for training, validation and testing."""

    resources: ResourcesConfig = Field(default_factory=lambda: ResourcesConfig(reader_cpus=0.5))
    """Workers and what each takes."""


@dataclass(frozen=True)
class IngestRegionResult:
    """What a run did, and what the store holds."""

    output: Path
    shards: int
    """Shards of the store."""
    written: int
    """Shards that this run wrote."""
    counts: dict[str, dict[str, Any]]
    """Per split: chips, pixels, valid pixels per date, labelled pixels per task and class."""
    bytes: int
    """Size of the store."""
    seconds: dict[str, float]
    """Seconds per stage."""

    def summary(self) -> list[str]:
        """Lines for people."""
        from noise2map_core.imagery.chip_summary import split_line

        lines = [split_line(split, part) for split, part in self.counts.items()]
        if not self.written:
            return [*lines, f"nothing new: {self.output} is complete and current"]
        kept = self.shards - self.written
        return [
            *lines,
            f"{self.written} of {self.shards} shards written, {kept} kept from earlier runs, "
            f"in {sum(self.seconds.values()):.1f} s",
            f"chips     {self.output} ({self.bytes / 1e6:,.1f} MB)",
        ]


def run(config: IngestRegionConfig) -> IngestRegionResult:
    """Search the scenes, choose grid and chips, and write the shards that the store lacks."""
    from noise2map_core.imagery.chip_writer import clear_progress, is_finished, progress_folder
    from noise2map_core.mapping.lease import hold_lease
    from noise2map_core.stopwatch import Stopwatch

    watch, written = Stopwatch(), 0
    with watch.stage("search"):
        plan = _plan(config)
    if not is_finished(config.output, plan.header.key):
        with watch.stage("choose chips"):
            table = plan.table()
        with hold_lease(progress_folder(config.output)):
            written = _write(config, plan, table, watch)
    clear_progress(config.output)
    return _result(config.output, written, watch)


@dataclass(frozen=True)
class _Plan:
    """Everything that is decided before the first pixel is written."""

    dates: tuple[tuple[Scene, ...], ...]
    boxes: list[SplitWindow]
    labels: LabelSource | None
    header: StoreHeader

    def table(self) -> ChipTable:
        """The chips; reads the labels."""
        from noise2map_core.geo.grid import ChipLattice
        from noise2map_core.imagery.chip_plan import plan_chips

        lattice = ChipLattice(self.header.chip_px, self.header.stride_px)
        return plan_chips(self.header.grid, lattice, self.boxes, self.dates, self.labels)


def _plan(config: IngestRegionConfig) -> _Plan:
    from noise2map_core.catalog.pairing import search_pair
    from noise2map_core.geo.aoi import read_aoi
    from noise2map_core.imagery.chip_header import plan_header
    from noise2map_core.imagery.labels import open_labels
    from noise2map_core.imagery.region import plan_grid
    from noise2map_core.imagery.splits import plan_splits

    if not config.search.bands:
        raise ConfigError("no bands were asked for. Set search.bands, in the order to be stored.")
    aoi = read_aoi(config.aoi)
    dates = search_pair(config.search, aoi, config.before, config.after, config.search.bands)
    scenes = [scene for of_date in dates for scene in of_date]
    grid = plan_grid(aoi, config.grid, scenes)
    times = sorted(scene.datetime for scene in scenes)
    interval = f"{times[0]:%Y-%m-%dT%H:%M:%SZ}/{times[-1]:%Y-%m-%dT%H:%M:%SZ}"
    labels = open_labels(config.labels, config.search, aoi, interval, grid)
    header = plan_header(grid, config.chips, config.split, config.labels, labels, dates)
    return _Plan(tuple(map(tuple, dates)), plan_splits(config.split, grid), labels, header)


def _write(config: IngestRegionConfig, plan: _Plan, table: ChipTable, watch: Stopwatch) -> int:
    """Write the shards that are missing; returns how many."""
    from noise2map_core.imagery.chip_source import ChipJob
    from noise2map_core.imagery.chip_writer import (
        create_store,
        finish_store,
        missing_shards,
        sweep,
    )

    output = config.output.resolve()  # workers run in folders of their own
    job = ChipJob(output, config.chips, plan.header, plan.dates, plan.labels, table)
    if not config.output.exists():
        create_store(config.output, plan.header, table)
    sweep(config.output)
    todo = missing_shards(config.output, job.num_shards)
    with watch.stage("write"):
        if todo:
            _write_shards(job, todo, config.resources)
        finish_store(config.output)
    return len(todo)


def _write_shards(job: ChipJob, todo: list[int], resources: ResourcesConfig) -> None:
    from noise2map_core.distributed.chips import write_chips
    from noise2map_core.distributed.session import ray_session
    from noise2map_core.progress import progress

    failed = []
    with ray_session(resources), progress(len(todo), "write chips", "shards") as bar:
        for outcome in write_chips(job, todo, resources):
            bar.update()
            if outcome.reason:
                failed.append(outcome)
    if failed:
        raise IncompleteRegionError(
            f"{len(failed)} of {len(todo)} shards of {job.store} could not be read, the first "
            f"because: {failed[0].reason} What is done is kept; a rerun tries the rest."
        )


def _result(output: Path, written: int, watch: Stopwatch) -> IngestRegionResult:
    from noise2map_core.imagery.chip_store import open_store

    store = open_store(output)
    size = sum(length for length, _ in store.objects.values())
    return IngestRegionResult(
        output, store.num_shards, written, store.attributes["counts"], size, watch.seconds
    )


if __name__ == "__main__":
    application(IngestRegionConfig, run)
