"""In which order training sees chips: the same for any number of workers, each with its shards."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.chips.order import CACHE_BYTES, LANE_BYTES, ChipOrder, EpochPart, Int64
from noise2map_core.chips.store import CHIPS_PER_SHARD
from noise2map_core.evaluation.batches import balanced_chips


def part_of_chips(num_chips: int, of: int = 500) -> Int64:
    return np.sort(np.random.default_rng(0).permutation(of)[:num_chips])


@given(
    num_chips=st.integers(1, 200),
    batch_size=st.integers(1, 40),
    held=st.integers(1, 8),
    epoch=st.integers(0, 5),
)
def test_an_epoch_of_one_lane_shows_every_chip_in_full_batches(
    num_chips: int, batch_size: int, held: int, epoch: int
) -> None:
    chips, order = part_of_chips(num_chips), ChipOrder(batch_size, 7, lanes=1, held=held)
    batches = order.batches(chips, epoch)
    assert batches.shape == (-(-num_chips // batch_size), batch_size)
    assert sorted(batches.ravel()[:num_chips].tolist()) == chips.tolist()
    assert batches.tolist() == order.batches(chips, epoch).tolist()


@given(num_chips=st.integers(64, 500), lanes=st.sampled_from([2, 3, 4]), epoch=st.integers(0, 5))
def test_along_lanes_shards_are_apart_and_a_batch_takes_equally_many_chips_of_each(
    num_chips: int, lanes: int, epoch: int
) -> None:
    chips, each = part_of_chips(num_chips), 2
    batches = ChipOrder(lanes * each, 7, lanes, held=2).batches(chips, epoch)
    assert batches.shape == (-(-num_chips // (lanes * each)), lanes * each)
    own = [
        set((batches[:, lane * each : (lane + 1) * each] // CHIPS_PER_SHARD).ravel().tolist())
        for lane in range(lanes)
    ]
    assert sum(map(len, own)) == len(set.union(*own))
    assert np.isin(batches, chips).all()


@pytest.mark.parametrize("num_shards", [300, 313, 1000])
def test_few_chips_are_left_out_of_an_epoch_and_none_of_all_epochs(num_shards: int) -> None:
    chips = np.arange(CHIPS_PER_SHARD * num_shards - 5)
    order = ChipOrder.of(chips, 2**20, 64, 0, "sharded")
    assert order.lanes == 64
    missed = [np.setdiff1d(chips, order.batches(chips, epoch)) for epoch in range(3)]
    assert all(len(one) < 0.06 * len(chips) for one in missed)
    assert not len(np.intersect1d(np.intersect1d(*missed[:2]), missed[2])) > 0.001 * len(chips)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_lanes_keep_the_share_of_chips_that_come_again_and_again(share: float) -> None:
    """All of them lie in two shards of 64."""
    chips, rare = np.arange(64 * CHIPS_PER_SHARD), np.arange(10, 50)
    order = ChipOrder.of(chips, 2**20, 16, 0, "sharded")
    assert order.lanes == 16
    batches = order.batches(balanced_chips(chips, rare, share, 0, 0), 0)
    assert np.isin(batches, rare).mean() == pytest.approx(share, abs=0.05)


def test_epochs_and_seeds_shuffle_and_deal_differently() -> None:
    chips = np.arange(64 * CHIPS_PER_SHARD)
    orders, lanes = set(), set()
    for seed in range(3):
        for epoch in range(3):
            batches = ChipOrder(8, seed, lanes=4, held=2).batches(chips, epoch)
            orders.add(tuple(batches.ravel().tolist()))
            lanes.add(tuple(np.unique(batches[:, :2] // CHIPS_PER_SHARD).tolist()))
    assert len(orders) == len(lanes) == 9


def test_no_more_shards_than_are_held_are_needed_at_a_time() -> None:
    chips = np.arange(20 * CHIPS_PER_SHARD)
    shown = ChipOrder(20, 0, lanes=2, held=2).batches(chips, 0)
    for lane in (shown[:, :10], shown[:, 10:]):
        for group in lane.reshape(-1, 2 * CHIPS_PER_SHARD):
            assert len(np.unique(group // CHIPS_PER_SHARD)) == 2


@pytest.mark.parametrize("world_size", [1, 2, 3, 6, 12])
def test_parts_of_workers_make_up_the_batches(world_size: int) -> None:
    batches = ChipOrder(12, 3, lanes=4, held=2).batches(part_of_chips(400), 1)
    parts = [EpochPart.of(batches, rank, world_size) for rank in range(world_size)]
    assert np.concatenate([part.chips for part in parts], axis=1).tolist() == batches.tolist()
    shown: dict[int, int] = {}
    showings = np.concatenate([part.showing for part in parts], axis=1)
    for chip, showing in zip(batches.ravel().tolist(), showings.ravel().tolist(), strict=True):
        assert showing == shown.get(chip, 0)
        shown[chip] = showing + 1


def test_a_shard_leaves_behind_the_step_that_needs_it_last() -> None:
    batches = ChipOrder(8, 3, lanes=2, held=1).batches(part_of_chips(400), 1)
    part = EpochPart.of(batches, 0, 2)
    needed = [set((row // CHIPS_PER_SHARD).tolist()) for row in part.chips]
    for step, leaving in enumerate(part.leaving):
        later = set().union(*needed[step + 1 :])
        assert set(leaving) == needed[step] - later
    assert sorted(s for one in part.leaving for s in one) == sorted(set().union(*needed))


def test_lanes_are_as_many_as_shards_batches_and_memory_allow() -> None:
    def lanes(num_shards: int, batch_size: int, shard_bytes: int = 2**20) -> int:
        chips = np.arange(num_shards * CHIPS_PER_SHARD)
        return ChipOrder.of(chips, shard_bytes, batch_size, 0, "sharded").lanes

    assert [lanes(shards, 16) for shards in (1, 7, 8, 16, 63, 64, 1000)] == [1, 1, 2, 4, 8, 16, 16]
    assert [lanes(1000, size) for size in (1, 6, 7, 48, 96, 256)] == [1, 6, 7, 48, 48, 64]
    assert lanes(1000, 64, LANE_BYTES // 20) == 16
    exact = ChipOrder.of(np.arange(10_000), 2**20, 64, 0, "exact")
    assert exact.lanes == 1 and exact.held == CACHE_BYTES // 2**20


def test_workers_of_lanes_keep_what_they_need() -> None:
    order = ChipOrder(64, 0, lanes=64, held=1)
    kept = [order.cache_bytes(LANE_BYTES // 64, size) for size in (1, 4, 64)]
    assert kept[0] == LANE_BYTES and kept[-1] == CACHE_BYTES
    assert all(more >= fewer for more, fewer in pairwise(kept))
