"""Scores of a classification, from counts that can be added up. numpy only."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Label value of pixels that count nowhere."""

NUM_BINS = 1000
"""Bins of a score histogram; thresholds are multiples of 1 / NUM_BINS."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Scores of one class, each in [0, 1]; 0 where it is 0 / 0."""

    f1: float
    iou: float
    precision: float
    recall: float
    support: int
    """Pixels that truly are of this class."""


@dataclass(frozen=True)
class ConfusionCounts:
    """Pixels by true and predicted class. Counts of disjoint pixels add up."""

    matrix: NDArray[np.int64]
    """int64 [K, K]: row = true class, column = predicted class."""

    @classmethod
    def empty(cls, num_classes: int) -> "ConfusionCounts":
        """No pixel yet."""
        return cls(np.zeros((num_classes, num_classes), np.int64))

    @classmethod
    def of(
        cls, label: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int
    ) -> "ConfusionCounts":
        """Counts of pixels [...] whose label is not `IGNORE`."""
        counted = label != IGNORE
        pairs = label[counted].astype(np.int64) * num_classes + predicted[counted]
        counts = np.bincount(pairs, minlength=num_classes**2)
        return cls(counts.reshape(num_classes, num_classes).astype(np.int64))

    def __add__(self, other: "ConfusionCounts") -> "ConfusionCounts":
        return ConfusionCounts(self.matrix + other.matrix)

    @property
    def num_pixels(self) -> int:
        """All pixels that were counted."""
        return int(self.matrix.sum())

    def scores(self, value: int) -> ClassScores:
        """Scores of class `value` against all others."""
        hit = int(self.matrix[value, value])
        support, predicted = int(self.matrix[value].sum()), int(self.matrix[:, value].sum())
        return ClassScores(
            f1=_ratio(2 * hit, support + predicted),
            iou=_ratio(hit, support + predicted - hit),
            precision=_ratio(hit, predicted),
            recall=_ratio(hit, support),
            support=support,
        )

    def class_scores(self) -> tuple[ClassScores, ...]:
        """Scores of each class against all others, by class."""
        return tuple(self.scores(value) for value in range(len(self.matrix)))

    @property
    def occurring(self) -> tuple[int, ...]:
        """Classes that are true or predicted somewhere; the others have nothing to score."""
        return tuple(np.flatnonzero(self.matrix.sum(axis=0) + self.matrix.sum(axis=1)).tolist())

    @property
    def mean_f1(self) -> float:
        """F1, mean over the occurring classes (macro F1); 0 without a pixel."""
        return _mean([self.scores(value).f1 for value in self.occurring])

    @property
    def mean_iou(self) -> float:
        """IoU, mean over the occurring classes; 0 without a pixel."""
        return _mean([self.scores(value).iou for value in self.occurring])

    @property
    def overall_accuracy(self) -> float:
        """Part of the pixels whose class is right, in [0, 1]; 0 without a pixel."""
        return _ratio(int(self.matrix.trace()), self.num_pixels)

    @property
    def kappa(self) -> float:
        """Cohen's kappa (1960): agreement beyond chance, in [-1, 1].

        0 where chance alone agrees everywhere: one class, or no pixel.
        """
        total = self.num_pixels
        truths, predictions = self.matrix.sum(axis=1).tolist(), self.matrix.sum(axis=0).tolist()
        # Whole numbers of Python: products of pixel counts of large regions leave int64.
        by_chance = sum(t * p for t, p in zip(truths, predictions, strict=True))
        return _ratio(total * int(self.matrix.trace()) - by_chance, total**2 - by_chance)


