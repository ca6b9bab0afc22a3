"""In which order training sees chips, and which of them each worker reads.

An epoch runs along *lanes*: shards are shuffled and dealt to lanes anew, and every batch takes
equally many chips from each lane. A worker owns lanes, so that no other reads its shards; and since
lanes follow from the chips alone, any number of workers sees the same batches.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.store import CHIPS_PER_SHARD
from noise2map_core.settings.learning import Order

Int64 = NDArray[np.int64]

CACHE_BYTES = 2**30
"""Decoded shards that one process keeps, so that a store of that size is read once."""

LANE_BYTES = 2**32
"""Most bytes of decoded shards, one of each lane: what a worker holds that has no other beside it.
With larger shards there are fewer lanes than workers may be, and some read the same shards."""

MAX_LANES = 64
"""As many workers read disjoint shards."""

CHIPS_OF_LANE = 4 * CHIPS_PER_SHARD
"""Least number of chips in a lane: lanes are equally long, so that of a longer one chips are left
out, and of a shorter one some come twice. Of shorter lanes, that would be many."""


@dataclass(frozen=True)
class ChipOrder:
    """The order of epochs, a function of its fields alone."""

    batch_size: int
    seed: int
    lanes: int
    """They divide `batch_size`."""
    held: int
    """Shards of a lane whose chips are shuffled together."""

    @classmethod
    def of(
        cls, chips: Int64, shard_bytes: int, batch_size: int, seed: int, order: Order
    ) -> "ChipOrder":
        """For chips of shards that take so many bytes when they are decoded."""
        lanes = 1
        if order == "sharded":
            most = min(MAX_LANES, len(chips) // CHIPS_OF_LANE, LANE_BYTES // max(1, shard_bytes))
            lanes = max(n for n in range(1, max(1, most) + 1) if batch_size % n == 0)
        return cls(batch_size, seed, lanes, max(1, CACHE_BYTES // max(1, shard_bytes) // lanes))

    def cache_bytes(self, shard_bytes: int, world_size: int) -> int:
        """What one of several workers has to keep, so that it reads no shard twice an epoch."""
        lanes = min(self.lanes, self.lanes // world_size + 2)
        return max(CACHE_BYTES, lanes * shard_bytes)

    def batches(self, chips: Int64, epoch: int) -> Int64:
        """The global batches of one epoch, [step, lane by lane]: numbers of chips.

        `chips` are in order; what is there twice is shown twice. Of one lane every chip is shown,
        and the last batch is filled up with chips of the epoch's start.
        """
        random = np.random.default_rng((self.seed, epoch))
        starts = np.unique(chips // CHIPS_PER_SHARD, return_index=True)[1]
        shards = [part for one in np.split(chips, starts[1:]) for part in _parts(one, random)]
        num_batches, each = -(-len(chips) // self.batch_size), self.batch_size // self.lanes
        rows = [
            np.resize(self._shuffled(lane, random), (num_batches, each))
            for lane in _dealt(shards, self.lanes, random)
        ]
        return np.concatenate(rows, axis=1)

    def _shuffled(self, shards: list[Int64], random: np.random.Generator) -> Int64:
        """Freely within so many shards as are held."""
        groups = (shards[at : at + self.held] for at in range(0, len(shards), self.held))
        return np.concatenate([random.permutation(np.concatenate(group)) for group in groups])


@dataclass(frozen=True)
class EpochPart:
    """What one worker sees of an epoch."""

    chips: Int64
    """[step, chip] numbers."""
    showing: Int64
    """[step, chip] how often each was shown before in the epoch, to whichever worker."""
    leaving: tuple[list[int], ...]
    """Of every step, the shards that are not needed behind it."""

    @classmethod
    def of(cls, batches: Int64, rank: int, world_size: int) -> "EpochPart":
        """The part of one of several workers of `batches` [step, chip]: lanes, as far as they go
        round."""
        size = batches.shape[1] // world_size
        mine = slice(rank * size, (rank + 1) * size)
        chips = batches[:, mine]
        return cls(chips, _showings(batches)[:, mine], _leaving(chips // CHIPS_PER_SHARD))


def _parts(shard: Int64, random: np.random.Generator) -> list[Int64]:
    """The chips of a shard; those of which some come again and again are too many for one lane."""
    if len(shard) <= CHIPS_PER_SHARD:
        return [shard]
    return np.array_split(random.permutation(shard), -(-len(shard) // CHIPS_PER_SHARD))


def _dealt(shards: list[Int64], lanes: int, random: np.random.Generator) -> list[list[Int64]]:
    """The shards in random order, as equally many chips to each lane as whole shards allow."""
    order = random.permutation(len(shards))
    largest = sorted(order.tolist(), key=lambda one: -len(shards[one]))
    dealt: list[list[int]] = [[] for _ in range(lanes)]
    lengths = [(0, lane) for lane in range(lanes)]
    for one in largest:
        length, lane = heapq.heappop(lengths)
        dealt[lane].append(one)
        heapq.heappush(lengths, (length + len(shards[one]), lane))
    return [[shards[one] for one in random.permutation(lane)] for lane in dealt]


def _showings(batches: Int64) -> Int64:
    """How often each entry occurs before itself; shape of `batches`."""
    flat = batches.ravel()
    order = np.argsort(flat, kind="stable")
    _, starts, counts = np.unique(flat[order], return_index=True, return_counts=True)
    found = np.empty_like(flat)
    found[order] = np.arange(len(flat)) - np.repeat(starts, counts)
    return found.reshape(batches.shape)


def _leaving(shards: Int64) -> tuple[list[int], ...]:
    """Of `shards` [step, chip], those that occur for the last time, step by step."""
    backwards, size = shards.ravel()[::-1], shards.shape[1]
    leaving: tuple[list[int], ...] = tuple([] for _ in shards)
    for shard, place in zip(*np.unique(backwards, return_index=True), strict=True):
        leaving[(len(backwards) - 1 - int(place)) // size].append(int(shard))
    return leaving
