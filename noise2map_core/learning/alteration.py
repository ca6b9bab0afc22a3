"""Multivariate alteration detection (MAD): combinations of bands in which two dates differ most.

The variates do not depend on gain and offset of either date, nor on any linear mixture of its
bands. A. A. Nielsen, K. Conradsen, J. J. Simpson, Remote Sensing of Environment 64 (1998); A. A.
Nielsen, "The regularized iteratively reweighted MAD method", IEEE TIP 16 (2007).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Weigh = Callable[[Floats, int], Floats]
"""Weights of pixels by their squared distances from no change, over so many variates."""

DEGREES_OF_FREEDOM = 2.0
"""Of the multivariate t distribution behind `t_weights`."""
LEAST_WEIGHT = 1e-3
MAX_ITERATIONS = 30
SAME_CORRELATIONS = 1e-3
"""The iteration ends when no canonical correlation moves by more."""
RIDGE = 1e-6
"""Of the mean variance, added to each: bands may repeat one another."""


def t_weights(distance: Floats, size: int) -> Floats:
    """Of a multivariate t distribution: what has changed counts little, and nothing is cut off."""
    return (DEGREES_OF_FREEDOM + size) / (DEGREES_OF_FREEDOM + distance)


def no_change_weights(distance: Floats, size: int) -> Floats:
    """The probability of no change, as IR-MAD has it. Where most of a scene has changed with the
    season these let go of all but a few pixels, which then say what no change is."""
    from scipy.special import chdtrc  # slow to import, and workers do without

    return np.maximum(chdtrc(size, distance), LEAST_WEIGHT)


def alteration_matrix(
    before: Floats, after: Floats, weigh: Weigh = t_weights
) -> tuple[Floats, Floats]:
    """Matrix [variate, 2 · band] and offset [variate] of standardised MAD variates.

    matrix @ (before, after) + offset has mean 0 and, over pixels that did not change, variance 1.
    From samples [pixel, band] of which every band varies at both dates.
    """
    samples = np.hstack([before, after]).T
    mean, std = samples.mean(axis=1), samples.std(axis=1)
    both = (samples - mean[:, None]) / std[:, None]
    size, weight, last = len(both) // 2, np.ones(both.shape[1]), np.zeros(len(both) // 2)
    for _ in range(MAX_ITERATIONS):
        centre = both @ weight / weight.sum()
        centred = both - centre[:, None]
        covariance = (centred * weight) @ centred.T / weight.sum()
        a, b, correlations = canonical_vectors(covariance + RIDGE * np.eye(2 * size))
        matrix = np.hstack([-a.T, b.T])
        variates = matrix @ centred
        spread = np.sqrt((np.square(variates) * weight).sum(axis=1) / weight.sum())
        distance = np.square(variates / spread[:, None]).sum(axis=0)
        weight = weigh(distance, size)
        if np.abs(correlations - last).max() < SAME_CORRELATIONS:
            break
        last = correlations
    matrix = matrix / spread[:, None] / std
    return matrix, -matrix @ (mean + std * centre)


def canonical_vectors(covariance: Floats) -> tuple[Floats, Floats, Floats]:
    """Canonical vectors a, b [band, variate] and their rising correlations (Nielsen 2007, eq. 1-5).

    `covariance` [2 · band, 2 · band]: of the bands before, then after; regular.
    """
    from scipy import linalg  # slow to import, and workers do without

    size = len(covariance) // 2
    s11, s22, s12 = covariance[:size, :size], covariance[size:, size:], covariance[:size, size:]
    squares, a = linalg.eigh(s12 @ linalg.solve(s22, s12.T, assume_a="sym"), s11)
    correlations = np.sqrt(squares.clip(1e-12, 1 - 1e-9))
    return a, linalg.solve(s22, s12.T @ a, assume_a="sym") / correlations, correlations


def vector_matrix(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """Matrix [band, 2 · band] and offset [band] of the change vector (Malila 1980).

    It is the difference of the bands, each z-scored per date. From samples as above.
    """
    samples = np.hstack([before, after]).T
    mean, std = samples.mean(axis=1), samples.std(axis=1)
    size = before.shape[1]
    matrix = np.hstack([-np.eye(size), np.eye(size)]) / std
    return matrix, -matrix @ mean


LEAST_PIXELS = 1024
"""Fewer say nothing of a pair."""


def pair_alteration(before: NDArray[np.generic], after: NDArray[np.generic]) -> Floats:
    """Matrix and offset [variate, 2 · band + 1] of the MAD variates of a pair, from pixels
    [band, pixel] that are observed at both dates.

    NaN where there are too few, or a band does not vary: nobody can say what has not changed.
    """
    size = len(before)
    unknown = np.full((size, 2 * size + 1), np.nan)
    if before.shape[1] < LEAST_PIXELS:
        return unknown
    first, last = (date.T.astype(np.float64) for date in (before, after))
    if not (first.std(axis=0) > 0).all() or not (last.std(axis=0) > 0).all():
        return unknown
    matrix, offset = alteration_matrix(first, last)
    return np.hstack([matrix, offset[:, None]])