@dataclass(frozen=True)
class ScoreHistogram:
    """Scores in [0, 1] of negative and positive pixels, in bins. Histograms add up.

    Stands for the whole precision-recall curve without keeping a pixel.
    """

    counts: NDArray[np.int64]
    """int64 [2, bins]: row 0 = negative pixels, row 1 = positive pixels."""

    @classmethod
    def empty(cls, num_bins: int = NUM_BINS) -> "ScoreHistogram":
        """No pixel yet."""
        return cls(np.zeros((2, num_bins), np.int64))

    @classmethod
    def of(
        cls, score: NDArray[np.floating], label: NDArray[np.integer], num_bins: int = NUM_BINS
    ) -> "ScoreHistogram":
        """Histogram of pixels [...]: label 1 is positive, 0 negative, `IGNORE` not counted."""
        counted = label != IGNORE
        # The small shift keeps a score that was rounded to a bin's edge in the bin above it.
        bins = np.floor(score[counted].astype(np.float64) * num_bins + 1e-3).astype(np.int64)
        flat = label[counted].astype(np.int64) * num_bins + np.clip(bins, 0, num_bins - 1)
        counts = np.bincount(flat, minlength=2 * num_bins)
        return cls(counts.reshape(2, num_bins).astype(np.int64))

    def __add__(self, other: "ScoreHistogram") -> "ScoreHistogram":
        return ScoreHistogram(self.counts + other.counts)

    @property
    def num_positives(self) -> int:
        """Pixels that truly are positive."""
        return int(self.counts[1].sum())

    def precision_recall(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Precision and recall [bins] of the thresholds k / bins; positive = score ≥ threshold.

        Precision is 1 where nothing is positive.
        """
        negative, positive = self._at_or_above()
        predicted = negative + positive
        precision = np.where(predicted > 0, positive / np.maximum(predicted, 1), 1.0)
        return precision, positive / max(self.num_positives, 1)

    @property
    def roc_auc(self) -> float | None:
        """Area under the ROC curve: how often a positive pixel has a higher score than a negative
        one, scores of one bin counting half. None without pixels of either."""
        negative, positive = self.counts.astype(np.float64)
        pairs = negative.sum() * positive.sum()
        below = np.cumsum(negative) - negative / 2
        return float(positive @ below / pairs) if pairs else None

    @property
    def average_precision(self) -> float | None:
        """Mean precision over recall, a step for each bin; None without a positive pixel."""
        if not self.num_positives:
            return None
        precision, _ = self.precision_recall()
        return float(precision @ self.counts[1] / self.num_positives)

    def f1(self) -> NDArray[np.float64]:
        """F1 of the positive pixels [bins] at each threshold k / bins."""
        negative, positive = self._at_or_above()
        return 2 * positive / np.maximum(negative + positive + self.num_positives, 1)

    def best_f1(self) -> float:
        """The highest F1 of the positive pixels at any threshold."""
        return float(self.f1().max())

    def best_threshold(self) -> float:
        """The threshold of the highest F1; the middle one of those that are equally high."""
        return self._middle(self.f1() == self.best_f1())

    def best_f1_error(self) -> float:
        """Standard error of the highest F1, taken as a share of as many positive pixels."""
        best, count = self.best_f1(), max(self.num_positives, 1)
        share = (count * best + 1) / (count + 2)  # Laplace: a perfect score has an error, too
        return math.sqrt(share * (1 - share) / count)

    def robust_threshold(self) -> float:
        """The middle of the thresholds whose F1 is within one standard error of the highest.

        A small or easy part has a wide plateau on which the highest point is chance and may lie at
        the very edge, where another place would fall off. It narrows to the highest point as
        positive pixels grow in number.
        """
        return self._middle(self.f1() >= self.best_f1() - self.best_f1_error())

    def confusion_at(self, threshold: float) -> ConfusionCounts:
        """What is right and wrong at a threshold that is a multiple of 1 / bins."""
        first = round(threshold * self.counts.shape[1])
        above = self.counts[:, first:].sum(axis=1)
        return ConfusionCounts(np.stack([self.counts.sum(axis=1) - above, above], axis=1))

    def _middle(self, chosen: NDArray[np.bool_]) -> float:
        indices = np.flatnonzero(chosen)
        return int(indices[len(indices) // 2]) / len(chosen)

    def _at_or_above(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        negative, positive = np.cumsum(self.counts[:, ::-1], axis=1)[:, ::-1]
        return negative, positive


def block_bootstrap_f1(
    blocks: NDArray[np.int64], value: int, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of the F1 of class `value` over spatial blocks.

    `blocks` [block, K, K] are the confusion counts of each block. Neighbouring pixels are alike, so
    whole blocks are drawn with replacement, not pixels.
    """
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(blocks), size=(draws, len(blocks)))
    hit = blocks[:, value, value]
    either = blocks[:, value, :].sum(axis=1) + blocks[:, :, value].sum(axis=1)
    totals = np.maximum(either[chosen].sum(axis=1), 1)
    f1 = 2 * hit[chosen].sum(axis=1) / totals
    low, high = np.percentile(f1, [2.5, 97.5])
    return float(low), float(high)


def block_bootstrap_kappa(
    blocks: NDArray[np.int64], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """The 95 % percentile interval of kappa over spatial blocks; see `block_bootstrap_f1`.

    Draws in which a single class is true count nowhere. None if all are.
    """
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(blocks), size=(draws, len(blocks)))
    weights = np.stack([np.bincount(draw, minlength=len(blocks)) for draw in chosen])
    totals = np.tensordot(weights, blocks, axes=1).astype(np.float64)
    true, given = totals.sum(axis=2), totals.sum(axis=1)
    telling = (true > 0).sum(axis=1) > 1
    if not telling.any():
        return None
    pixels = true.sum(axis=1)
    by_chance = (true * given).sum(axis=1) / np.maximum(pixels, 1) ** 2
    agreed = np.trace(totals, axis1=1, axis2=2) / np.maximum(pixels, 1)
    kappa = (agreed - by_chance)[telling] / (1 - by_chance)[telling]
    low, high = np.percentile(kappa, [2.5, 97.5])
    return float(low), float(high)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0
