"""Scores of objects: connected areas of one class that were found, missed or invented."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.learning.metrics import IGNORE

MATCHING_IOU = 0.5
"""Objects match above this IoU. Two disjoint objects cannot both share more than half of their
union with a third one, so that no object matches twice and there is nothing to choose."""


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """Objects that are there, that were predicted, and that match. Counts of images add up."""

    matched: int = 0
    truths: int = 0
    predictions: int = 0

    @classmethod
    def of(
        cls, label: NDArray[np.integer], predicted: NDArray[np.integer], value: int
    ) -> "ObjectCounts":
        """Objects of class `value` in an image [H, W] or in images [..., H, W].

        An object is an area connected by pixel edges. Pixels with label `IGNORE` are cut out of the
        prediction before its objects are formed, as the label's own objects lack them. Objects end
        at the edges of an image: give whole scenes, or chips that do not overlap.
        """
        truth, num_truths = _objects(label == value)
        found, num_found = _objects((predicted == value) & (label != IGNORE))
        matched = _num_matches(truth.ravel(), found.ravel(), num_truths, num_found)
        return cls(matched, num_truths, num_found)

    def __add__(self, other: "ObjectCounts") -> "ObjectCounts":
        return ObjectCounts(
            self.matched + other.matched,
            self.truths + other.truths,
            self.predictions + other.predictions,
        )

    @property
    def precision(self) -> float:
        """Part of the predicted objects that match; 0 without one."""
        return self.matched / self.predictions if self.predictions else 0.0

    @property
    def recall(self) -> float:
        """Part of the true objects that are matched; 0 without one."""
        return self.matched / self.truths if self.truths else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 without an object."""
        objects = self.truths + self.predictions
        return 2 * self.matched / objects if objects else 0.0


def _objects(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Numbers of the objects, from 1, in images [..., H, W] that do not touch one another."""
    structure = np.zeros((3,) * mask.ndim, bool)
    structure[(1,) * (mask.ndim - 2)] = ndimage.generate_binary_structure(2, 1)
    return ndimage.label(mask, structure)


def _num_matches(
    truth: NDArray[np.int32], found: NDArray[np.int32], num_truths: int, num_found: int
) -> int:
    """Pairs of objects whose IoU is above `MATCHING_IOU`; numbers [pixel], 0 = none."""
    truth_px = np.bincount(truth, minlength=num_truths + 1)
    found_px = np.bincount(found, minlength=num_found + 1)
    both = (truth > 0) & (found > 0)
    pairs, shared = np.unique(np.stack([truth[both], found[both]]), axis=1, return_counts=True)
    union = truth_px[pairs[0]] + found_px[pairs[1]] - shared
    return int((shared > MATCHING_IOU * union).sum())
