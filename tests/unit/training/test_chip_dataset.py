"""Chips for one's own loop are those of the store, read in another way."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from noise2map_core import ChipDataset, open_chips
from noise2map_core.runtime.errors import ChipStoreError
from tests.chip_factories import make_store, plan_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    return make_store(plan_store(folder, folder / "chips.zarr"))


def test_batches_hold_the_chips_and_unobserved_labels_are_passed_over(store: Path) -> None:
    data, known = pickle.loads(pickle.dumps(ChipDataset(store))), open_chips(store).load()
    batches = list(DataLoader(data, batch_size=40))
    found = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    np.testing.assert_array_equal(found["chip"], np.arange(known.sizes["chip"]))
    np.testing.assert_array_equal(found["image"], known["image"])
    np.testing.assert_array_equal(found["valid"], known["valid"])
    seen = known["valid"].all("date")
    np.testing.assert_array_equal(found["label"], known["label_change"].where(seen, 255))
    assert found["image"].dtype == torch.float32 and found["label"].dtype == torch.int64
    assert not bool(seen.all()) and data.classes == {0: "unchanged", 1: "changed"}
    loss = torch.nn.CrossEntropyLoss(ignore_index=255)
    shown = (found["image"] - data.mean) / data.std
    assert torch.isfinite(loss(shown.flatten(1, 2)[:, :2], found["label"]))


def test_mean_and_spread_are_those_of_observed_pixels(store: Path) -> None:
    data, known = ChipDataset(store), open_chips(store).load()
    # Of overlapping chips each pixel counts once: on a lattice, its first.
    assert data.mean.shape == data.std.shape == (2, 2, 1, 1)
    pixels = known["image"].where(known["valid"])
    np.testing.assert_allclose(
        data.mean[..., 0, 0], pixels.mean(["chip", "y", "x"]).transpose("date", "band"), rtol=0.02
    )
    np.testing.assert_allclose(
        data.std[..., 0, 0], pixels.std(["chip", "y", "x"]).transpose("date", "band"), rtol=0.05
    )


def test_without_a_task_there_are_no_labels_and_what_is_not_there_is_refused(store: Path) -> None:
    assert set(ChipDataset(store, split=None, task=None)[3]) == {"image", "valid", "chip"}
    with pytest.raises(ChipStoreError, match="has no labels of task 'segment'"):
        ChipDataset(store, task="segment")
    with pytest.raises(ChipStoreError, match="has no chips of split 'test'"):
        ChipDataset(store, split="test")
