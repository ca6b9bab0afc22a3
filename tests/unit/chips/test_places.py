"""Whole places as parts: what is counted and measured is that of their chips alone."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from noise2map_core.chips.places import dealt, folds_of, places_of_fold, with_parts
from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.runtime.errors import ChipStoreError
from noise2map_core.settings.chips import ChipsConfig
from noise2map_core.settings.labels import PlacesConfig
from tests.chip_factories import store_of_places

NAMES = ["a", "b", "c", "d", "e"]
WHOLE = ChipsConfig(chip_px=16, stride_px=16)
"""Without overlap, every stored pixel counts."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    return open_store(store_of_places(tmp_path_factory.mktemp("places"), NAMES, WHOLE))


def test_parts_have_the_statistics_of_their_places(store: ChipStore) -> None:
    parts = dealt(store, PlacesConfig(val=("b",), test=("d",)))
    assert set(parts.places[parts.splits == "train"].tolist()) == {"a", "c", "e"}
    for split, names in {"train": "ace", "val": "b", "test": "d"}.items():
        chips = parts.chips_of(split)
        assert set(store.places[chips].tolist()) == set(names)
        image, valid = (np.asarray(store.array(name)[:])[chips] for name in ("image", "valid"))
        moments = parts.statistics(split)
        assert parts.attributes["counts"][split]["chips"] == len(chips)
        for date in range(2):
            values = np.moveaxis(image[:, date], 1, 0)[:, valid[:, date]]
            assert moments.mean[date] == pytest.approx(values.mean(axis=1))
            std = np.sqrt(moments.m2[date] / moments.count[date])
            assert std == pytest.approx(values.std(axis=1))


def test_labels_are_counted_by_place(store: ChipStore) -> None:
    labels, valid = store.array("label_change")[:], np.asarray(store.array("valid")[:]).all(axis=1)
    for name in NAMES:
        mine = (store.places == name)[:, None, None] & valid
        counts = store.attributes["places"]["counts"][name]["label_px"]["change"]
        assert counts == {
            "unchanged": int((np.asarray(labels)[mine] == 0).sum()),
            "changed": int((np.asarray(labels)[mine] == 1).sum()),
        }


def test_every_place_is_scored_once_and_never_by_what_saw_it(store: ChipStore) -> None:
    for count in (2, 3, 5):
        folds = folds_of(store, count, "change")
        assert Counter(name for fold in folds for name in fold) == Counter(NAMES)
        assert max(map(len, folds)) - min(map(len, folds)) <= 1
    for number in range(3):
        parts = dealt(store, places_of_fold(folds_of(store, 3, "change"), number))
        seen = {split: set(parts.places[parts.splits == split].tolist()) for split in
                ("train", "val", "test")}  # fmt: skip
        assert not (seen["train"] | seen["val"]) & seen["test"] and not seen["train"] & seen["val"]
        assert set.union(*seen.values()) == set(NAMES) and all(seen.values())


def test_places_of_no_part_are_in_no_split(store: ChipStore) -> None:
    parts = with_parts(store, {"test": ("c",)})
    assert set(parts.splits.tolist()) == {"", "test"}
    with pytest.raises(ChipStoreError, match="no chips of split 'train'"):
        parts.chips_of("train")


def test_what_cannot_be_dealt_is_named(store: ChipStore, tmp_path: Path) -> None:
    with pytest.raises(ChipStoreError, match="has no place 'x'; it has: a, b, c, d, e"):
        dealt(store, PlacesConfig(val=("x",)))
    with pytest.raises(ChipStoreError, match="no place is left to train on"):
        dealt(store, PlacesConfig(val=("a", "b"), test=("c", "d", "e")))
    with pytest.raises(ChipStoreError, match="6 folds need 6: ingest more areas"):
        folds_of(store, 6, "change")
    for wrong in ({"folds": 3, "val": ("a",)}, {"val": ("a",), "test": ("a",)}, {"test": ("a",)}):
        with pytest.raises(ValueError, match=r"leave val|name it once|without val"):
            PlacesConfig.model_validate(wrong)
