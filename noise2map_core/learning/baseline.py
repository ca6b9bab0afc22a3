"""Change vector analysis: the baseline that every score stands beside. numpy only.

Bands are z-scored per date, the change vector is their difference, its length says how much
changed (Malila 1980). Statistics and threshold come from the training part alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 10_000
"""Bins of the histogram that its threshold is chosen from."""


@dataclass(frozen=True)
class ChangeVectorAnalysis:
    """Change vector analysis with fixed statistics."""

    mean: NDArray[np.float64]
    """[date, band], raw numbers."""
    std: NDArray[np.float64]
    """[date, band], raw numbers."""

    def magnitude(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Length of the change vector [chip, H, W], in standard deviations.

        `image` [chip, date, band, H, W] in raw numbers; first against last date.
        """
        mean, std = (part[..., None, None].astype(np.float32) for part in (self.mean, self.std))
        before = (image[:, 0].astype(np.float32) - mean[0]) / std[0]
        after = (image[:, -1].astype(np.float32) - mean[-1]) / std[-1]
        return np.sqrt(np.square(after - before).sum(axis=1))

    def score(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """The magnitude m as m / (1 + m), in [0, 1): the same order, and fit for a histogram."""
        magnitude = self.magnitude(image)
        return magnitude / (1 + magnitude)


def magnitude_of(score: float) -> float:
    """The magnitude, in standard deviations, of a score."""
    return score / (1 - score)
