import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    jaccard_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

from noise2map_core.learning.metrics import (
    IGNORE,
    ConfusionCounts,
    ScoreHistogram,
    block_bootstrap_f1,
)

RNG = np.random.default_rng(0)
LABEL = RNG.choice(np.array([0, 1, IGNORE], np.uint8), (40, 50), p=[0.6, 0.2, 0.2])
PREDICTED = RNG.integers(0, 2, (40, 50)).astype(np.uint8)
SCORE = np.clip(0.3 * (LABEL == 1) + RNG.normal(0.4, 0.2, LABEL.shape), 0, 1)
KNOWN = LABEL != IGNORE


def test_counts_are_those_of_scikit_learn() -> None:
    counts = ConfusionCounts.of(LABEL, PREDICTED, 2)
    assert (counts.matrix == confusion_matrix(LABEL[KNOWN], PREDICTED[KNOWN])).all()
    assert counts.num_pixels == KNOWN.sum()


@pytest.mark.parametrize("value", [0, 1])
def test_scores_are_those_of_scikit_learn(value: int) -> None:
    truth, found = LABEL[KNOWN], PREDICTED[KNOWN]
    scores = ConfusionCounts.of(LABEL, PREDICTED, 2).scores(value)
    assert scores.f1 == pytest.approx(f1_score(truth, found, pos_label=value))
    assert scores.iou == pytest.approx(jaccard_score(truth, found, pos_label=value))
    assert scores.precision == pytest.approx(precision_score(truth, found, pos_label=value))
    assert scores.recall == pytest.approx(recall_score(truth, found, pos_label=value))
    assert scores.support == (truth == value).sum()


def test_the_area_under_the_roc_curve_is_that_of_scikit_learn() -> None:
    binned = np.minimum(np.round(SCORE, 2), 0.99)
    area = roc_auc_score(LABEL[KNOWN], binned[KNOWN])
    assert ScoreHistogram.of(binned, LABEL, 100).roc_auc == pytest.approx(area, abs=1e-9)
    assert ScoreHistogram.of(SCORE, np.zeros_like(LABEL)).roc_auc is None


def test_nothing_found_and_nothing_there_scores_zero() -> None:
    scores = ConfusionCounts.empty(2).scores(1)
    assert (scores.f1, scores.iou, scores.precision, scores.recall, scores.support) == (0,) * 5


@given(
    hnp.arrays(np.uint8, 30, elements=st.sampled_from([0, 2, 3, IGNORE])),
    hnp.arrays(np.uint8, 30, elements=st.integers(0, 3)),
)
def test_summaries_are_those_of_scikit_learn_with_classes_absent(
    label: np.ndarray, predicted: np.ndarray
) -> None:
    counts = ConfusionCounts.of(label, predicted, 5)
    truth, found = label[label != IGNORE], predicted[label != IGNORE]
    assume(len(truth))
    assert counts.overall_accuracy == pytest.approx(accuracy_score(truth, found))
    settings = {"average": "macro", "zero_division": 0}
    assert counts.mean_f1 == pytest.approx(f1_score(truth, found, **settings))
    assert counts.mean_iou == pytest.approx(jaccard_score(truth, found, **settings))
    assert counts.occurring == tuple(np.union1d(truth, found))
    if len(counts.occurring) > 1:
        assert counts.kappa == pytest.approx(cohen_kappa_score(truth, found), abs=1e-12)
    each = f1_score(truth, found, labels=range(5), average=None, zero_division=0)
    assert [scores.f1 for scores in counts.class_scores()] == pytest.approx(each)


def test_kappa_is_that_of_cohen_by_hand() -> None:
    # 50 proposals of two readers: observed agreement 0.7, by chance 0.5.
    assert ConfusionCounts(np.array([[20, 5], [10, 15]])).kappa == pytest.approx(0.4)
    # Counts of a continent, whose products leave 64 bits.
    large = ConfusionCounts(np.array([[20, 5], [10, 15]]) * 10**11)
    assert large.kappa == pytest.approx(0.4)


def test_nothing_to_summarise_is_zero() -> None:
    empty = ConfusionCounts.empty(3)
    assert (empty.overall_accuracy, empty.kappa, empty.mean_f1, empty.mean_iou) == (0,) * 4
    assert ConfusionCounts(np.array([[9, 0], [0, 0]])).kappa == 0


@given(
    hnp.arrays(np.uint8, 60, elements=st.sampled_from([0, 1, 2, IGNORE])),
    hnp.arrays(np.uint8, 60, elements=st.integers(0, 2)),
    st.integers(0, 60),
)
def test_counts_of_parts_add_up(label: np.ndarray, predicted: np.ndarray, cut: int) -> None:
    whole = ConfusionCounts.of(label, predicted, 3)
    first = ConfusionCounts.of(label[:cut], predicted[:cut], 3)
    second = ConfusionCounts.of(label[cut:], predicted[cut:], 3)
    assert ((first + second).matrix == whole.matrix).all()


