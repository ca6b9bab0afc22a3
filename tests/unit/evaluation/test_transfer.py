"""Scores of places that a model never saw, against scikit-learn on the same pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from noise2map_core.chips.places import folds_of, places_of_fold
from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.evaluation.batches import ChipReader
from noise2map_core.evaluation.counting import model_logits, probability_of
from noise2map_core.evaluation.transfer import (
    TransferScores,
    read_folds,
    require_places,
    score_models,
    score_statistics,
)
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.errors import CheckpointError, ChipStoreError
from noise2map_core.settings.chips import ChipsConfig
from tests.chip_factories import store_of_places
from tests.factories import checkpoint_spec

NAMES = ["a", "b", "c", "d"]
FOLDS = 3


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    chips = ChipsConfig(chip_px=16, stride_px=16)
    return open_store(store_of_places(tmp_path_factory.mktemp("places"), NAMES, chips))


@pytest.fixture(scope="module")
def folder(store: ChipStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folds as finetune-maps leaves them, of networks that are untrained and all different."""
    folder = tmp_path_factory.mktemp("folds")
    for number in range(FOLDS):
        torch.manual_seed(number)
        spec = checkpoint_spec(chip_px=16, threshold={"changed": 0.45 + 0.03 * number})
        save_checkpoint(Noise2Map(spec).eval(), spec, folder / f"fold-{number}/checkpoint", "# x\n")
        places = places_of_fold(folds_of(store, FOLDS, "change"), number)
        note = {"config": {"places": places.model_dump(mode="json")}}
        (folder / f"fold-{number}/run.json").write_text(json.dumps(note))
    return folder


@pytest.fixture(scope="module")
def scores(store: ChipStore, folder: Path) -> TransferScores:
    return score_models("mine", store, read_folds(folder, store), "change", 8)


def pixels(store: ChipStore, place: str, model: Noise2Map) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truths of a place's labelled pixels; chips do not overlap."""
    batch = ChipReader(store, ("change",)).read(np.flatnonzero(store.places == place))
    logits = model_logits(model, model.spec.task().inference_timesteps, "change")(batch)
    truth = batch.truth("change")
    return probability_of(logits, 1.0)[:, 1][truth != 255], truth[truth != 255]


def test_a_place_is_scored_by_the_model_of_its_fold(
    store: ChipStore, folder: Path, scores: TransferScores
) -> None:
    every: list[tuple[np.ndarray, np.ndarray]] = []
    for fold in read_folds(folder, store):
        assert not set(fold.scored) & set(fold.learnt) and fold.checkpoint is not None
        torch.manual_seed(int(fold.checkpoint.parent.name[-1]))
        threshold = 0.45 + 0.03 * int(fold.checkpoint.parent.name[-1])
        spec = checkpoint_spec(chip_px=16, threshold={"changed": threshold})
        model = Noise2Map(spec).eval()
        for place in fold.scored:
            probability, truth = pixels(store, place, model)
            found = scores.places[place]
            assert found.pixels == len(truth) and found.positives == truth.sum()
            decided = probability >= threshold - 1e-6
            assert found.f1 == pytest.approx(f1_score(truth, decided, zero_division=0.0), abs=2e-3)
            if 0 < truth.sum() < len(truth):
                assert found.roc_auc == pytest.approx(roc_auc_score(truth, probability), abs=1e-3)
                expected = average_precision_score(truth, probability)
                assert found.average_precision == pytest.approx(expected, abs=2e-3)
            every.append((probability, truth))
    probability, truth = (np.concatenate(part) for part in zip(*every, strict=True))
    assert scores.pooled.pixels == len(truth)
    assert scores.pooled.roc_auc == pytest.approx(roc_auc_score(truth, probability), abs=1e-3)
    assert 0 <= scores.f1_low <= scores.pooled.f1 <= scores.f1_high <= 1


def test_statistics_take_their_threshold_from_other_places(store: ChipStore, folder: Path) -> None:
    rows = {row.name: row for row in score_statistics(store, read_folds(folder, store), 8)}
    assert set(rows) == {"CVA", "MAD", "IRMAD"}
    for row in rows.values():
        assert set(row.places) == set(NAMES) and row.pooled.ece is None
        assert row.pooled.f1 <= row.pooled.best_f1 + 1e-9


def test_folds_that_do_not_fit_the_store_are_refused(
    store: ChipStore, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"holds no folds. Train them with finetune-maps"):
        read_folds(tmp_path, store)
    (tmp_path / "fold-0").symlink_to(folder / "fold-0")
    with pytest.raises(CheckpointError, match="has no fold that scores"):
        read_folds(tmp_path, store)
    chips = ChipsConfig(chip_px=16, stride_px=16)
    (other := tmp_path / "other").mkdir()
    with pytest.raises(ChipStoreError, match="has one place, and nothing to carry over to"):
        require_places(open_store(store_of_places(other, ["alone"], chips)), "change")
