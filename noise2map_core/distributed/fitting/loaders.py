"""How chips come to a rank of a training: read by itself, or streamed by Ray Data."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, count
from typing import Any
from uuid import uuid4

import numpy as np
import ray
from numpy.typing import NDArray
from ray.data import DataIterator, Dataset

from noise2map_core.chips.order import ChipOrder, EpochPart, Int64
from noise2map_core.chips.store import CHIPS_PER_SHARD, LABEL_ARRAYS, ChipStore
from noise2map_core.distributed.board import Turn
from noise2map_core.distributed.chips import ChipSource
from noise2map_core.evaluation.batches import ChipBatch, ChipReader, balanced_chips
from noise2map_core.learning.steps import Ranks
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.settings.network import Task
from noise2map_core.training.training_data import TaskChips

TURN = "noise2map.turn"
"""Where a stream's context names the actor that counts its passes."""

BUFFER_SHARDS = 4
"""Shards that a reading task mixes, and a rank mixes as many chips again."""


class ChipLoader(ABC):
    """The chips of one task, a batch for every step of an epoch; read ahead, in a thread."""

    num_steps: int
    """Steps after which all chips were seen."""

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Make ready for the steps of an epoch."""

    @abstractmethod
    def read(self, step: int) -> ChipBatch:
        """This rank's part of the batch, with the numbers of its chips and how often each was shown
        before in this epoch. Steps come in order; those beyond `num_steps` begin again."""


class ShardedLoader(ChipLoader):
    """Reads the shards of its lanes by itself, and keeps the last ones.

    The batch of a step follows from seed, epoch and step alone: any number of workers sees the same
    chips in the same order, and so does a run that goes on in the middle of an epoch.
    """

    def __init__(
        self, reader: ChipReader, chosen: TaskChips, training: TrainingConfig, seed: int,
        ranks: Ranks,
    ) -> None:  # fmt: skip
        self._reader, self._chosen = reader, chosen
        self._training, self._seed, self._ranks = training, seed, ranks
        self._order = ChipOrder.of(
            chosen.train, reader.shard_bytes, training.batch_size, seed, training.order
        )
        reader.cache_bytes = self._order.cache_bytes(reader.shard_bytes, ranks.world_size)
        every, batches = training.use_every, -(-len(chosen.train) // training.batch_size)
        self.num_steps = max(1, batches // every)

    def begin_epoch(self, epoch: int) -> None:
        """See `ChipLoader`."""
        chips, share, every = self._chosen.train, self._training.balance, self._training.use_every
        if share:
            chips = balanced_chips(chips, self._chosen.rare, share, self._seed, epoch)
        batches = self._order.batches(chips, epoch)
        seen = batches[every - 1 :: every] if len(batches) >= every else batches[-1:]
        self._part = EpochPart.of(seen, self._ranks.rank, self._ranks.world_size)

    def read(self, step: int) -> ChipBatch:
        """See `ChipLoader`."""
        again, row = divmod(step, self.num_steps)
        batch = self._reader.read(self._part.chips[row])
        self._reader.release(self._part.leaving[row])
        return replace(batch, showing=self._part.showing[row] + again * self._training.batch_size)


class StreamLoader(ChipLoader):
    """Takes chips as Ray Data's tasks have read them, on any node, mixed within a buffer.

    A chip comes at most once an epoch; those that fill no batch are left out. The order of shards,
    and of chips within a task, follows from seed and epoch, also in a run that goes on. In which
    order the tasks end is promised to nobody: it differs from run to run and with the number of
    workers, and a run that goes on in the middle of an epoch takes the steps that are left with
    chips of a new pass.
    """

    def __init__(
        self,
        stream: DataIterator,
        store: ChipStore,
        task: Task,
        num_chips: int,
        training: TrainingConfig,
        seed: int,
        ranks: Ranks,
    ) -> None:
        """`stream` is this rank's part of what `stream_chips` gives, which has `num_chips`."""
        self._stream, self._store, self._task, self._seed = stream, store, task, seed
        self._turn = _turn_of(stream) if ranks.rank == 0 else None
        self._size = training.batch_size // ranks.world_size
        self.num_steps = num_chips // training.batch_size

    def begin_epoch(self, epoch: int) -> None:
        """See `ChipLoader`."""
        # Ray's types know other formats of batches, too; these are dicts of arrays.
        self._batches: Iterator[Any] = chain.from_iterable(
            self._pass(epoch, number) for number in count()
        )

    def _pass(self, epoch: int, number: int) -> Iterable[Any]:
        """The batches of one pass. It begins when all ranks ask for it, and so after rank 0."""
        if self._turn is not None:
            ray.get(self._turn.begin.remote(epoch, number))
        return self._stream.iter_batches(
            batch_size=self._size,
            drop_last=True,
            local_shuffle_buffer_size=max(BUFFER_SHARDS * CHIPS_PER_SHARD, self._size),
            local_shuffle_seed=digest_seed(self._seed, epoch, number),
        )

    def read(self, step: int) -> ChipBatch:
        """See `ChipLoader`."""
        rows = {name: _writable(values) for name, values in next(self._batches).items()}
        labels = {self._task: rows[LABEL_ARRAYS[self._task]]}
        chips, store = rows["chip"], self._store
        return ChipBatch(
            rows["image"], rows["valid"], labels, chips, store.lights(chips),
            store.alterations(chips),
        )  # fmt: skip


def stream_chips(store: ChipStore, task: Task, chips: Int64, seed: int, cpus: float) -> Dataset:
    """These chips for `StreamLoader`, with a task's labels; `cpus` of each reading task."""
    columns = ("image", "valid", LABEL_ARRAYS[task])
    name = f"turn-{uuid4().hex}"
    turn: Any = ray.remote(num_cpus=0)(Turn).options(name=name).remote()
    source = ChipSource(store, chips, columns, seed, BUFFER_SHARDS, turn)
    dataset = ray.data.read_datasource(source, num_cpus=cpus)
    dataset.context.set_config(TURN, name)
    return dataset


def _turn_of(stream: DataIterator) -> Any:
    """The actor that says which pass over the stream is next."""
    return ray.get_actor(stream.get_context().get_config(TURN))


def digest_seed(*numbers: int) -> int:
    """One seed of several numbers, unlike that of any others."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _writable(values: NDArray[Any]) -> NDArray[Any]:
    """torch takes no array of Ray's shared memory."""
    return np.require(values, requirements="W")
