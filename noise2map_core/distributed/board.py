"""Figures on their way from workers to the driver; imports nothing, so that it starts at once."""

from typing import Any


class Board:
    """The newest figures, between workers and driver; an actor."""

    def __init__(self) -> None:
        self._figures: dict[str, Any] = {}

    def put(self, figures: dict[str, Any]) -> None:
        """Newer ones take the place of older ones."""
        self._figures |= figures

    def take(self) -> dict[str, Any]:
        """What came since the last time."""
        taken, self._figures = self._figures, {}
        return taken
