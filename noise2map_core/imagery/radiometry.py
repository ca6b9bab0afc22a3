"""Relative normalisation of one date to another.

Iteratively re-weighted multivariate alteration detection finds the pixels that did not change;
orthogonal regression over these gives gain and offset per band. After A. A. Nielsen, "The
regularized iteratively reweighted MAD method", IEEE TIP 16 (2007), and M. J. Canty and A. A.
Nielsen, "Automatic radiometric normalization of multitemporal satellite imagery with the
iteratively re-weighted MAD transformation", Remote Sensing of Environment 112 (2008).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.imagery.convention import clipped
from noise2map_core.imagery.recipe import Correction
from noise2map_core.learning.alteration import canonical_vectors

MAX_ITERATIONS = 50
SAME_CORRELATIONS = 1e-3
"""The iteration ends when no canonical correlation moves by more."""

INVARIANT_FROM = 0.95
"""Probability of no change from which a pixel counts as pseudo-invariant …"""
INVARIANT_SHARE = 0.05
"""… or, if these are too few, the best of this share."""

MIN_PIXELS = 500
"""With fewer pixels seen at both dates nothing is estimated."""

GAIN_RANGE = (0.2, 5.0)
"""A gain beyond says that the pixels hardly correlate, not that the light differs."""

KNOTS = 129
"""Quantiles that a histogram is matched at."""

Samples = NDArray[np.float64]
Knots = tuple[tuple[tuple[float, float], ...], ...]
"""Per band: (number, new number)."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What was estimated from samples of both dates."""

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    """Per band: after, in the numbers of before = gain · after + offset."""
    invariant: NDArray[np.bool_]
    """[pixel] the pseudo-invariant ones."""
    rmse_before: tuple[float, ...]
    """Per band, root mean square difference of the invariant pixels as they are …"""
    rmse_after: tuple[float, ...]
    """… and normalised."""


def no_change_probability(before: Samples, after: Samples) -> NDArray[np.float64]:
    """Probability [pixel] of no change, from the IR-MAD of samples [pixel, band].

    Invariant to gain and offset of either date. Bands that do not vary are left out.
    """
    from scipy.special import chdtrc  # slow to import, and workers do without

    keep = (before.std(axis=0) > 0) & (after.std(axis=0) > 0)
    both = np.ascontiguousarray(np.hstack([before[:, keep], after[:, keep]]).T)
    num_bands = int(keep.sum())
    weight = np.ones(len(before))
    if not num_bands:
        return weight
    last = np.zeros(num_bands)
    for _ in range(MAX_ITERATIONS):
        variates, correlations = _mad(both, weight)
        variance = np.maximum(2 * (1 - correlations), 1e-9)
        weight = chdtrc(num_bands, (np.square(variates) / variance[:, None]).sum(axis=0))
        if weight.sum() < MIN_PIXELS / 10 or np.abs(correlations - last).max() < SAME_CORRELATIONS:
            break
        last = correlations
    return weight


def _mad(
    both: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """MAD variates [band, pixel] and canonical correlations. `both` [2 · band, pixel]."""
    size, total = len(both) // 2, weight.sum()
    centred = both - (both @ weight / total)[:, None]
    covariance = (centred * weight) @ centred.T / total
    a, b, correlations = canonical_vectors(covariance + 1e-9 * np.diag(np.diag(covariance)))
    return a.T @ centred[:size] - b.T @ centred[size:], correlations


def orthogonal_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Gain and offset of y on x by orthogonal regression: both have noise (Canty 2008, eq. 6)."""
    covariance = np.cov(x, y)
    s_xx, s_yy, s_xy = covariance[0, 0], covariance[1, 1], covariance[0, 1]
    gain = (s_yy - s_xx + np.hypot(s_yy - s_xx, 2 * s_xy)) / (2 * s_xy) if s_xy else 1.0
    return float(gain), float(y.mean() - gain * x.mean())


def estimate_normalisation(before: Samples, after: Samples) -> Normalisation | None:
    """Gain and offset per band from samples [pixel, band] that are valid at both dates.

    None if there are too few pixels, or the dates do not correlate.
    """
    if len(before) < MIN_PIXELS:
        return None
    invariant = _invariant(no_change_probability(before, after))
    x, y = after[invariant], before[invariant]
    lines = [orthogonal_line(x[:, band], y[:, band]) for band in range(x.shape[1])]
    if not all(GAIN_RANGE[0] < gain < GAIN_RANGE[1] for gain, _ in lines):
        return None
    gain, offset = (tuple(part) for part in zip(*lines, strict=True))
    return Normalisation(gain, offset, invariant, _rmse(x, y), _rmse(x * gain + offset, y))


def _invariant(probability: NDArray[np.float64]) -> NDArray[np.bool_]:
    enough = max(MIN_PIXELS // 10, int(INVARIANT_SHARE * len(probability)))
    limit = min(INVARIANT_FROM, float(np.partition(probability, -enough)[-enough]))
    chosen: NDArray[np.bool_] = probability >= limit
    return chosen


def _rmse(x: Samples, y: Samples) -> tuple[float, ...]:
    return tuple(float(value) for value in np.sqrt(np.square(x - y).mean(axis=0)))


def match_histograms(
    before: Samples, after: Samples
) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Knots per band that give `after` [pixel, band] the distribution of `before`."""
    shares = np.linspace(0, 1, KNOTS)
    bands = []
    for band in range(before.shape[1]):
        numbers, first = np.unique(np.quantile(after[:, band], shares), return_index=True)
        last = np.append(first[1:], KNOTS) - 1
        share = (shares[first] + shares[last]) / 2  # numbers that repeat: the middle of their step
        wanted = np.quantile(before[:, band], share)
        bands.append(tuple(zip(numbers.tolist(), wanted.tolist(), strict=True)))
    return tuple(bands)


def corrected(
    image: NDArray[Any], valid: NDArray[np.bool_], correction: Correction, nodata: float | None
) -> NDArray[Any]:
    """Image [band, H, W] in the numbers of the first date, rounded and clipped to its dtype.

    What is not valid stays; what is never becomes `nodata`.
    """
    if not correction.gain and not correction.knots:
        return image
    made = np.empty_like(image)
    for band, pixels in enumerate(image):
        if image.dtype.kind == "u" and image.dtype.itemsize <= 2:
            numbers = np.arange(np.iinfo(image.dtype).max + 1)
            table = clipped(_mapped(numbers, correction, band), image.dtype, nodata)
            made[band] = table[pixels]
        else:
            made[band] = clipped(_mapped(pixels, correction, band), image.dtype, nodata)
    return np.where(valid, made, image)


def _mapped(numbers: NDArray[Any], correction: Correction, band: int) -> NDArray[np.float64]:
    if correction.knots:
        return np.interp(numbers, *np.transpose(correction.knots[band]))
    mapped: NDArray[np.float64] = correction.gain[band] * numbers + correction.offset[band]
    return mapped
