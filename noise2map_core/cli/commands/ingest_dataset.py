"""Make a chip store of a published data set: SpaceNet 7, WHU, xView2, or plain folders."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from noise2map_core.chips.store import open_store
from noise2map_core.chips.summary import split_line
from noise2map_core.chips.writer import (
    clear_progress,
    create_store,
    finish_store,
    is_finished,
    missing_shards,
)
from noise2map_core.datasets.benchmark import open_benchmark
from noise2map_core.datasets.chips import DatasetJob, make_shard, plan_job
from noise2map_core.report.notebook import Shown
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.storage import sweep
from noise2map_core.runtime.store_lease import hold_store
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig


@dataclass(frozen=True)
class IngestDatasetResult(Shown):
    """What a run did, and what the store holds."""

    output: Path
    shards: int
    """Shards of the store."""
    written: int
    """Shards that this run wrote."""
    attributes: dict[str, Any]
    """Of the store."""

    def files(self) -> Mapping[str, Path]:
        """What was written."""
        return {"chips": self.output}

    def summary(self) -> list[str]:
        """Lines for people."""
        dataset = self.attributes["dataset"]
        left_out = "".join(
            f"; {count:,} samples left out ({why})"
            for why, count in dataset["dropped"].items()
            if count
        )
        release = f" ({dataset['release']})" if dataset.get("release") else ""
        lines = [
            f"{dataset['kind']}{release}, {dataset['task']}, protocol {dataset['protocol']}: "
            f"checkpoint chosen on {dataset['selected_on']}, "
            f"scores on {dataset['evaluated_on']}{left_out}",
            *dataset.get("notes", []),
            *(split_line(split, part) for split, part in self.attributes["counts"].items()),
        ]
        if not self.written:
            return [*lines, f"nothing new: {self.output} is complete and current"]
        kept = self.shards - self.written
        done = f"{self.written} of {self.shards} shards written, {kept} kept from earlier runs"
        return [*lines, done, f"chips     {self.output}"]


def run(config: IngestDatasetConfig) -> IngestDatasetResult:
    """List the samples, cut them into chips, and write the shards that the store lacks."""
    benchmark = open_benchmark(config.dataset, config.protocol)
    job = plan_job(benchmark, config.chip_px, config.output)
    is_finished(config.output, job.header.key)  # another store is refused before all else
    with hold_store(config.output):
        finished = is_finished(config.output, job.header.key)
        written = 0 if finished else _write(job)
        clear_progress(config.output)
    store = open_store(config.output)
    return IngestDatasetResult(config.output, store.num_shards, written, store.attributes)


def _write(job: DatasetJob) -> int:
    """Write the shards that are missing; returns how many."""
    if not job.store.exists():
        create_store(job.store, job.header, job.table)
    sweep(job.store)
    todo = missing_shards(job.store, job.num_shards)
    _write_shards(job, todo)
    finish_store(job.store)
    return len(todo)


def _write_shards(job: DatasetJob, todo: list[int]) -> None:
    """Threads, for decoding and compressing leave Python's lock to others."""

    with ThreadPoolExecutor() as pool, progress(len(todo), "write chips", "shards") as bar:
        for _ in pool.map(partial(make_shard, job), todo):
            bar.update()
