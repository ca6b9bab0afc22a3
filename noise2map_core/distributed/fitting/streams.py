"""Chips as Ray Data's tasks read them, on any node, for trainings and pretrainings."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any
from uuid import uuid4

import numpy as np
import ray
import torch
from ray.data import DataIterator, Dataset
from ray.data.collate_fn import DefaultCollateFn

from noise2map_core.chips.order import Int64
from noise2map_core.chips.store import CHIPS_PER_SHARD, LABEL_ARRAYS, ChipStore, Columns
from noise2map_core.distributed.board import Turn
from noise2map_core.distributed.chips import ChipSource
from noise2map_core.distributed.cluster.memory import shares_of_stream
from noise2map_core.distributed.fitting.loaders import ChipLoader
from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.learning.steps import Ranks
from noise2map_core.settings.network import Task
from noise2map_core.settings.resources import ClusterConfig

TURN = "noise2map.turn"
"""Where a stream's context names the actor that counts its passes."""

BUFFER_SHARDS = 4
"""Shards that a reading task mixes, and a rank mixes as many chips again."""

PREFETCHED = 2
"""Batches that are ready, in pinned memory where there is a GPU, before they are asked for."""


def stream_chips(
    store: ChipStore, columns: Sequence[str], chips: Int64, seed: int, resources: ClusterConfig
) -> Dataset:
    """These columns of these chips for `ChipStream`, in an order of its own in every pass."""
    name = f"turn-{uuid4().hex}"
    turn: Any = ray.remote(num_cpus=0)(Turn).options(name=name).remote()
    source = ChipSource(store, chips, columns, seed, BUFFER_SHARDS, turn)
    memory = shares_of_stream(source.chip_bytes, BUFFER_SHARDS, resources).of("reader")
    dataset = ray.data.read_datasource(source, num_cpus=resources.reader_cpus, **memory)
    dataset.context.set_config(TURN, name)
    return dataset


class ChipStream:
    """This rank's batches of a stream, mixed within a buffer, pass after pass.

    A chip comes at most once a pass; those that fill no batch are left out. The order of shards,
    and of chips within a task, follows from seed and epoch, also in a run that goes on. In which
    order the tasks end is promised to nobody: it differs from run to run and with the number of
    workers, and a run that goes on in the middle of an epoch takes the steps that are left with
    chips of a new pass.
    """

    def __init__(self, stream: DataIterator, batch_size: int, seed: int, ranks: Ranks) -> None:
        """`stream` is this rank's part of what `stream_chips` gives; `batch_size` is of all."""
        self._stream, self._seed = stream, seed
        self._turn = _turn_of(stream) if ranks.rank == 0 else None
        self._size = batch_size // ranks.world_size
        self._pinned = torch.cuda.is_available()

    def begin_epoch(self, epoch: int) -> None:
        """Make ready for the steps of an epoch."""
        self._batches: Iterator[tuple[int, Any]] = (
            (number, batch) for number in count() for batch in self._pass(epoch, number)
        )

    def read(self) -> Columns:
        """The columns of the next batch; `chip` has the numbers of its chips, `showing` how many
        passes of the epoch there were before."""
        number, batch = next(self._batches)
        # Views: Ray's threads have put the batch together, and pinned it.
        rows = {name: values.numpy() for name, values in batch.items()}
        return {**rows, "showing": np.full_like(rows["chip"], number)}

    def _pass(self, epoch: int, number: int) -> Iterable[Any]:
        """The batches of one pass. It begins when all ranks ask for it, and so after rank 0."""
        if self._turn is not None:
            ray.get(self._turn.begin.remote(epoch, number))
        return self._stream.iter_torch_batches(
            batch_size=self._size,
            drop_last=True,
            local_shuffle_buffer_size=max(BUFFER_SHARDS * CHIPS_PER_SHARD, self._size),
            local_shuffle_seed=digest_seed(self._seed, epoch, number),
            prefetch_batches=PREFETCHED,
            # Ray's own, but for its threads: they turn off this process's warnings for good.
            collate_fn=DefaultCollateFn(combine_chunks=True, num_workers=0),
            pin_memory=self._pinned,
            device="cpu",  # the step copies what it needs, and not the chips' numbers
        )


class StreamLoader(ChipLoader):
    """The labelled chips of a stream; see `ChipStream`."""

    def __init__(
        self, stream: ChipStream, store: ChipStore, task: Task, num_chips: int, batch_size: int
    ) -> None:
        """`num_chips` and `batch_size` are of all ranks together."""
        self._stream, self._store, self._task = stream, store, task
        self.num_steps = num_chips // batch_size

    def begin_epoch(self, epoch: int) -> None:
        """See `ChipLoader`."""
        self._stream.begin_epoch(epoch)

    def read(self, step: int) -> ChipBatch:
        """See `ChipLoader`."""
        rows, store = self._stream.read(), self._store
        labels, chips = {self._task: rows[LABEL_ARRAYS[self._task]]}, rows["chip"]
        return ChipBatch(
            rows["image"], rows["valid"], labels, chips, store.lights(chips),
            store.alterations(chips), rows["showing"],
        )  # fmt: skip


def _turn_of(stream: DataIterator) -> Any:
    """The actor that says which pass over the stream is next."""
    return ray.get_actor(stream.get_context().get_config(TURN))


def digest_seed(*numbers: int) -> int:
    """One seed of several numbers, unlike that of any others."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
