import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from noise2map_core.imagery.chip_store import ChipStore, open_store
from noise2map_core.inference.evaluation import SplitPixels, model_logits, probability_of
from noise2map_core.inference.validation import validate, validation_of
from noise2map_core.models.noise2map import Noise2Map
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec
from tests.unit.inference.test_evaluation import SPLIT


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
