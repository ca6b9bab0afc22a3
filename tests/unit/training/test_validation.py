import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.metrics import f1_score

from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.distributed.fitting.finetuning import excels, score_of
from noise2map_core.evaluation.counting import (
    PixelOwners,
    SplitPixels,
    model_logits,
    probability_of,
)
from noise2map_core.learning.calibration import MarginHistogram
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.training.validation import TaskValidation, doubts_of, validate, validation_of
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec
from tests.unit.evaluation.test_evaluation import SPLIT


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    return open_store(make_store(plan_store(folder / "a", folder / "chips.zarr", split=SPLIT)))


@pytest.fixture(scope="module")
def model() -> Noise2Map:
    torch.manual_seed(0)
    return Noise2Map(checkpoint_spec(chip_px=16)).eval()


def test_parts_of_workers_add_up_to_the_counts_of_one(store: ChipStore, model: Noise2Map) -> None:
    pixels = SplitPixels.of(store, "val", "change", 8)
    parts = [validate(model, pixels.part(rank, 3)) for rank in range(3)]
    assert (sum(parts) == validate(model, pixels)).all()


def test_the_threshold_holds_for_the_calibrated_probability(
    store: ChipStore, model: Noise2Map
) -> None:
    pixels, task = SplitPixels.of(store, "val", "change", 8), model.spec.tasks["change"]
    found = validation_of(validate(model, pixels), task)
    logits_of = model_logits(model, (999,), "change")
    pairs = [
        (probability_of(logits_of(batch), found.temperature)[:, 1][truth != 255],
         truth[truth != 255])
        for batch, truth in pixels.batches()
    ]  # fmt: skip
    score, label = (np.concatenate(part) for part in zip(*pairs, strict=True))
    threshold = found.threshold["changed"]
    # The threshold need not be the best one, but as good as one standard error allows.
    assert found.f1 - found.error - 0.01 < f1_score(label, score >= threshold) <= found.f1 + 0.01
    assert found.ece_after is not None and found.ece_before is not None


def judged(margin: NDArray[np.float64], label: NDArray[np.int64]) -> TaskValidation:
    """Of two classes with these margins [half, pixel]."""
    halves = [
        MarginHistogram.of(np.stack([np.zeros_like(m), m])[None, :, :, None], t[None, :, None])
        for m, t in zip(margin, label, strict=True)
    ]
    counts = np.concatenate([half.counts.ravel() for half in halves]).astype(np.float64)
    return validation_of(counts, checkpoint_spec().tasks["change"])


def test_a_class_predicted_everywhere_is_no_success() -> None:
    generator = np.random.default_rng(0)
    label = (generator.random((2, 20_000)) < 0.49).astype(np.int64)
    margin = 3 + generator.normal(size=label.shape) - 0.3 * label
    found = judged(margin, label)
    assert found.f1 > 0.65 and found.score == 0
    assert "kappa is" in found.doubts and "area under the ROC curve" in found.doubts


def test_a_temperature_is_kept_only_where_it_helps_the_other_half() -> None:
    generator = np.random.default_rng(0)
    probability = generator.uniform(0.02, 0.98, (2, 20_000))
    label = (generator.random(probability.shape) < probability).astype(np.int64)
    true = logit(probability)
    kept, left = judged(3 * true, label), judged(true * [[4.0], [0.3]], label)
    assert kept.temperature == pytest.approx(3, rel=0.05) == kept.best_temperature
    assert kept.ece_after < kept.ece_before and not kept.doubts
    assert left.temperature == 1 and left.best_temperature != pytest.approx(1, rel=0.1)
    assert left.ece_after == left.ece_before


def test_the_halves_of_a_split_lie_apart(store: ChipStore) -> None:
    owners, chips = PixelOwners(store, "val"), store.chips_of("val").tolist()
    halves = dict(zip(chips, owners.halves(chips).tolist(), strict=True))
    assert set(halves.values()) == {0, 1}
    place = np.column_stack([store.read("row"), store.read("col")]).tolist()
    one, other = ([place[c] for c in chips if halves[c] == half] for half in (0, 1))
    assert max(one) <= min(other)


def test_a_doubted_epoch_is_not_the_one_that_is_taken() -> None:
    doubted = {"epoch": 4.0, "val_f1": 0.658, "val_score": 0.0, "val_error": 0.01}
    modest = {"epoch": 2.0, "val_f1": 0.31, "val_score": 0.31, "val_error": 0.01}
    assert excels(modest, doubted, epochs=4) and not excels(doubted, modest, epochs=4)
    assert score_of({"val_score": -1e308}) == -1e308  # in the middle of an epoch
    assert score_of({"val_f1": 0.5}) == 0.5  # of a version that had no other
    entry = {"tasks": {"change": {"doubts": "kappa is 0.000"}, "segment": {}}}
    assert doubts_of(entry) == "change: kappa is 0.000"
