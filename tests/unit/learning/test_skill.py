"""What is no better than chance is said to be; what is better is left in peace."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from noise2map_core.learning.calibration import (
    MarginHistogram,
    ReliabilityBins,
    TemperatureScan,
    temperature_helps,
)
from noise2map_core.learning.metrics import ConfusionCounts, ScoreHistogram, block_bootstrap_kappa
from noise2map_core.learning.skill import doubts_about

NAMES = ("unchanged", "changed")


def counts_of(truth: NDArray[np.int64], decided: NDArray[np.int64]) -> ConfusionCounts:
    return ConfusionCounts.of(truth, decided, 2)


def draw(share: float, size: int = 20_000, seed: int = 0) -> NDArray[np.int64]:
    return (np.random.default_rng(seed).random(size) < share).astype(np.int64)


@pytest.mark.parametrize("share", [0.49, 0.1, 0.001])
@pytest.mark.parametrize("value", [0, 1])
def test_one_class_everywhere_is_no_skill_however_high_its_f1(share: float, value: int) -> None:
    truth = draw(share)
    counts = counts_of(truth, np.full_like(truth, value))
    assert "kappa is 0.000" in doubts_about(counts, NAMES)
    if share > 0.4 and value:
        assert counts.scores(1).f1 > 0.65


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_a_coin_is_no_skill(share: float) -> None:
    truth, guess = draw(share), draw(share, seed=1)
    assert doubts_about(counts_of(truth, guess), NAMES)


@pytest.mark.parametrize("wrong", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.001])
def test_what_finds_rare_change_is_in_no_doubt(share: float, wrong: float) -> None:
    truth = draw(share, 200_000)
    missed = draw(wrong, len(truth), seed=2) & truth
    decided = np.where(missed == 1, 0, truth)
    assert doubts_about(counts_of(truth, decided), NAMES, roc_auc=0.8, kappa_low=0.3) == ""


@pytest.mark.parametrize(
    ("said", "more"),
    [
        ("area under the ROC curve is 0.420", {"roc_auc": 0.42}),
        ("interval of kappa", {"kappa_low": -0.01}),
        ("at its bound, 16", {"temperature": 16.0}),
    ],
)
def test_each_sign_is_named(said: str, more: dict[str, float]) -> None:
    truth = draw(0.3)
    decided = np.where(draw(0.3, seed=3) == 1, 1 - truth, truth)
    assert doubts_about(counts_of(truth, decided), NAMES) == ""
    assert said in doubts_about(counts_of(truth, decided), NAMES, **more)


def test_almost_one_class_everywhere_is_named_with_its_shares() -> None:
    truth = draw(0.5)
    decided = np.ones_like(truth)
    decided[np.flatnonzero(truth == 0)[:40]] = 0
    told = doubts_about(counts_of(truth, decided), NAMES)
    assert "changed is given to 99.80% of the pixels, and is true of" in told


def test_where_one_class_is_true_there_is_nothing_to_doubt() -> None:
    truth = np.zeros(100, np.int64)
    assert doubts_about(counts_of(truth, truth), NAMES) == ""
    assert doubts_about(ConfusionCounts.empty(2), NAMES) == ""


@pytest.mark.parametrize("seed", [0, 1])
def test_the_interval_of_kappa_is_that_of_drawn_blocks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, (12, 50))
    decided = np.where(generator.random(truth.shape) < 0.3, 1 - truth, truth)
    blocks = np.stack([counts_of(*pair).matrix for pair in zip(truth, decided, strict=True)])
    low, high = block_bootstrap_kappa(blocks, draws=300, seed=seed) or (1, 0)
    draws = generator.integers(0, 12, (300, 12))
    kappas = [cohen_kappa_score(truth[draw].ravel(), decided[draw].ravel()) for draw in draws]
    assert (low, high) == pytest.approx(tuple(np.percentile(kappas, [2.5, 97.5])), abs=0.06)


def test_a_threshold_s_confusion_is_what_it_decides() -> None:
    truth, score = draw(0.3), np.random.default_rng(5).random(20_000)
    histogram = ScoreHistogram.of(score, truth)
    for threshold in (0.0, 0.25, 0.5, 0.999):
        decided = (np.floor(score * 1000 + 1e-3) >= threshold * 1000).astype(np.int64)
        expected = counts_of(truth, decided).matrix
        assert (histogram.confusion_at(threshold).matrix == expected).all()
    assert histogram.roc_auc == pytest.approx(roc_auc_score(truth, score), abs=1e-3)


def margins(
    size: int, sharp: float, seed: int, bias: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits [1, 2, size, 1] that say `sharp` times too much, and labels."""
    generator = np.random.default_rng(seed)
    probability = generator.uniform(0.05, 0.95, size)
    label = (generator.random(size) < probability).astype(np.int64)
    margin = sharp * (logit(probability) + bias)
    return np.stack([np.zeros(size), margin])[None, :, :, None], label[None, :, None]


KINDS = (MarginHistogram, TemperatureScan)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sharp", [0.4, 2.5])
def test_a_temperature_that_is_asked_for_on_both_halves_helps(kind: type, sharp: float) -> None:
    assert temperature_helps(*(kind.of(*margins(20_000, sharp, seed)) for seed in (0, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_taken_that_the_other_half_contradicts(kind: type) -> None:
    one, other = (kind.of(*margins(20_000, sharp, 0)) for sharp in (4.0, 0.3))
    assert not temperature_helps(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_taken_for_nothing(kind: type) -> None:
    one, other = (kind.of(*margins(20_000, 1.0, seed)) for seed in (0, 1))
    assert not temperature_helps(one, other)
    assert not temperature_helps(one, kind.empty())


def test_likelier_labels_are_not_worth_a_larger_calibration_error() -> None:
    """Leaning to one side: flatter logits are likelier, and less true on the whole."""
    halves = [MarginHistogram.of(*margins(50_000, 3.0, seed, bias=-2.0)) for seed in (0, 1)]
    errors = [
        sum((half.reliability(t) for half in halves), ReliabilityBins.empty())
        for t in (1.0, halves[0].temperature())
    ]
    better = errors[1].expected_calibration_error <= errors[0].expected_calibration_error
    assert halves[0].mean_nll(halves[0].temperature()) < halves[0].mean_nll()
    assert temperature_helps(*halves) == better
