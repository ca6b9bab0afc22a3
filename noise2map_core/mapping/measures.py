"""What is measured over the pixels of areas: sums, extremes, and how much of them is marked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.window import Window

Ints = NDArray[np.int64]


class Pixels(NamedTuple):
    """Numbers of the pixels of a window, each [H, W]."""

    sums: list[NDArray[Any]]
    """Whole numbers to be added up over an area."""
    highest: list[NDArray[Any]]
    """Whole numbers of which an area has the highest."""
    masks: list[NDArray[np.bool_]]
    """Marks: of an area, the ground that is marked."""


class Sizes(NamedTuple):
    """How many of each there are."""

    sums: int
    highest: int
    masks: int


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured; `read` gives the numbers of a window."""

    sizes: Sizes
    read: Callable[[Window], Pixels]

    def nothing(self) -> "Measured":
        """Of no area."""
        sums, highest, masks = self.sizes
        return Measured(
            np.zeros((0, sums), np.int64), np.zeros((0, highest), np.int64), np.zeros((0, masks))
        )

    def over(
        self, window: Window, at: NDArray[Any], number: NDArray[Any],
        area_m2: NDArray[np.float64], count: int,
    ) -> "Measured":  # fmt: skip
        """Of the areas 0 … count − 1, to which the pixels `at` [pixel], flat, of a window belong by
        `number` [pixel]; `area_m2` is that of each of these pixels."""
        pixels = self.read(window)
        flat = [[one.ravel()[at].astype(np.int64) for one in some]
                for some in (pixels.sums, pixels.highest)]  # fmt: skip
        marked = [np.where(mask.ravel()[at], area_m2, 0.0) for mask in pixels.masks]
        return Measured(
            _columns([totals(number, one, count) for one in flat[0]], count, np.int64),
            _highest(number, _columns(flat[1], len(at), np.int64)),
            _columns([np.bincount(number, one, count) for one in marked], count, np.float64),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured over several areas, each [area, measure]."""

    sums: Ints
    highest: Ints
    marked_m2: NDArray[np.float64]

    def of(self, wanted: NDArray[Any]) -> "Measured":
        """Those of some areas."""
        return Measured(self.sums[wanted], self.highest[wanted], self.marked_m2[wanted])

    def merged(self, group: Ints, count: int) -> "Measured":
        """Of the areas that the parts [part] of each group 0 … count − 1 make together."""
        return Measured(
            _columns([totals(group, one, count) for one in self.sums.T], count, np.int64),
            _highest(group, self.highest),
            _columns([np.bincount(group, one, count) for one in self.marked_m2.T], count,
                     np.float64),
        )  # fmt: skip


def joined(several: list[Measured]) -> Measured:
    """All in one table, one table after the other."""
    return Measured(
        np.concatenate([one.sums for one in several]),
        np.concatenate([one.highest for one in several]),
        np.concatenate([one.marked_m2 for one in several]),
    )


def totals(group: NDArray[Any], numbers: NDArray[Any], count: int) -> Ints:
    """Sums of whole numbers by group; exact, as they stay far below 2⁵³."""
    return np.bincount(group, numbers, count).astype(np.int64)


def _highest(group: NDArray[Any], numbers: Ints) -> Ints:
    """By group, each of which has a part; [group, measure]."""
    if not len(group):
        return numbers
    order = np.argsort(group, kind="stable")
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    highest: Ints = np.maximum.reduceat(numbers[order], first, axis=0)
    return highest


def _columns(columns: list[NDArray[Any]], rows: int, kind: Any) -> NDArray[Any]:
    if not columns:
        return np.zeros((rows, 0), kind)
    return np.stack(columns, axis=1).astype(kind)


def _no_pixels(window: Window) -> Pixels:
    return Pixels([], [], [])


NOTHING_MORE = Measure(Sizes(0, 0, 0), _no_pixels)
