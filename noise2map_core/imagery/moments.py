"""Mean and spread that can be merged."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations (M2) per [date, band]."""

    count: Float64
    mean: Float64
    m2: Float64

    @classmethod
    def none(cls, dates: int, bands: int) -> "Moments":
        """Of no pixel at all."""
        return cls(*np.zeros((3, dates, bands)))

    @classmethod
    def of(cls, image: NDArray[np.generic], valid: NDArray[np.bool_]) -> "Moments":
        """Over the valid pixels of image [chip, date, band, H, W] and valid [chip, date, H, W].

        Numbers that are not finite count nowhere, whatever `valid` says.
        """
        dates, bands = image.shape[1:3]
        count, mean, m2 = np.zeros((3, dates, bands))
        for date in range(dates):
            chosen = valid[:, date] if not valid[:, date].all() else ...
            for band in range(bands):
                found = _moments(image[:, date, band][chosen])
                count[date, band], mean[date, band], m2[date, band] = found
        return cls(count, mean, m2)

    def merge(self, other: "Moments") -> "Moments":
        """Of both sets of pixels together (Chan, Golub & LeVeque 1979, eq. 2.1)."""
        count = self.count + other.count
        weight = np.divide(other.count, count, out=np.zeros_like(count), where=count > 0)
        delta = other.mean - self.mean
        mean = self.mean + delta * weight
        return Moments(count, mean, self.m2 + other.m2 + delta**2 * self.count * weight)

    def over_dates(self) -> "Moments":
        """Of all dates together, as one date."""
        dates = [
            Moments(*(part[date : date + 1] for part in (self.count, self.mean, self.m2)))
            for date in range(len(self.count))
        ]
        return reduce(Moments.merge, dates)

    def to_json(self) -> dict[str, list[list[float]]]:
        """Nested lists [date][band]; floats survive a round trip through JSON."""
        return {"count": self.count.tolist(), "mean": self.mean.tolist(), "m2": self.m2.tolist()}

    @classmethod
    def from_json(cls, value: dict[str, list[list[float]]]) -> "Moments":
        """What `to_json` gave."""
        return cls(*(np.asarray(value[name], np.float64) for name in ("count", "mean", "m2")))


LEAST_PIXELS = 256
"""Fewer say nothing of a scene."""
CENTRAL = (0.1587, 0.5, 0.8413)
"""Quantiles that lie one standard deviation below, at and above the mean of normal numbers."""


def robust_light(pixels: NDArray[np.generic]) -> Float64:
    """Centre and spread [2, band] of pixels [band, pixel]: median, and half of what the central
    68 % take up, which clouds that no mask knows, or a lake, move little.

    NaN where there are too few pixels, and where a band does not vary.
    """
    light = np.full((2, len(pixels)), np.nan)
    if pixels.shape[1] < LEAST_PIXELS:
        return light
    for band, values in enumerate(pixels.astype(np.float64)):
        low, centre, high = np.quantile(values, CENTRAL)
        spread = (high - low) / 2 or values.std()
        light[:, band] = (centre, spread) if spread > 0 else np.nan
    return light


def _moments(values: NDArray[np.generic]) -> tuple[float, float, float]:
    """Count, mean and M2; of small integers from their exact sums, which is much faster."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 0.0, 0.0
    if values.dtype in (np.uint8, np.uint16):
        total = int(values.sum(dtype=np.uint64))
        squares = int(np.multiply(values, values, dtype=np.uint32).sum(dtype=np.uint64))
        count = values.size
        return count, total / count, (squares * count - total**2) / count
    numbers = values.astype(np.float64)
    mean = float(numbers.mean())
    return values.size, mean, float(np.square(numbers - mean).sum())
