"""Making a chip store on a cluster: one task a shard."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import ray

from noise2map_core.chips.pixels import ChipJob, make_shard
from noise2map_core.distributed.cluster.memory import shares_of_shards
from noise2map_core.distributed.cluster.needs import reader_needs
from noise2map_core.distributed.cluster.notices import new_board, noticed, shown
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.work import WorkSource, unread_because
from noise2map_core.runtime.errors import (
    AssetReadError,
    IncompleteRegionError,
    OutputError,
    explained,
)
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.redact import redacted
from noise2map_core.settings.resources import ClusterConfig


@dataclass(frozen=True, slots=True)
class ShardOutcome:
    """What became of one shard."""

    shard: int
    chips: int
    reason: str
    """Why it could not be read; empty: it is written."""


def write_shards(job: ChipJob, shards: Sequence[int], resources: ClusterConfig) -> None:
    """Make `shards` of a store on a cluster for which Ray is started, or which is connected to.

    Raises IncompleteRegionError if some cannot be read, once the others are written; OutputError if
    the store cannot be written.
    """
    needs, failed = reader_needs(resources), []
    with (
        ray_session(resources, needs),
        closing(make_shards(job, shards, resources)) as made,
        progress(len(shards), "write chips", "shards") as bar,
    ):
        for outcome in made:
            bar.update()
            if outcome.reason:
                failed.append(outcome)
    if failed:
        raise IncompleteRegionError(
            f"{len(failed)} of {len(shards)} shards of {job.kept or job.store} could not be read, "
            f"the first because: {failed[0].reason} What is done is kept; a rerun tries the rest."
        )


def make_shards(
    job: ChipJob, shards: Sequence[int], resources: ClusterConfig
) -> Generator[ShardOutcome]:
    """Make `shards` of a store on the connected cluster; yields what became of each, in any order.

    Pixels and records are written by the workers, pixels first. Raises OutputError if the store
    cannot be written.
    """
    items, cpus, board = np.asarray(shards, np.int64)[:, None], resources.reader_cpus, new_board()
    memory = shares_of_shards(job, resources).of("reader")
    source = WorkSource("Shards", items, partial(_make, job, board), num_cpus=cpus)
    dataset = ray.data.read_datasource(source, num_cpus=cpus, **memory)
    with shown(board):
        for row in dataset.iter_rows():
            if row.pop("unwritten"):
                raise OutputError(f"{job.store}: {row['reason']} Then run again.")
            yield ShardOutcome(**row)


def _make(job: ChipJob, board: str, shard: int) -> dict[str, list[Any]]:
    """One shard; what cannot be read or written becomes a row with its reason."""
    chips, reason, unwritten = 0, "", False
    try:
        with noticed(board):
            chips = len(make_shard(job, shard).quality_valid)
    except (AssetReadError, MemoryError) as error:
        reason = unread_because(error)
    except OSError as error:
        reason, unwritten = redacted(explained(error)), True
    return {"shard": [shard], "chips": [chips], "reason": [reason], "unwritten": [unwritten]}
