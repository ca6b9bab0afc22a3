"""How chips come to a rank of a training; streamed ones: `streams`."""

from abc import ABC, abstractmethod

from noise2map_core.chips.store import CHIPS_PER_SHARD
from noise2map_core.evaluation.batches import (
    ChipBatch,
    ChipReader,
    Int64,
    balanced_chips,
    epoch_batches,
)
from noise2map_core.learning.steps import Ranks
from noise2map_core.settings.learning import TrainingConfig


class ChipLoader(ABC):
    """The chips of one task, a batch for every step of an epoch."""

    num_steps: int
    """Steps after which all chips were seen."""

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Make ready for the steps of an epoch."""

    @abstractmethod
    def read(self, step: int) -> ChipBatch:
        """This rank's part of the batch; steps beyond `num_steps` begin again."""

    @abstractmethod
    def chips_of(self, step: int) -> Int64:
        """Numbers of the chips of a step that was read, for people."""


class ShardedLoader(ChipLoader):
    """Reads shards by itself, and keeps the last ones.

    The batch of a step follows from seed, epoch and step alone: any number of workers sees the same
    chips in the same order, and so does a run that goes on in the middle of an epoch.
    """

    def __init__(
        self,
        reader: ChipReader,
        chips: Int64,
        rare: Int64,
        training: TrainingConfig,
        seed: int,
        ranks: Ranks,
    ) -> None:
        """`rare` are the chips that `training.balance` shows more often."""
        self._reader, self._chips, self._rare = reader, chips, rare
        self._training, self._seed, self._ranks = training, seed, ranks
        self._shards_held = reader.shards_held(int(chips[0]) // CHIPS_PER_SHARD)
        self.num_steps = len(self._epoch(0))

    def begin_epoch(self, epoch: int) -> None:
        """See `ChipLoader`."""
        self._batches = self._epoch(epoch)

    def read(self, step: int) -> ChipBatch:
        """See `ChipLoader`."""
        return self._reader.read(self.chips_of(step)[self._ranks.rank :: self._ranks.world_size])

    def chips_of(self, step: int) -> Int64:
        """Of all ranks."""
        return self._batches[step % len(self._batches)]

    def _epoch(self, epoch: int) -> list[Int64]:
        chips, share, every = self._chips, self._training.balance, self._training.use_every
        if share:
            chips = balanced_chips(chips, self._rare, share, self._seed, epoch)
        size = self._training.batch_size
        batches = epoch_batches(chips, size, self._shards_held, self._seed, epoch)
        return batches[every - 1 :: every] or batches[-1:]
