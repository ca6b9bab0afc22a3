"""Risk–coverage from counts, against pixels that are sorted one by one."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.evaluation.batches import ChipReader
from noise2map_core.evaluation.evidence.passes import probability_by, spread_over
from noise2map_core.evaluation.evidence.risk_coverage import NUM_BINS, RiskCoverage
from noise2map_core.inference.region import Pass
from noise2map_core.models.noise2map import Noise2Map
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec
from tests.unit.evaluation.test_evaluation import SPLIT

RNG = np.random.default_rng(4)
TRUTH = RNG.integers(0, 2, 4000).astype(np.uint8)
DOUBT = np.round(RNG.random(4000) * NUM_BINS) / NUM_BINS
DECIDED = np.where(RNG.random(4000) < 0.6 * DOUBT, 1 - TRUTH, TRUTH).astype(np.uint8)


def test_the_roc_area_is_that_of_scikit_learn() -> None:
    found = RiskCoverage.of(DOUBT, TRUTH, DECIDED)
    assert found.roc_auc == pytest.approx(roc_auc_score(TRUTH != DECIDED, DOUBT), abs=1e-3)


def test_the_curve_and_its_area_are_those_of_sorted_pixels() -> None:
    found = RiskCoverage.of(DOUBT, TRUTH, DECIDED)
    coverage, risk = found.curve()
    wrong = TRUTH != DECIDED
    for share, one in zip(coverage[::100], risk[::100], strict=True):
        kept = np.argsort(DOUBT, kind="stable")[: round(share * len(DOUBT))]
        assert one == pytest.approx(wrong[kept].mean(), abs=1e-9)
    orders = [np.lexsort((RNG.random(len(DOUBT)), DOUBT)) for _ in range(40)]
    ranks = np.arange(1, len(DOUBT) + 1)
    areas = [(np.cumsum(wrong[order]) / ranks).mean() for order in orders]
    assert found.area == pytest.approx(np.mean(areas), abs=2e-3)
    assert found.risk_at(1.0) == pytest.approx(wrong.mean())
    kept = np.sort(DOUBT)[: round(0.8 * len(DOUBT))]
    assert found.risk_at(0.8) == pytest.approx(wrong[kept[-1] >= DOUBT].mean(), abs=2e-3)


def test_a_doubt_that_knows_is_better_than_one_that_does_not() -> None:
    known = RiskCoverage.of((TRUTH != DECIDED).astype(float), TRUTH, DECIDED)
    blind = RiskCoverage.of(np.zeros(4000), TRUTH, DECIDED)
    assert known.roc_auc == 1.0 and known.risk_at(0.5) == 0.0
    assert blind.roc_auc == pytest.approx(0.5)
    assert blind.area == pytest.approx((TRUTH != DECIDED).mean())
    assert known.area < blind.area


def test_what_has_no_label_does_not_count_and_parts_add_up() -> None:
    hidden = np.where(RNG.random(4000) < 0.3, 255, TRUTH).astype(np.uint8)
    whole = RiskCoverage.of(DOUBT, hidden, DECIDED)
    assert whole.counts.sum() == (hidden != 255).sum()
    parts = [RiskCoverage.of(DOUBT[k::3], hidden[k::3], DECIDED[k::3]) for k in range(3)]
    assert ((parts[0] + parts[1] + parts[2]).counts == whole.counts).all()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    return open_store(make_store(plan_store(folder / "a", folder / "chips.zarr", split=SPLIT)))


def test_a_pass_is_the_model_on_turned_chips_laid_back(store: ChipStore) -> None:
    torch.manual_seed(0)
    model = Noise2Map(checkpoint_spec(bands=tuple(store.bands), chip_px=16)).eval()
    batch = ChipReader(store, ("change",)).read(store.chips_of("val")[:2])
    image, valid = batch.inputs("change")
    each = []
    for turn, lay in ((0, lambda x: x), (1, lambda x: torch.rot90(x, 1, (2, 3)))):
        with torch.inference_mode():
            logits = model.logits(lay(image.float()), 999, lay(valid), "change")
        back = torch.rot90(logits, -turn, (2, 3)).softmax(dim=1).numpy()
        found = probability_by(model, batch, "change", Pass(999, turn=turn))
        np.testing.assert_allclose(found, back, atol=6e-5)
        each.append(found)
    spread = spread_over(each)
    np.testing.assert_allclose(spread, np.abs(each[0] - each[1]).max(axis=1), atol=1e-7)
