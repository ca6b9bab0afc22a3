import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.chips.store import ChipStore, open_chips, open_store
from noise2map_core.evaluation.batches import (
    ChipReader,
    balanced_chips,
    iter_batches,
    labelled_chips,
    some_chips,
)
from tests.chip_factories import make_store, plan_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    return open_store(make_store(plan_store(folder / "sources", folder / "chips.zarr")))


@pytest.mark.parametrize("cache_bytes", [0, 2**20, 2**30])
def test_chips_are_read_in_any_order_whatever_the_cache_holds(
    store: ChipStore, cache_bytes: int
) -> None:
    expected = open_chips(store.path)
    chips = np.random.default_rng(0).permutation(store.num_chips)[:40]
    batch = ChipReader(store, ("change",), cache_bytes).read(chips)
    chosen = expected.isel(chip=chips).compute()
    assert (batch.image == chosen["image"]).all()
    assert (batch.valid == chosen["valid"]).all()
    assert (batch.labels["change"] == chosen["label_change"]).all()


def test_batches_go_through_all_chips_in_order(store: ChipStore) -> None:
    chips = store.chips_of("train")
    batches = list(iter_batches(ChipReader(store, ("change",)), chips, 16))
    assert np.concatenate([batch.chip for batch in batches]).tolist() == chips.tolist()
    assert {len(batch.chip) for batch in batches[:-1]} == {16}


def test_a_pair_has_the_bands_of_a_date_together(store: ChipStore) -> None:
    batch = ChipReader(store, ("change",)).read(np.array([3, 5]))
    image, valid = batch.inputs("change")
    assert (image[:, 2:].numpy() == batch.image[:, 1]).all()
    assert (valid.numpy() == batch.valid).all()


def test_truth_is_the_label_where_all_dates_were_observed(store: ChipStore) -> None:
    batch = ChipReader(store, ("change",)).read(np.arange(store.num_chips))
    truth = batch.truth("change")
    observed = batch.valid[:, 0] & batch.valid[:, 1]
    assert not observed.all()
    assert (truth[~observed] == 255).all()
    assert (truth[observed] == batch.labels["change"][observed]).all()


def test_labelled_chips_are_those_with_truth(store: ChipStore) -> None:
    found = labelled_chips(store, store.chips_of("train"), "change")
    truth = ChipReader(store, ("change",)).read(store.chips_of("train")).truth("change")
    assert found.tolist() == np.flatnonzero((truth != 255).any(axis=(1, 2))).tolist()


def test_fewer_labels_are_a_part_of_more() -> None:
    chips = np.arange(50, 250)
    parts = [set(some_chips(chips, share, 3).tolist()) for share in (0.01, 0.1, 0.5, 1.0)]
    assert [len(part) for part in parts] == [2, 20, 100, 200]
    assert all(few < more for few, more in itertools.pairwise(parts))
    assert set(some_chips(chips, 0.1, 4).tolist()) != parts[1]


@given(share=st.floats(0, 0.99), num_rare=st.integers(0, 100), epoch=st.integers(0, 3))
def test_a_balanced_epoch_has_as_many_chips_and_the_share_that_was_asked(
    share: float, num_rare: int, epoch: int
) -> None:
    chips, rare = np.arange(100, 300), np.arange(100, 300)[:num_rare]
    drawn = balanced_chips(chips, rare, share, 7, epoch)
    assert len(drawn) == len(chips) and np.isin(drawn, chips).all()
    common = drawn[~np.isin(drawn, rare)]
    assert len(np.unique(common)) == len(common)
    if num_rare:
        assert len(drawn) - len(common) >= round(share * len(chips))
    assert drawn.tolist() == balanced_chips(chips, rare, share, 7, epoch).tolist()
