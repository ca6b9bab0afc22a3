"""Multivariate alteration detection (MAD): combinations of bands in which two dates differ most.

The variates do not depend on gain and offset of either date, nor on any linear mixture of its
bands. A. A. Nielsen, K. Conradsen, J. J. Simpson, Remote Sensing of Environment 64 (1998); A. A.
Nielsen, "The regularized iteratively reweighted MAD method", IEEE TIP 16 (2007).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from noise2map_core.models.spec import (
    CONTRAST_PX,
    EDGE_PX,
    LIKENESS_PX,
    MEANS_PX,
    RANK_LEVELS,
    RANK_STEP,
    TEXTURE_PX,
    TRUNCATE,
    note_size,
)

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
LEVELS = 1 - 10 ** -(RANK_STEP * np.arange(RANK_LEVELS))
"""Ranks from 0 on of which a pair notes what has them."""
SAMPLE_STEP = 2
"""Of windows every so many rows and columns are ranked."""

PairWindow = tuple[NDArray[np.generic], NDArray[np.bool_]]
"""A pair in a window: image [date, band, y, x] and what is observed at both dates [y, x]."""


def pair_alteration(
    before: NDArray[np.generic], after: NDArray[np.generic], *, windows: Sequence[PairWindow]
) -> Floats:
    """What is noted of a pair [variate + 1, 2 · band + 1 + trace · level], one row for each variate
    and one for all together: matrix and offset of the MAD variates, of the last row those of the
    difference of brightness, then the values of each of the row's traces (`_traces`) that have the
    ranks `LEVELS`.

    The variates are those of pixels [band, pixel] that are observed at both dates, the ranks those
    in the pair's windows. NaN where there are too few, or a band does not vary: nobody can say what
    has not changed.
    """
    size = len(before)
    note = np.full(note_size(size), np.nan)
    if before.shape[1] < LEAST_PIXELS:
        return note
    first, last = (date.T.astype(np.float64) for date in (before, after))
    spread = np.stack([first.std(axis=0), last.std(axis=0)])
    if not (spread > 0).all():
        return note
    matrix, offset = alteration_matrix(first, last)
    brightness = (np.array([[-1.0], [1.0]]) / spread / size).reshape(1, -1)
    rows = np.concatenate([matrix, brightness])
    note[:, : 2 * size] = rows
    note[:, 2 * size] = [*offset, 0.0]
    note[:, 2 * size + 1 :] = _values_of_ranks(rows, offset, windows)
    return note


def _values_of_ranks(rows: Floats, offset: Floats, windows: Sequence[PairWindow]) -> Floats:
    """[variate + 1, trace · level]"""
    few = (..., slice(None, None, SAMPLE_STEP), slice(None, None, SAMPLE_STEP))
    traces = [_traces(rows, offset, image, valid)[few][..., valid[few]] for image, valid in windows]
    values = np.quantile(np.concatenate(traces, axis=-1), LEVELS, axis=-1)
    return np.moveaxis(values, 0, -1).reshape(len(rows), -1)


def _traces(
    rows: Floats, offset: Floats, image: NDArray[np.generic], valid: NDArray[np.bool_]
) -> Floats:
    """What tells of change around each pixel [variate + 1, trace, y, x]: the size of each variate,
    and of all, in every window's mean; how unlike the two dates are; how the texture of the one
    differs from that of the other; how much texture there is.

    `rows` [variate + 1, 2 · band]. `models.alteration.traces` is the same for networks.
    """
    bands = np.where(valid, image, 0).reshape(2, -1, valid.size).astype(np.float64)
    parts = np.moveaxis(rows.reshape(len(rows), 2, -1), 1, 0) @ bands
    before, after = (part.reshape(-1, *valid.shape) for part in (-parts[0], parts[1]))
    variates = (after - before)[:-1] + offset[:, None, None]
    length = np.square(variates).sum(axis=0, keepdims=True)
    sizes = np.log1p(np.concatenate([np.abs(variates), length]))
    edges = [_edges(part, valid) for part in (before, after)]
    return np.stack(
        [
            *(_mean(sizes, valid, sigma) if sigma else sizes for sigma in MEANS_PX),
            *(-_correlation(before, after, valid, sigma) for sigma in LIKENESS_PX),
            np.abs(_mean(edges[1] - edges[0], valid, CONTRAST_PX)),
            _mean(edges[0] + edges[1], valid, TEXTURE_PX),
        ],
        axis=1,
    )


def _mean(parts: Floats, valid: NDArray[np.bool_], sigma: float) -> Floats:
    """Gaussian means [part, y, x] over what is observed."""
    from scipy import ndimage  # slow to import, and workers do without

    total, weight = (
        ndimage.gaussian_filter(one, sigma, mode="constant", truncate=TRUNCATE, axes=(-2, -1))
        for one in (np.where(valid, parts, 0.0), valid.astype(np.float64))
    )
    return np.asarray(total / np.maximum(weight, 1e-6))


def _correlation(one: Floats, other: Floats, valid: NDArray[np.bool_], sigma: float) -> Floats:
    mean, square = _mean(one, valid, sigma), _mean(one * one, valid, sigma)
    others, others_square = _mean(other, valid, sigma), _mean(other * other, valid, sigma)
    covariance = _mean(one * other, valid, sigma) - mean * others
    variances = (square - mean**2) * (others_square - others**2)
    return covariance / np.sqrt(np.maximum(variances, 1e-6))


def _edges(parts: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Lengths of the gradients."""
    return np.hypot(*np.gradient(_mean(parts, valid, EDGE_PX), axis=(-2, -1)))
