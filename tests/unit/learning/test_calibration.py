import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from noise2map_core.learning.calibration import (
    TEMPERATURE_RANGE,
    MarginHistogram,
    ReliabilityBins,
    TemperatureScan,
)
from noise2map_core.learning.metrics import IGNORE, ScoreHistogram

RNG = np.random.default_rng(0)


def drawn(num_classes: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits [B, K, H, W], and labels drawn from their softmax at a temperature; some ignored."""
    logits = RNG.normal(0, 4, (20, num_classes, 60, 60))
    noise = RNG.gumbel(size=logits.shape)  # the largest of logits with such noise is a draw
    label = (logits / temperature + noise).argmax(axis=1).astype(np.uint8)
    label[RNG.random(label.shape) < 0.1] = IGNORE
    return logits.astype(np.float32), label


def test_the_table_is_the_calibration_curve_of_scikit_learn() -> None:
    score = RNG.random(5000)
    label = (RNG.random(5000) < score**2).astype(np.uint8)
    table = ReliabilityBins.of(score, label, 10).table()
    frequency, mean_score = calibration_curve(label, score, n_bins=10)
    np.testing.assert_allclose([row.frequency for row in table], frequency)
    np.testing.assert_allclose([row.score for row in table], mean_score)
    assert sum(row.pixels for row in table) == 5000
    assert all(row.low <= row.score < row.high for row in table)


def test_the_error_is_the_weighted_gap_of_the_bins() -> None:
    score = np.array([0.1, 0.2, 0.9, 1.0, 0.5])
    label = np.array([0, 1, 1, 1, IGNORE], np.uint8)
    bins = ReliabilityBins.of(score, label, 2)
    # Two pixels of mean 0.15 that are so in half of the cases, two of mean 0.95 that always are.
    assert bins.expected_calibration_error == pytest.approx(0.5 * 0.35 + 0.5 * 0.05)
    assert [row.pixels for row in bins.table()] == [2, 2]
    assert ReliabilityBins.empty().expected_calibration_error == 0


def test_true_probabilities_have_no_error_and_overconfident_ones_have() -> None:
    logits, label = drawn(2, 1.0)
    believed = ReliabilityBins.of(softmax(logits, axis=1)[:, 1], label)
    exaggerated = ReliabilityBins.of(softmax(3 * logits, axis=1)[:, 1], label)
    assert believed.expected_calibration_error < 0.01
    assert exaggerated.expected_calibration_error > 0.05


def test_the_winner_is_judged_by_whether_it_is_right() -> None:
    logits, label = drawn(3, 2.0)
    probability = softmax(logits, axis=1)
    counted = label != IGNORE
    right = (probability.argmax(axis=1) == label)[counted]
    expected = ReliabilityBins.of(probability.max(axis=1)[counted], right.astype(np.uint8))
    np.testing.assert_array_equal(ReliabilityBins.of_winner(probability, label).sums, expected.sums)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.7])
def test_a_known_temperature_is_recovered(num_classes: int, temperature: float) -> None:
    logits, label = drawn(num_classes, temperature)
    found = TemperatureScan.of(logits, label).best_temperature()
    assert found == pytest.approx(temperature, rel=0.05)


def test_the_temperature_is_the_one_that_a_direct_search_finds() -> None:
    logits, label = drawn(2, 1.7)
    margin = (logits[:, 1] - logits[:, 0])[label != IGNORE].astype(np.float64)
    truth = label[label != IGNORE]
    found = minimize_scalar(
        lambda t: log_loss(truth, expit(margin / t)), bounds=(0.1, 10), options={"xatol": 1e-8}
    )
    scan = TemperatureScan.of(logits, label)
    assert scan.best_temperature() == pytest.approx(found.x, rel=1e-4)
    assert scan.mean_nll(found.x) == pytest.approx(found.fun, rel=1e-6)
    assert scan.mean_nll() == pytest.approx(log_loss(truth, expit(margin)), rel=1e-6)


def test_labels_without_an_error_lead_to_the_end_of_the_range() -> None:
    logits, _ = drawn(2, 1.0)
    right = TemperatureScan.of(logits, logits.argmax(axis=1).astype(np.uint8))
    wrong = TemperatureScan.of(logits, logits.argmin(axis=1).astype(np.uint8))
    assert right.best_temperature() == pytest.approx(TEMPERATURE_RANGE[0])
    assert wrong.best_temperature() == pytest.approx(16)
    assert TemperatureScan.empty().best_temperature() == 1


LOGITS = hnp.arrays(np.float32, (2, 3, 4, 4), elements=st.floats(-30, 30, width=32))
LABELS = hnp.arrays(np.uint8, (2, 4, 4), elements=st.sampled_from([0, 1, 2, IGNORE]))


@given(LOGITS, LABELS)
def test_a_temperature_never_changes_the_winner(logits: np.ndarray, label: np.ndarray) -> None:
    temperature = TemperatureScan.of(logits, label).best_temperature()
    assert 0 < temperature < np.inf
    exact = logits.astype(np.float64)
    np.testing.assert_array_equal((exact / temperature).argmax(axis=1), exact.argmax(axis=1))


@given(LOGITS, LABELS)
def test_scans_and_bins_of_parts_add_up(logits: np.ndarray, label: np.ndarray) -> None:
    probability = softmax(logits, axis=1)
    scans = [TemperatureScan.of(logits[i : i + 1], label[i : i + 1]) for i in range(2)]
    bins = [
        ReliabilityBins.of(probability[i, 1], (label[i] == 1).astype(np.uint8)) for i in range(2)
    ]
    np.testing.assert_allclose(
        (scans[0] + scans[1]).nll, TemperatureScan.of(logits, label).nll, rtol=1e-9, atol=1e-9
    )
    whole = ReliabilityBins.of(probability[:, 1], (label == 1).astype(np.uint8))
    np.testing.assert_allclose((bins[0] + bins[1]).sums, whole.sums, rtol=1e-9)


def two_classes(temperature: float, count: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits [B, 2, H, W] that are `temperature` times too sure, and labels drawn accordingly."""
    rng = np.random.default_rng(7)
    margin = 3 * rng.standard_normal(count)
    label = (rng.random(count) < expit(margin)).astype(np.uint8)
    logits = np.zeros((1, 2, 1, count))
    logits[0, 1, 0] = margin * temperature
    return logits, label.reshape(1, 1, count)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_margin_histogram_finds_the_temperature_of_the_scan(temperature: float) -> None:
    logits, label = two_classes(temperature)
    found = MarginHistogram.of(logits, label).temperature()
    assert found == pytest.approx(TemperatureScan.of(logits, label).best_temperature(), rel=0.01)
    assert found == pytest.approx(temperature, rel=0.05)


def test_a_margin_histogram_gives_scores_and_reliability_of_the_pixels() -> None:
    logits, label = two_classes(2.0)
    margins, probability = MarginHistogram.of(logits, label), expit(logits[:, 1] / 2)
    exact = ReliabilityBins.of(probability, label)
    found = margins.reliability(2.0)
    assert found.expected_calibration_error == pytest.approx(
        exact.expected_calibration_error, abs=2e-3
    )
    assert found.expected_calibration_error < margins.reliability().expected_calibration_error
    whole = ScoreHistogram.of(probability, label)
    assert margins.scores(2.0).best_f1() == pytest.approx(whole.best_f1(), abs=1e-3)


def test_margin_histograms_add_up_and_ignore_what_is_not_labelled() -> None:
    logits, label = two_classes(1.0, 1000)
    parts = [MarginHistogram.of(logits[..., i::2], label[..., i::2]) for i in range(2)]
    assert (sum(p.counts for p in parts) == MarginHistogram.of(logits, label).counts).all()
    none = MarginHistogram.of(np.full_like(logits, np.nan), np.full_like(label, 255))
    assert none.counts.sum() == 0 and none.temperature() == 1.0
