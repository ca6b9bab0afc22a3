"""How far a probability can be believed, and the temperature that mends it. numpy, scipy.

Both are gathered batch by batch as sums that add up over batches and workers; no pixel is kept.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar
from scipy.special import expit

from noise2map_core.learning.metrics import IGNORE, ScoreHistogram
from noise2map_core.learning.metrics import NUM_BINS as SCORE_BINS

NUM_BINS = 15
"""Bins of a reliability table, as in Guo et al. (2017)."""

LOG_TEMPERATURES = np.linspace(np.log(1 / 16), np.log(16), 33)
"""Where the likelihood is summed: four temperatures to each doubling, from 1/16 to 16."""


@dataclass(frozen=True, slots=True)
class ReliabilityRow:
    """Pixels whose score lies in [low, high); the last bin holds 1, too."""

    low: float
    high: float
    pixels: int
    score: float
    """Their mean score."""
    frequency: float
    """How often what the score promises is so."""


@dataclass(frozen=True)
class ReliabilityBins:
    """Pixels by score, in equal bins of [0, 1]: how sure, and how often right. Bins add up."""

    sums: NDArray[np.float64]
    """float64 [3, bins]: pixels, sum of their scores, pixels where it was so."""

    @classmethod
    def empty(cls, num_bins: int = NUM_BINS) -> "ReliabilityBins":
        """No pixel yet."""
        return cls(np.zeros((3, num_bins)))

    @classmethod
    def of(
        cls, score: NDArray[np.floating], label: NDArray[np.integer], num_bins: int = NUM_BINS
    ) -> "ReliabilityBins":
        """Bins of pixels [...]: label 1 where what `score` promises is so, 0 where not.

        `IGNORE` is not counted. For change: the probability of change, and the change label.
        """
        counted = label != IGNORE
        values, happened = score[counted].astype(np.float64), label[counted]
        bins = np.clip((values * num_bins).astype(np.int64), 0, num_bins - 1)
        weights = (np.ones_like(values), values, happened.astype(np.float64))
        return cls(np.stack([np.bincount(bins, w, num_bins) for w in weights]))

    @classmethod
    def of_winner(
        cls, probability: NDArray[np.floating], label: NDArray[np.integer], num_bins: int = NUM_BINS
    ) -> "ReliabilityBins":
        """Bins of the winning class's `probability` [B, K, H, W] against `label` [B, H, W]."""
        right = np.where(label == IGNORE, IGNORE, probability.argmax(axis=1) == label)
        return cls.of(probability.max(axis=1), right, num_bins)

    def __add__(self, other: "ReliabilityBins") -> "ReliabilityBins":
        return ReliabilityBins(self.sums + other.sums)

    @property
    def expected_calibration_error(self) -> float:
        """Guo et al. (2017), eq. 3: mean |frequency - score|, bins weighing as many pixels as they
        hold. In [0, 1]; 0 without a pixel."""
        pixels, score, happened = self.sums
        return float(np.abs(happened - score).sum() / max(pixels.sum(), 1.0))

    def table(self) -> list[ReliabilityRow]:
        """The bins that hold a pixel, by score."""
        edges = np.linspace(0, 1, self.sums.shape[1] + 1)
        return [
            ReliabilityRow(float(low), float(high), int(pixels), score / pixels, happened / pixels)
            for low, high, (pixels, score, happened) in zip(
                edges[:-1], edges[1:], self.sums.T.tolist(), strict=True
            )
            if pixels
        ]


@dataclass(frozen=True)
class TemperatureScan:
    """Negative log likelihood of labelled pixels at each of `LOG_TEMPERATURES`. Scans add up.

    Holds for any number of classes what a temperature needs (Guo et al. 2017, sec. 4.2): a curve so
    smooth that a spline through these points finds its minimum. Dividing logits by a temperature
    never changes which class wins.
    """

    num_pixels: int
    nll: NDArray[np.float64]
    """float64 [temperature]: sums over the pixels, nats."""

    @classmethod
    def empty(cls) -> "TemperatureScan":
        """No pixel yet."""
        return cls(0, np.zeros(len(LOG_TEMPERATURES)))

    @classmethod
    def of(cls, logits: NDArray[np.floating], label: NDArray[np.integer]) -> "TemperatureScan":
        """The scan of `logits` [B, K, H, W] at temperature 1; label `IGNORE` is not counted."""
        counted = label != IGNORE
        pixels = np.moveaxis(logits, 1, 0)[:, counted].astype(np.float64)
        true = np.take_along_axis(pixels, label[counted].astype(np.int64)[None], axis=0)
        ahead = pixels - true  # how far each class is ahead of the true one, [K, pixel]
        sums = [np.logaddexp.reduce(ahead / t).sum() for t in np.exp(LOG_TEMPERATURES)]
        return cls(pixels.shape[1], np.array(sums, np.float64))

    def __add__(self, other: "TemperatureScan") -> "TemperatureScan":
        return TemperatureScan(self.num_pixels + other.num_pixels, self.nll + other.nll)

    def mean_nll(self, temperature: float = 1.0) -> float:
        """Mean negative log likelihood of a pixel, nats, at a temperature within the scan."""
        spline = CubicSpline(LOG_TEMPERATURES, self.nll / max(self.num_pixels, 1))
        return float(spline(np.log(temperature)))

    def best_temperature(self) -> float:
        """The temperature of the highest likelihood, above 0; 1 without a pixel.

        Cut to `TEMPERATURE_RANGE`, where its ends are: every pixel right, or none.
        """
        if not self.num_pixels:
            return 1.0
        spline = CubicSpline(LOG_TEMPERATURES, self.nll)
        ends = LOG_TEMPERATURES[[0, -1]]
        turning = spline.derivative().roots(discontinuity=False, extrapolate=False)
        candidates = np.concatenate([ends, turning[np.isfinite(turning)]])
        best = np.exp(candidates[spline(candidates).argmin()])
        return float(np.clip(best, *TEMPERATURE_RANGE))