@given(
    hnp.arrays(np.float32, 60, elements=st.floats(0, 1, width=32)),
    hnp.arrays(np.uint8, 60, elements=st.sampled_from([0, 1, IGNORE])),
    st.integers(0, 60),
)
def test_histograms_of_parts_add_up(score: np.ndarray, label: np.ndarray, cut: int) -> None:
    whole = ScoreHistogram.of(score, label)
    parts = ScoreHistogram.of(score[:cut], label[:cut]) + ScoreHistogram.of(
        score[cut:], label[cut:]
    )
    assert (parts.counts == whole.counts).all()
    assert whole.counts.sum() == (label != IGNORE).sum()


def test_precision_and_recall_are_those_of_scikit_learn_at_every_threshold() -> None:
    score = np.floor(SCORE * 1000) / 1000
    precision, recall = ScoreHistogram.of(score, LABEL).precision_recall()
    expected = precision_recall_curve(LABEL[KNOWN] == 1, score[KNOWN])
    at = np.rint(expected[2] * 1000).astype(int).clip(0, 999)
    np.testing.assert_allclose(precision[at], expected[0][:-1])
    np.testing.assert_allclose(recall[at], expected[1][:-1])


def test_the_best_threshold_is_found_and_reached() -> None:
    histogram = ScoreHistogram.of(SCORE, LABEL)
    truth = LABEL[KNOWN] == 1

    def f1(found: np.ndarray) -> float:
        return 2 * float((truth & found).sum()) / float(truth.sum() + found.sum())

    assert f1(SCORE[KNOWN] >= 0.5) == pytest.approx(f1_score(truth, SCORE[KNOWN] >= 0.5))
    every = [f1(SCORE[KNOWN] >= k / 1000) for k in range(1000)]
    assert histogram.best_f1() == pytest.approx(max(every))
    assert every[round(histogram.best_threshold() * 1000)] == pytest.approx(max(every))


def test_scores_stored_in_steps_are_decided_alike_by_histogram_and_threshold() -> None:
    stored = (np.rint(SCORE * 10_000) / 10_000).astype(np.float32)
    histogram = ScoreHistogram.of(stored, LABEL)
    for k in range(0, 1000, 7):
        found = np.rint(stored * 10_000) >= round(k / 1000 * 10_000)
        scores = ConfusionCounts.of(LABEL, found.astype(np.uint8), 2).scores(1)
        assert histogram.f1()[k] == pytest.approx(scores.f1)


def test_the_robust_threshold_avoids_the_edge_of_a_plateau() -> None:
    # All positives above 0.9, one of them alone above 0.99; negatives below 0.2 but for one.
    score = np.concatenate([np.full(99, 0.95), [0.999], np.full(400, 0.1), [0.94]])
    label = np.concatenate([np.ones(100), np.zeros(401)]).astype(np.uint8)
    histogram = ScoreHistogram.of(score, label)
    assert histogram.best_threshold() > 0.94
    assert 0.4 < histogram.robust_threshold() < 0.7


def test_the_robust_threshold_is_the_best_one_where_there_are_many_pixels() -> None:
    many = ScoreHistogram(ScoreHistogram.of(SCORE, LABEL).counts * 10**6)
    assert many.robust_threshold() == pytest.approx(many.best_threshold(), abs=0.002)


def test_the_interval_holds_the_score_and_comes_from_blocks() -> None:
    blocks = RNG.integers(0, 50, (30, 2, 2))
    f1 = ConfusionCounts(blocks.sum(axis=0)).scores(1).f1
    low, high = block_bootstrap_f1(blocks, 1)
    assert low < f1 < high
    assert (low, high) == block_bootstrap_f1(blocks, 1)
    # Many blocks that are alike leave nothing to chance; so does a single one.
    alike = np.repeat(blocks[:1], 30, axis=0)
    one = ConfusionCounts(blocks[0]).scores(1).f1
    assert block_bootstrap_f1(alike, 1) == pytest.approx((one, one))


def test_the_interval_is_that_of_a_plain_resampling() -> None:
    blocks = RNG.integers(0, 50, (20, 2, 2))
    generator = np.random.default_rng(1)
    draws = [
        ConfusionCounts(blocks[generator.integers(20, size=20)].sum(axis=0)).scores(1).f1
        for _ in range(4000)
    ]
    assert block_bootstrap_f1(blocks, 1) == pytest.approx(
        np.percentile(draws, [2.5, 97.5]), abs=0.01
    )
