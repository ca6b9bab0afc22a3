"""What a statistic of change looks like where nothing changed, and how far a value stands out.

Most of a pair has not changed, and what has lies above: the lower half of the distribution of the
statistic is that of no change, whose logarithm is taken as normal. What stands above it is change:
its share of each value is the local false discovery rate's complement (B. Efron, "Large-scale
simultaneous hypothesis testing", JASA 99 (2004)).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import log_ndtr, ndtr, ndtri
from sklearn.isotonic import isotonic_regression

Floats = NDArray[np.float64]

ONE_SIGMA = float(ndtr(-1.0))
ROUNDS = 10
"""Changed pixels shift the quantiles that the fit rests on; their share is taken off, so often."""
NUM_BINS = 256
SMOOTH_BINS = 3.0
"""The histogram of the sample is smoothed by a Gaussian of so many bins."""
LEAST = 0.05
"""Probability that the rarest value gets even where nothing stands out: a threshold may lie where
change is improbable everywhere."""
DECADES = 6.0
"""False-alarm rates down to ten to minus this are told apart."""
CHANGED_AT_MOST = 0.45


@dataclass(frozen=True)
class NullModel:
    """The distribution of a statistic u without change: log u is normal."""

    centre: float
    spread: float
    share: float
    """Of all pixels."""

    def standardised(self, log_u: Floats) -> Floats:
        """Standard deviations above the centre."""
        return (log_u - self.centre) / self.spread

    def value_of(self, false_alarms: float) -> float:
        """The log u that so large a share of unchanged pixels lies above."""
        return float(self.centre - self.spread * ndtri(false_alarms))


def fit_null(log_u: Floats) -> NullModel:
    """Centre and spread from the lower half of the unchanged pixels of a sample [pixel]."""
    changed = 0.0
    for _ in range(ROUNDS):
        part = 1 - changed
        centre, low = np.quantile(log_u, [0.5 * part, ONE_SIGMA * part])
        null = NullModel(float(centre), float(max(centre - low, 1e-6)), part)
        changed = min(CHANGED_AT_MOST, _excess(log_u, null))
    return null


def _excess(log_u: Floats, null: NullModel) -> float:
    """The share of pixels beyond what the null explains."""
    above = float((null.standardised(log_u) > 2).mean())
    expected = float(ndtr(-2.0))
    return max(0.0, (above - expected) / (1 - expected))


@dataclass(frozen=True)
class Posterior:
    """Probability of change by log u: straight lines between knots."""

    log_u: tuple[float, ...]
    probability: tuple[float, ...]

    def of(self, log_u: NDArray[np.floating]) -> NDArray[np.float32]:
        """Probability of change; of values beyond the knots that of the outermost."""
        return np.interp(log_u, self.log_u, self.probability).astype(np.float32)


def fit_posterior(log_u: Floats, null: NullModel) -> Posterior:
    """Probability of change from a sample [pixel] and what no change looks like. Rises strictly."""
    counts, edges = np.histogram(log_u, NUM_BINS)
    found = ndimage.gaussian_filter1d(counts.astype(np.float64), SMOOTH_BINS)
    cumulative = ndtr(null.standardised(edges))
    expected = ndimage.gaussian_filter1d(np.diff(cumulative) * null.share * len(log_u), SMOOTH_BINS)
    middle = (edges[:-1] + edges[1:]) / 2
    share = np.where(middle > null.centre, 1 - expected / np.maximum(found, 1e-9), 0.0)
    share = isotonic_regression(share.clip(0, 1), sample_weight=found + 1e-9)
    decades = -log_ndtr(-null.standardised(middle)) / np.log(10)
    rising = share + (1 - share) * LEAST * np.minimum(decades / DECADES, 1.0)
    return Posterior(tuple(middle.tolist()), tuple(rising.tolist()))
