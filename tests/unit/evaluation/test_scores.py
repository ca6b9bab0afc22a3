"""What evaluation reports, against scikit-learn and plain numpy on the same pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from skimage.filters import threshold_otsu
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, roc_auc_score

from noise2map_core.chips.spread import band_spread
from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.evaluation.calibration_tally import CURVE_POINTS, CalibrationTally
from noise2map_core.evaluation.counting import SplitPixels, model_logits_over
from noise2map_core.evaluation.scores import (
    MapScores,
    evaluate_baseline,
    evaluate_model,
    require_evaluable,
)
from noise2map_core.learning.baseline import NUM_BINS, ChangeVectorAnalysis
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import ClassSpec
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.settings.labels import SplitConfig
from noise2map_core.settings.learning import EvaluationConfig
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec, task_spec
from tests.unit.evaluation.test_evaluation import SPLIT

TIMESTEPS = (0, 999)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    return open_store(make_store(plan_store(folder / "a", folder / "chips.zarr", split=SPLIT)))


@pytest.fixture(scope="module")
def model() -> Noise2Map:
    torch.manual_seed(0)
    task = task_spec(temperature=0.5, inference_timesteps=TIMESTEPS)
    return Noise2Map(checkpoint_spec(chip_px=16, tasks={"change": task})).eval()


@pytest.fixture(scope="module")
def scores(store: ChipStore, model: Noise2Map) -> MapScores:
    return evaluate_model(model, store, "val", "change", EvaluationConfig(batch=8))


@pytest.fixture(scope="module")
def pixels(store: ChipStore, model: Noise2Map) -> tuple[np.ndarray, np.ndarray]:
    """Logits [timestep, class, pixel] and truth [pixel] of all pixels that count."""
    logits_of = model_logits_over(model, TIMESTEPS, "change")
    logits, truths = [], []
    for batch, truth in SplitPixels.of(store, "val", "change", 8).batches():
        logits.append(np.moveaxis(logits_of(batch), 1, 2)[:, :, truth != 255])
        truths.append(truth[truth != 255])
    return np.concatenate(logits, axis=2), np.concatenate(truths)


def test_scores_are_those_of_scikit_learn(
    scores: MapScores, pixels: tuple[np.ndarray, np.ndarray]
) -> None:
    logits, truth = pixels
    decided = softmax(logits.mean(axis=0) / 0.5, axis=0)[1].round(3) >= 0.5
    assert scores.num_pixels == len(truth) > 400
    assert scores.classes["changed"].f1 == pytest.approx(f1_score(truth, decided), abs=1e-3)
    assert scores.accuracy == pytest.approx(accuracy_score(truth, decided), abs=1e-3)
    assert scores.kappa == pytest.approx(cohen_kappa_score(truth, decided), abs=1e-3)
    assert scores.classes["changed"].support == truth.sum()
    assert scores.objects is not None and scores.objects.truths > 0
    probability = softmax(logits.mean(axis=0) / 0.5, axis=0)[1]
    assert scores.roc_auc == pytest.approx(roc_auc_score(truth, probability), abs=1e-3)


def test_calibration_is_of_the_same_pixels(
    scores: MapScores, pixels: tuple[np.ndarray, np.ndarray]
) -> None:
    logits, truth = pixels
    before, after = (softmax(logits.mean(axis=0) / t, axis=0)[1] for t in (1.0, 0.5))
    found = scores.calibration
    assert found is not None
    assert found.ece_before == pytest.approx(expected_error(before, truth), abs=2e-3)
    assert found.ece_after == pytest.approx(expected_error(after, truth), abs=2e-3)
    assert sum(row.pixels for row in found.reliability) == len(truth)
    each = softmax(logits / 0.5, axis=1)[:, 1]
    assert found.timestep_spread == pytest.approx(each.std(axis=0).mean(), abs=1e-3)
    threshold, precision, recall = found.precision_recall["changed"][90]
    chosen = after.round(3) >= threshold
    assert precision == pytest.approx(truth[chosen].mean(), abs=1e-2)
    assert recall == pytest.approx(chosen[truth == 1].mean(), abs=1e-2)


def expected_error(probability: np.ndarray, truth: np.ndarray) -> float:
    """Guo et al. (2017), eq. 3, bin by bin."""
    bins = np.minimum((probability * 15).astype(int), 14)
    gaps = [
        abs(truth[bins == b].mean() - probability[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


def test_of_more_classes_the_winner_is_judged_and_each_class_has_a_curve() -> None:
    classes = tuple(
        ClassSpec(value=value, name=name, color="#000000")
        for value, name in enumerate(("field", "road", "house"))
    )
    tally = CalibrationTally(task_spec("segment", classes=classes, threshold={}))
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, (4, 20, 20)).astype(np.uint8)
    truth[0, 0] = 255
    logits = generator.normal(0, 2, (1, 4, 3, 20, 20)).astype(np.float32)
    for part in (slice(0, 1), slice(1, 4)):
        tally.add(logits[:, part], truth[part])
    found, known = tally.result(), truth != 255
    probability = softmax(logits[0], axis=1)
    right = (probability.argmax(axis=1) == truth)[known].astype(int)
    assert found.ece_after == pytest.approx(
        expected_error(probability.max(axis=1)[known], right), abs=2e-3
    )
    assert found.timestep_spread is None
    assert found.precision_recall.keys() == {"field", "road", "house"}
    for entry in classes:
        curve = found.precision_recall[entry.name]
        assert len(curve) == CURVE_POINTS
        chosen = probability[:, entry.value].round(3)[known] >= curve[60][0]
        of_class = truth[known] == entry.value
        assert curve[60][1] == pytest.approx(of_class[chosen].mean(), abs=1e-2)
        assert curve[60][2] == pytest.approx(chosen[of_class].mean(), abs=1e-2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bands": ("blue", "red")}, "expects bands"),
        ({"gsd_range": (40.0, 50.0)}, "accepts pixels of 40 to 50 m"),
        (
            {"classes": task_spec("segment").classes, "threshold": {}},
            "knows the classes (other, building)",
        ),
    ],
)
def test_a_model_that_does_not_fit_the_chips_is_refused(
    store: ChipStore, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(CheckpointError) as refused:
        fields = {"bands": ("b0", "b1"), "chip_px": 16, **changes}
        require_evaluable(checkpoint_spec(**fields), store, "val", "change")
    assert words in str(refused.value)


def test_another_pixel_size_is_scored_where_that_is_asked_for(store: ChipStore) -> None:
    spec = checkpoint_spec(bands=("b0", "b1"), chip_px=16, gsd_range=(40.0, 50.0))
    require_evaluable(spec, store, "val", "change", any_resolution=True)


def test_without_a_training_part_the_baseline_takes_otsus_threshold(tmp_path: Path) -> None:
    boxes = SplitConfig(boxes={"test": SPLIT.boxes["val"]})
    path = make_store(plan_store(tmp_path / "a", tmp_path / "chips.zarr", split=boxes))
    store = open_store(path)
    found = evaluate_baseline(store, "test", EvaluationConfig())
    moments = store.statistics("test")
    analysis = ChangeVectorAnalysis(moments.mean, band_spread(store, moments))
    lengths, truths = [], []
    for batch, truth in SplitPixels.of(store, "test", "change", 8).batches():
        lengths.append(analysis.score(batch.image)[truth != 255])
        truths.append(truth[truth != 255])
    length, truth = np.concatenate(lengths), np.concatenate(truths)
    otsu = threshold_otsu(np.floor(length * NUM_BINS), nbins=NUM_BINS) / NUM_BINS
    assert found.threshold["changed"] == pytest.approx(otsu / (1 - otsu), rel=1e-2)
    assert found.roc_auc == pytest.approx(roc_auc_score(truth, length), abs=1e-3)
    assert found.classes["changed"].f1 == pytest.approx(f1_score(truth, length > otsu), abs=1e-2)
