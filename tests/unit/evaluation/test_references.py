"""What is found without learning change, scored on the same pixels as a model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import f1_score, roc_auc_score

from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.detectors.detector import Detector
from noise2map_core.evaluation.batches import ChipReader
from noise2map_core.evaluation.counting import SplitPixels
from noise2map_core.evaluation.references import (
    compared_scorer,
    evaluate_compared,
    evaluate_detector,
    kinds_for,
)
from noise2map_core.evaluation.scores import require_comparable
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.settings.learning import EvaluationConfig
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig
from pipelines import evaluate_maps
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec, task_spec
from tests.unit.evaluation.test_evaluation import SPLIT

CONFIG = EvaluationConfig(batch=8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    return open_store(make_store(plan_store(folder / "a", folder / "chips.zarr", split=SPLIT)))


@pytest.fixture(scope="module")
def model() -> Noise2Map:
    torch.manual_seed(0)
    tasks = {
        "change": task_spec(),
        "segment": task_spec("segment", temperature=0.005, inference_timesteps=(0, 999)),
    }
    return Noise2Map(checkpoint_spec(chip_px=16, tasks=tasks)).eval()


def test_detectors_follow_from_the_number_of_bands() -> None:
    assert (kinds_for(3), kinds_for(4)) == (("cva",), ("mad", "irmad"))


@pytest.mark.parametrize("kind", ["cva", "mad", "irmad"])
def test_a_detector_is_fitted_to_the_split_without_its_labels(store: ChipStore, kind: str) -> None:
    batch = ChipReader(store, ()).read(store.chips_of("val"))
    seen = batch.valid.all(axis=1)
    detector = Detector.fit(kind, list(zip(batch.image, seen, strict=True)))
    said, truth = [], []
    for part, known in SplitPixels.of(store, "val", "change", 8).batches():
        found = [
            detector.probability(image, valid.all(axis=0))
            for image, valid in zip(part.image, part.valid, strict=True)
        ]
        said.append(np.stack(found)[known != 255])
        truth.append(known[known != 255])
    probability, changed = np.concatenate(said), np.concatenate(truth)
    scores = evaluate_detector(kind, store, "val", CONFIG)
    assert scores is not None and scores.num_pixels == len(changed)
    limit = detector.threshold(0.01)
    assert scores.threshold == {"changed": pytest.approx(limit)}
    assert scores.classes["changed"].f1 == pytest.approx(f1_score(changed, probability >= limit))
    assert scores.roc_auc == pytest.approx(roc_auc_score(changed, probability), abs=1e-3)


def test_maps_compared_are_scored_by_the_difference_of_both_dates(
    store: ChipStore, model: Noise2Map
) -> None:
    said, truth = [], []
    for batch, known in SplitPixels.of(store, "val", "change", 8).batches():
        building = []
        for date in (0, 1):
            image, valid = (torch.from_numpy(part[:, date]) for part in (batch.image, batch.valid))
            with torch.inference_mode():
                logits = model.logits_over(image, (0, 999), valid[:, None], "segment").mean(dim=0)
            building.append(softmax(logits.numpy() / 0.005, axis=1)[:, 1].round(4))
        gain = np.abs(building[1] - building[0])
        np.testing.assert_allclose(compared_scorer(model)(batch), gain, atol=2e-4)
        said.append(gain[known != 255])
        truth.append(known[known != 255])
    score, changed = np.concatenate(said), np.concatenate(truth)
    scores = evaluate_compared(model, store, "val", CONFIG)
    assert scores.roc_auc == pytest.approx(roc_auc_score(changed, score.round(4)), abs=2e-3)
    limit = scores.threshold["changed"]  # the best on the training part
    assert scores.classes["changed"].f1 == pytest.approx(
        f1_score(changed, score >= limit), abs=5e-3
    )


def test_a_checkpoint_that_does_not_segment_such_chips_is_refused(
    store: ChipStore, model: Noise2Map
) -> None:
    bands = tuple(store.bands)
    require_comparable(model.spec.model_copy(update={"bands": bands}), store)
    with pytest.raises(CheckpointError, match="does not do task 'segment'"):
        require_comparable(checkpoint_spec(chip_px=16), store)
    with pytest.raises(CheckpointError, match="expects bands"):
        require_comparable(model.spec, store)


def test_evaluate_maps_shows_them_beside_the_model(store: ChipStore, tmp_path: Path) -> None:
    tasks = {name: task_spec(name) for name in ("change", "segment")}
    spec = checkpoint_spec(chip_px=16, bands=tuple(store.bands), tasks=tasks)
    save_checkpoint(Noise2Map(spec), spec, tmp_path / "model", "# x\n")
    config = EvaluateMapsConfig(
        checkpoint=tmp_path / "model", chips=store.path, split="val", task="change",
        output=tmp_path / "scores.json",
        evaluation=CONFIG.model_copy(update={"any_resolution": True}),
    )  # fmt: skip
    result = evaluate_maps.run(config)
    document = json.loads((tmp_path / "scores.json").read_text())
    assert document["baseline"]["kind"] == "change_vector_analysis"
    assert document["references"].keys() == {"cva", "semantic"}
    for scores in document["references"].values():
        assert scores["num_pixels"] == document["model"]["num_pixels"]
        of_change = scores["classes"]["changed"]
        assert 0 <= of_change["f1_low"] <= of_change["f1_high"] <= 1 and 0 <= scores["roc_auc"] <= 1
    told = "\n".join(result.summary())
    assert "CVA, no labels" in told and "maps compared" in told