MARGIN_BINS = 4096
MAX_MARGIN = 32.0
"""Margins of two classes' logits are kept to 1/64, and cut at this size."""

TEMPERATURE_RANGE = (0.25, 16.0)
"""A temperature is sought in here: where validation makes no error, the likelihood alone would
sharpen without end."""


@dataclass(frozen=True)
class MarginHistogram:
    """How far the second of two classes is ahead of the first, of the pixels of either.

    Temperature, threshold, precision-recall curve and reliability all follow from it, so that one
    pass over a validation part is enough. Histograms add up.
    """

    counts: NDArray[np.int64]
    """int64 [2, bins]: row = true class; bins of the margin from -32 to 32."""

    @classmethod
    def empty(cls) -> "MarginHistogram":
        """No pixel yet."""
        return cls(np.zeros((2, MARGIN_BINS), np.int64))

    @classmethod
    def of(cls, logits: NDArray[np.floating], label: NDArray[np.integer]) -> "MarginHistogram":
        """Of `logits` [B, 2, H, W] at temperature 1; label `IGNORE` is not counted."""
        counted = label != IGNORE
        margin = (logits[:, 1].astype(np.float64) - logits[:, 0])[counted]
        bins = ((margin / MAX_MARGIN + 1) / 2 * MARGIN_BINS).astype(np.int64)
        flat = label[counted].astype(np.int64) * MARGIN_BINS + np.clip(bins, 0, MARGIN_BINS - 1)
        counts = np.bincount(flat, minlength=2 * MARGIN_BINS)
        return cls(counts.reshape(2, MARGIN_BINS).astype(np.int64))

    def __add__(self, other: "MarginHistogram") -> "MarginHistogram":
        return MarginHistogram(self.counts + other.counts)

    @property
    def num_pixels(self) -> int:
        """All pixels that were counted."""
        return int(self.counts.sum())

    def temperature(self) -> float:
        """The temperature of the highest likelihood within `TEMPERATURE_RANGE`; 1 without a pixel.

        Guo et al. (2017), sec. 4.2.
        """
        if not self.counts.any():
            return 1.0
        low, high = np.log(TEMPERATURE_RANGE)
        found = minimize_scalar(
            lambda log_t: self.mean_nll(float(np.exp(log_t))), bounds=(low, high), method="bounded"
        )
        return float(np.exp(found.x))

    def mean_nll(self, temperature: float = 1.0) -> float:
        """Mean negative log likelihood of a pixel, nats."""
        margin = _margins() / temperature
        total = self.counts[0] @ np.logaddexp(0, margin) + self.counts[1] @ np.logaddexp(0, -margin)
        return float(total / max(self.counts.sum(), 1))

    def scores(self, temperature: float = 1.0, num_bins: int = SCORE_BINS) -> ScoreHistogram:
        """The histogram of the second class's probability."""
        probability = _sigmoid(_margins() / temperature)
        bins = np.clip((probability * num_bins).astype(np.int64), 0, num_bins - 1)
        rows = [np.bincount(bins, row, num_bins) for row in self.counts]
        return ScoreHistogram(np.stack(rows).astype(np.int64))

    def reliability(self, temperature: float = 1.0, num_bins: int = NUM_BINS) -> ReliabilityBins:
        """How far the second class's probability can be believed."""
        probability = _sigmoid(_margins() / temperature)
        bins = np.clip((probability * num_bins).astype(np.int64), 0, num_bins - 1)
        pixels = self.counts.sum(axis=0)
        weights = (pixels, pixels * probability, self.counts[1])
        return ReliabilityBins(np.stack([np.bincount(bins, w, num_bins) for w in weights]))


Scan = TypeVar("Scan", MarginHistogram, TemperatureScan)

LEAST_GAIN = 1e-3
"""Part of the negative log likelihood by which a temperature must lower it to be worth having."""


def temperature_helps(one: Scan, other: Scan) -> bool:
    """True if a temperature that either half of the pixels asks for is better for the other half.

    Better: more likely labels and, of two classes, no larger calibration error. False where a half
    has no pixel: then nothing can be said.
    """
    if not (one.num_pixels and other.num_pixels):
        return False
    crossed = ((_best(one), other), (_best(other), one))
    before, after = (
        sum(half.num_pixels * half.mean_nll(t if fitted else 1.0) for t, half in crossed)
        for fitted in (False, True)
    )
    if after > before * (1 - LEAST_GAIN):
        return False
    if isinstance(one, TemperatureScan) or isinstance(other, TemperatureScan):
        return True
    errors = [
        sum(
            (half.reliability(t if fitted else 1.0) for t, half in crossed), ReliabilityBins.empty()
        )
        for fitted in (False, True)
    ]
    return errors[1].expected_calibration_error <= errors[0].expected_calibration_error


def _best(scan: MarginHistogram | TemperatureScan) -> float:
    return scan.temperature() if isinstance(scan, MarginHistogram) else scan.best_temperature()


def _margins() -> NDArray[np.float64]:
    """The middle of each bin."""
    return ((np.arange(MARGIN_BINS) + 0.5) / MARGIN_BINS * 2 - 1) * MAX_MARGIN


def _sigmoid(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(expit(value))
