"""How chips come to a rank of a training; streamed ones: `streams`."""

from abc import ABC, abstractmethod
from dataclasses import replace

from noise2map_core.chips.order import ChipOrder, EpochPart
from noise2map_core.evaluation.batches import ChipBatch, ChipReader, balanced_chips
from noise2map_core.learning.steps import Ranks
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.training.training_data import TaskChips


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
            chosen.train, reader.shard_bytes, training.batch, seed, training.order
        )
        reader.cache_bytes = self._order.cache_bytes(reader.shard_bytes, ranks.world_size)
        every, batches = training.use_every, -(-len(chosen.train) // training.batch)
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
        return replace(batch, showing=self._part.showing[row] + again * self._training.batch)
