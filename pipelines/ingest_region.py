"""Make a chip store of one area: scenes of one date or two, with labels where there are any."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("ingest-region")  # settings first: what is imported below takes seconds

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noise2map_core.runtime.errors import ConfigError, IncompleteRegionError
from noise2map_core.runtime.storage import absolute
from noise2map_core.settings.resources import ClusterConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noise2map_core.catalog.scene import Scene
    from noise2map_core.chips.pixels import ChipJob
    from noise2map_core.chips.plan import ChipTable
    from noise2map_core.chips.sources import Ingest
    from noise2map_core.chips.store import ChipStore
    from noise2map_core.chips.writer import StoreHeader
    from noise2map_core.geo.aoi import AreaOfInterest
    from noise2map_core.labels.splits import SplitWindow
    from noise2map_core.runtime.stopwatch import Stopwatch


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
    warnings: tuple[str, ...] = ()
    """What does not look right."""

    def summary(self) -> list[str]:
        """Lines for people."""
        from noise2map_core.chips.summary import split_line

        lines = [split_line(split, part) for split, part in self.counts.items()]
        lines += self.warnings
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
    """Search the scenes, choose grid and chips, and write the shards that the store lacks.

    What is refused is refused before anything is written; what is decided by the store is decided
    while no other run may write it.
    """
    from noise2map_core.distributed.cluster.needs import reader_needs, require_here
    from noise2map_core.runtime.stopwatch import Stopwatch
    from noise2map_core.runtime.store_lease import hold_store

    watch, output = Stopwatch(), absolute(config.output)
    require_here(reader_needs(config.resources), config.resources)
    with watch.stage("search"):
        plan = _plan(config)
    with hold_store(output):
        if plan.tiles_of(config) != plan.ingest.grid.tile_px:
            with watch.stage("search"):
                plan = _plan(config)
        written, strange = _bring_in(config, output, plan, watch)
        return _result(config.output, written, watch, (*plan.warnings, *strange))


def _bring_in(
    config: IngestRegionConfig, output: Path, plan: _Plan, watch: Stopwatch
) -> tuple[int, list[str]]:
    """Write what the store lacks; returns how many shards, and what does not look right of the
    labels. The caller holds its lease."""
    from noise2map_core.chips.append import complete_append, look_at, staged_folder
    from noise2map_core.chips.manifest import is_pending
    from noise2map_core.chips.writer import clear_progress

    if is_pending(output):
        complete_append(output)
        clear_progress(output)
    standing = look_at(output, plan.header, len(plan.ingest.dates))
    if standing.current and standing.store is not None:
        if not staged_folder(output).exists():  # no append waits to be continued
            clear_progress(output)
        return 0, []
    with watch.stage("choose chips"):
        table, strange = plan.table()
    written = _write(config, output, plan, table, standing.store, watch)
    clear_progress(output)
    return written, strange


@dataclass(frozen=True)
class _Plan:
    """Everything that is decided before the first pixel is written."""

    ingest: Ingest
    places: list[SplitWindow]
    header: StoreHeader
    warnings: tuple[str, ...]

    def tiles_of(self, config: IngestRegionConfig) -> int:
        """Side of the tiles by now: those of the store, if a run has made one meanwhile."""
        from noise2map_core.chips.append import adopt_tiles

        if config.grid.tile_px != "auto":
            return self.ingest.grid.tile_px
        return adopt_tiles(config.output, self.ingest.grid).tile_px

    def table(self) -> tuple[ChipTable, list[str]]:
        """The chips, and what does not look right of their labels, which are read.

        Raises ConfigError for settings that do not fit the labels.
        """
        from noise2map_core.chips.plan import plan_chips
        from noise2map_core.geo.grid import ChipLattice
        from noise2map_core.labels.survey import LabelSurvey

        ingest, lattice = self.ingest, ChipLattice(self.header.chip_px, self.header.stride_px)
        labels, survey = ingest.labels, LabelSurvey()
        table = plan_chips(ingest.grid, lattice, self.places, ingest.dates, labels, survey)
        return table, survey.warnings(labels) if labels is not None else []


def _plan(config: IngestRegionConfig) -> _Plan:
    from noise2map_core.chips.append import adopt_tiles
    from noise2map_core.chips.header import plan_header
    from noise2map_core.chips.sources import Ingest
    from noise2map_core.geo.aoi import read_aoi
    from noise2map_core.imagery.pair_plan import plan_pair, require_used
    from noise2map_core.imagery.region import plan_grid
    from noise2map_core.imagery.usable import usable_scenes
    from noise2map_core.labels.sources import open_labels
    from noise2map_core.labels.splits import plan_splits
    from noise2map_core.rasters.identity import pin_scenes

    if not config.search.bands:
        raise ConfigError("no bands were asked for. Set search.bands, in the order to be stored.")
    require_used(config.pair_quality, config.radiometry, 1 if config.before is None else 2)
    aoi = read_aoi(config.aoi)
    masks = config.mask.use != "off"
    found = usable_scenes(_search(config, aoi), aoi)
    dates = tuple(tuple(pin_scenes(scenes, masks=masks)) for scenes in found)
    grid = plan_grid(aoi, config.grid, [scene for scenes in dates for scene in scenes])
    adopted = adopt_tiles(config.output, grid)  # refuses what is no store, whatever the tiles
    grid = adopted if config.grid.tile_px == "auto" else grid
    plan = plan_pair(
        dates[0] if len(dates) > 1 else (), dates[-1], grid, config.composite, config.mask,
        config.pair_quality, config.radiometry, config.chips.resampling,
    )  # fmt: skip
    dates = (plan.before, plan.after) if len(dates) > 1 else (plan.after,)
    intervals = [_interval(scenes) for scenes in dates]
    labels = open_labels(config.labels, config.search, aoi, intervals, grid)
    places = plan_splits(config.split, grid)
    header = plan_header(
        grid, config.chips, config.split.buffer_px, places, labels, dates, plan.recipe
    )
    quality = plan.quality.as_dict() if plan.quality else None
    ingest = Ingest(
        0, 0, grid, config.chips, dates, labels, header.identities, plan.recipe, quality,
        header.labels_key,
    )  # fmt: skip
    return _Plan(ingest, places, header, plan.warnings)


def _search(config: IngestRegionConfig, aoi: AreaOfInterest) -> Sequence[Sequence[Scene]]:
    """Scenes of each date, the latest first: it is the one preferred for a pixel."""
    from noise2map_core.catalog.pairing import search_pair
    from noise2map_core.catalog.search import search_scenes

    search = config.search
    if config.before is None:
        return [search_scenes(search, aoi, config.after, search.bands)[::-1]]
    return search_pair(search, aoi, config.before, config.after, search.bands)


def _interval(scenes: Sequence[Scene]) -> str:
    """From the first to the last scene."""
    from noise2map_core.catalog.interval import Interval

    times = sorted(scene.datetime for scene in scenes)
    return str(Interval(times[0], times[-1]))


def _write(
    config: IngestRegionConfig,
    output: Path,
    plan: _Plan,
    table: ChipTable,
    store: ChipStore | None,
    watch: Stopwatch,
) -> int:
    """Write the shards that are missing; returns how many."""
    from noise2map_core.chips.append import begin, finish
    from noise2map_core.chips.writer import missing_shards

    job = begin(output, store, plan.header, plan.ingest, table)
    if job is None:
        return 0
    todo = missing_shards(job.store, job.num_shards, job.first_shard)
    with watch.stage("write"):
        if todo:
            _write_shards(job, todo, config.resources)
        finish(output, job)
    return len(todo)


def _write_shards(job: ChipJob, todo: list[int], resources: ClusterConfig) -> None:
    from noise2map_core.distributed.cluster.needs import reader_needs
    from noise2map_core.distributed.cluster.session import ray_session
    from noise2map_core.distributed.shards import write_shards
    from noise2map_core.runtime.progress import progress

    failed = []
    needs = reader_needs(resources)
    with ray_session(resources, needs), progress(len(todo), "write chips", "shards") as bar:
        for outcome in write_shards(job, todo, resources):
            bar.update()
            if outcome.reason:
                failed.append(outcome)
    if failed:
        raise IncompleteRegionError(
            f"{len(failed)} of {len(todo)} shards of {job.kept or job.store} could not be read, "
            f"the first because: {failed[0].reason} What is done is kept; a rerun tries the rest."
        )


def _result(
    output: Path, written: int, watch: Stopwatch, warnings: tuple[str, ...]
) -> IngestRegionResult:
    from noise2map_core.chips.store import open_store

    store = open_store(output)
    size = sum(length for length, _ in store.objects.values())
    return IngestRegionResult(
        output, store.num_shards, written, store.attributes["counts"], size, watch.seconds, warnings
    )
