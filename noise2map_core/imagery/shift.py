"""Shift between two pictures of one place, to a fraction of a pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.registration import phase_cross_correlation

UPSAMPLE = 100
"""Shifts are found to 1/UPSAMPLE of a pixel."""

MIN_SEEN = 0.9
"""A window says nothing unless this share of it is seen at both dates."""

AGREE_PX = 1.0
"""Windows farther from their median than this are not counted as agreeing."""

MAX_SHIFT_PX = 16.0
"""A larger shift is no misregistration: the windows show different things."""


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much the second picture lies off the first."""

    rows: float
    cols: float
    windows: int
    """How many windows agree on it."""
    of: int
    """How many could have."""

    @property
    def length(self) -> float:
        """Pixels."""
        return float(np.hypot(self.rows, self.cols))


def window_shift(before: NDArray[Any], after: NDArray[Any]) -> tuple[float, float]:
    """Rows and columns by which `after` [H, W] lies off `before`, by phase correlation.

    Both are filtered to their edges and tapered first, so that light and frame do not count.
    """
    frame = np.outer(*(np.hanning(size) for size in before.shape))
    one, other = (_edges(picture) * frame for picture in (before, after))
    moved, _, _ = phase_cross_correlation(other, one, upsample_factor=UPSAMPLE, normalization=None)
    return float(moved[0]), float(moved[1])


def _edges(picture: NDArray[Any]) -> NDArray[np.float64]:
    """A band-pass: details of one to several pixels, in units of the local contrast."""
    numbers = picture.astype(np.float64)
    fine = ndimage.gaussian_filter(numbers, 0.7) - ndimage.gaussian_filter(numbers, 4.0)
    return np.tanh(fine / (fine.std() + 1e-9))


def median_shift(
    pairs: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]],
) -> Shift | None:
    """The shift that most windows agree on; None if fewer than half of them, or none, do.

    Windows are before and after [H, W], and where both are seen.
    """
    usable = [(one, other) for one, other, seen in pairs if seen.mean() >= MIN_SEEN]
    found = np.array([window_shift(*window) for window in usable if all(p.std() for p in window)])
    if not len(found):
        return None
    away = np.hypot(*(found - np.median(found, axis=0)).T)
    agree = (away <= AGREE_PX) & (np.hypot(*found.T) <= MAX_SHIFT_PX)
    if agree.sum() * 2 < len(found) or not agree.any():
        return None
    rows, cols = np.median(found[agree], axis=0)
    return Shift(float(rows), float(cols), int(agree.sum()), len(found))
