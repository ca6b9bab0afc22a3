"""A mosaic seen at another threshold: its classes are cut anew from what is stored."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_DECISION, PROBABILITY_SCALE, Mosaic

_VALUES = np.arange(PROBABILITY_SCALE + 1) * (1 / PROBABILITY_SCALE)
"""The probabilities that can be stored, as whoever scales what is stored computes them."""


def stored_cut(threshold: float) -> int:
    """The least stored number whose probability is not below `threshold`, for any threshold: so
    that `probability >= threshold`, applied to a map's probabilities, gives its classes. Beyond 1
    there is none, and the number is one that no pixel has."""
    return int(np.searchsorted(_VALUES, threshold))


def of_decided(classes: NDArray[np.uint8], second: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Probability of the class that was decided, from that of the second of two classes, and back:
    the function is its own inverse."""
    return np.where(classes == 1, second, PROBABILITY_SCALE - second).astype(np.uint16)


def recut_classes(
    classes: NDArray[np.uint8], stored: NDArray[np.uint16], threshold: float, of_winner: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Classes and stored probability with the second of two classes decided from `threshold` on.

    `of_winner`: what is stored is of the class that was decided, else of the second.
    """
    decided = classes != NO_DECISION
    second = of_decided(classes, stored) if of_winner else stored
    cut = (second >= stored_cut(threshold)).astype(np.uint8)
    recut = np.where(decided, cut, NO_DECISION).astype(np.uint8)
    return recut, np.where(decided, of_decided(cut, second), stored) if of_winner else stored


def directed(
    direction: NDArray[np.uint8], changed: NDArray[np.uint16], threshold: float
) -> NDArray[np.uint8]:
    """Classes of a map of kinds of change, which are decided from `threshold` on; below it is 0.
    What has no decision keeps it."""
    sure = (changed >= stored_cut(threshold)) | (direction == NO_DECISION)
    return np.where(sure, direction, 0).astype(np.uint8)


class RecutMosaic(Mosaic):
    """`mosaic`, of two classes or of kinds of change, seen at another threshold."""

    def __init__(self, mosaic: Mosaic, threshold: float, of_winner: bool) -> None:
        super().__init__(mosaic.path, mosaic.grid)
        self._threshold, self._of_winner = threshold, of_winner

    def read(self, name: str, window: Window) -> NDArray[Any]:
        """As `Mosaic.read`."""
        if name not in ("class", "probability"):
            return super().read(name, window)
        if "direction" in self.arrays:
            return self._directed(window) if name == "class" else super().read(name, window)
        found = recut_classes(
            super().read("class", window), super().read("probability", window),
            self._threshold, self._of_winner,
        )  # fmt: skip
        return found[0] if name == "class" else found[1]

    def _directed(self, window: Window) -> NDArray[np.uint8]:
        kinds, changed = (self.read(name, window) for name in ("direction", "probability"))
        return directed(kinds, changed, self._threshold)
