"""How far a probability can be believed, and the temperature that mends it. numpy, scipy.

Both are gathered batch by batch as sums that add up over batches and workers; no pixel is kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from noise2map_core.learning.metrics import IGNORE

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

        An end of the scan where the likelihood rises to it: every pixel right, or none.
        """
        if not self.num_pixels:
            return 1.0
        spline = CubicSpline(LOG_TEMPERATURES, self.nll)
        ends = LOG_TEMPERATURES[[0, -1]]
        turning = spline.derivative().roots(discontinuity=False, extrapolate=False)
        candidates = np.concatenate([ends, turning[np.isfinite(turning)]])
        return float(np.exp(candidates[spline(candidates).argmin()]))
