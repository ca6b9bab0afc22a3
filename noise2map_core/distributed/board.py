"""Figures on their way from workers to the driver; imports nothing, so that it starts at once."""

from collections.abc import Sequence
from typing import Any

Point = tuple[str, float, int, int]
"""Name of a curve, value, step, milliseconds since 1970."""


class Turn:
    """Which pass over a stream of chips is next: epoch, and pass within it; an actor.

    Ray Data begins every pass anew from one plan, and would read in the same order each time.
    """

    def __init__(self) -> None:
        self._current = (0, 0)

    def begin(self, epoch: int, number: int) -> None:
        """The next pass is this one."""
        self._current = epoch, number

    def current(self) -> tuple[int, int]:
        """Epoch and number of the pass."""
        return self._current


class Board:
    """The newest figures and all new points of curves, between workers and driver; an actor."""

    def __init__(self) -> None:
        self._figures: dict[str, Any] = {}
        self._points: list[Point] = []

    def put(self, figures: dict[str, Any], points: Sequence[Point]) -> None:
        """Newer figures take the place of older ones; points are added."""
        self._figures |= figures
        self._points += points

    def take(self) -> tuple[dict[str, Any], list[Point]]:
        """What came since the last time."""
        taken = self._figures, self._points
        self._figures, self._points = {}, []
        return taken
