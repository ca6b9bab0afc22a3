"""Chips through Ray Data: made shard by shard into a store, and read from one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray.data import DataContext, Dataset
from ray.data.block import Block
from ray.data.datasource import Datasource, ReadTask

from noise2map_core.distributed.config import ResourcesConfig
from noise2map_core.distributed.work import MAX_READ_TASKS, WorkSource, metadata
from noise2map_core.errors import AssetReadError, OutputError
from noise2map_core.imagery.chip_source import ChipJob, make_shard
from noise2map_core.imagery.chip_store import CHIPS_PER_SHARD, ChipStore, open_store


@dataclass(frozen=True, slots=True)
class ShardOutcome:
    """What became of one shard."""

    shard: int
    chips: int
    reason: str
    """Why it could not be read; empty: it is written."""


def write_chips(
    job: ChipJob, shards: Sequence[int], resources: ResourcesConfig
) -> Iterator[ShardOutcome]:
    """Make `shards` of a store on the connected cluster; yields what became of each, in any order.

    Pixels and records are written by the workers, pixels first. Raises OutputError if the store
    cannot be written.
    """
    shared = ray.put(job)
    dataset = ray.data.read_datasource(
        WorkSource("Shards", ("shard",), np.asarray(shards, np.int64)[:, None]),
        num_cpus=resources.reader_cpus,
    ).map_batches(_make, batch_size=1, fn_kwargs={"shared": shared}, num_cpus=resources.reader_cpus)
    for row in dataset.iter_rows():
        if row.pop("unwritten"):
            raise OutputError(f"{job.store}: {row['reason']}. Free space, then run again.")
        yield ShardOutcome(**row)


def _make(batch: dict[str, NDArray[Any]], shared: ray.ObjectRef[ChipJob]) -> dict[str, list[Any]]:
    """One shard; what cannot be read or written becomes a row with its reason."""
    job: ChipJob = ray.get(shared)
    shard = int(batch["shard"][0])
    chips, reason, unwritten = 0, "", False
    try:
        chips = len(make_shard(job, shard).quality_valid)
    except AssetReadError as error:
        reason = str(error)
    except OSError as error:
        reason, unwritten = str(error), True
    return {"shard": [shard], "chips": [chips], "reason": [reason], "unwritten": [unwritten]}


class ChipSource(Datasource):
    """The chips of a store's split, one block a shard."""

    def __init__(self, store: ChipStore, split: str | None, columns: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store, self._columns = store, tuple(columns)
        self._chips = store.chips_of(split)

    def get_name(self) -> str:
        """Name in Ray's own logs."""
        return "Chips"

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of the chips."""
        return len(self._chips) * self._chip_bytes

    @property
    def _chip_bytes(self) -> int:
        arrays = [self._store.array(name) for name in self._columns]
        return sum(array.nbytes // max(array.shape[0], 1) for array in arrays)

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """Ranges of shards, each shard a block of its own."""
        shards = np.unique(self._chips // CHIPS_PER_SHARD)
        parts = np.array_split(shards, min(len(shards), MAX_READ_TASKS))
        return [self._task(part) for part in parts]

    def _task(self, shards: NDArray[np.int64]) -> ReadTask:
        store, columns = self._store, self._columns
        chips = self._chips[np.isin(self._chips // CHIPS_PER_SHARD, shards)]
        size = len(chips) * self._chip_bytes
        return ReadTask(
            lambda: _read_blocks(store, chips, columns),
            metadata(len(chips), size),
        )


def read_chips(
    store: Path | str, split: str | None = None, columns: Sequence[str] | None = None
) -> Dataset:
    """A Ray dataset of the chips of a split: `chip`, its number, and `columns`.

    Default columns: image, valid and the labels that there are. Raw numbers in the source dtype;
    order is not defined. Raises ChipStoreError.
    """
    opened = open_store(store)
    return ray.data.read_datasource(ChipSource(opened, split, columns or opened.pixel_arrays))


def _read_blocks(
    store: ChipStore, chips: NDArray[np.int64], columns: Sequence[str]
) -> Iterator[Block]:
    from ray.data.extensions import ArrowTensorArray

    for shard in np.unique(chips // CHIPS_PER_SHARD):
        inside = chips[chips // CHIPS_PER_SHARD == shard]
        rows = inside - shard * CHIPS_PER_SHARD
        read = store.read_shard(int(shard), columns)
        tensors = {name: ArrowTensorArray.from_numpy(read[name][rows]) for name in columns}
        yield pa.table({"chip": inside, **tensors})
