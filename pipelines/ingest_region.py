"""Make a chip store of one area: scenes of one date or two, with labels where there are any."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("ingest-region")  # settings first: what is imported below takes seconds

from pathlib import Path

from noise2map_core.chips.append import begin, complete_append, finish, look_at, staged_folder
from noise2map_core.chips.ingest import IngestPlan, IngestRegionResult, plan_ingest
from noise2map_core.chips.manifest import is_pending
from noise2map_core.chips.pixels import ChipJob
from noise2map_core.chips.writer import clear_progress, missing_shards
from noise2map_core.distributed.cluster.needs import reader_needs, require_here
from noise2map_core.distributed.shards import write_shards
from noise2map_core.runtime.stopwatch import Stopwatch
from noise2map_core.runtime.storage import absolute
from noise2map_core.runtime.store_lease import hold_store
from noise2map_core.workflows.ingest_region import IngestRegionConfig


def run(config: IngestRegionConfig) -> IngestRegionResult:
    """Search the scenes, choose grid and chips, and write the shards that the store lacks.

    What is refused is refused before anything is written; what is decided by the store is decided
    while no other run may write it.
    """
    watch, output = Stopwatch(), absolute(config.output)
    require_here(reader_needs(config.resources), config.resources)
    with watch.stage("search"):
        plan = plan_ingest(config)
    with hold_store(output):
        if not plan.fits(config):
            with watch.stage("search"):
                plan = plan_ingest(config)
        written, strange = _bring_in(config, output, plan, watch)
        warnings = (*plan.warnings, *strange)
        return IngestRegionResult.of(config.output, written, watch.seconds, warnings, plan.chosen)


def _bring_in(
    config: IngestRegionConfig, output: Path, plan: IngestPlan, watch: Stopwatch
) -> tuple[int, list[str]]:
    """Write what the store lacks; returns how many shards, and what does not look right of the
    labels. The caller holds its lease."""
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
    job = begin(output, standing.store, plan.header, plan.ingest, table)
    written = 0 if job is None else _write(config, output, job, watch)
    clear_progress(output)
    return written, strange


def _write(config: IngestRegionConfig, output: Path, job: ChipJob, watch: Stopwatch) -> int:
    """Write the shards that are missing; returns how many."""
    todo = missing_shards(job.store, job.num_shards, job.first_shard)
    with watch.stage("write"):
        if todo:
            write_shards(job, todo, config.resources)
        finish(output, job)
    return len(todo)
