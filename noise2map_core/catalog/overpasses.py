"""Overpasses: scenes that were recorded in one go, under one light."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noise2map_core.catalog.scene import Scene

SAME_PASS = timedelta(minutes=15)
"""Neighbouring scenes of one overpass are less apart; the next orbit comes after 90 minutes."""

Moment = tuple[str, datetime]
"""Collection and time of a scene."""


@dataclass(frozen=True)
class PassPairs:
    """The pairs of overpasses that the pixels of two dates may come from."""

    before: dict[Moment, int]
    """Number of the overpass by moment, from 0."""
    after: dict[Moment, int]

    @classmethod
    def of(cls, before: Sequence[Scene], after: Sequence[Scene]) -> Self:
        """From all scenes of both dates."""
        return cls(_numbered(before), _numbered(after))

    @property
    def shape(self) -> tuple[int, int]:
        """Overpasses before and after."""
        before, after = (len(set(numbers.values())) for numbers in (self.before, self.after))
        return before, after

    @property
    def several(self) -> bool:
        """True if there is more than one pair."""
        return self.shape not in ((0, 0), (1, 1))

    def at(
        self, dates: Sequence[Sequence[Scene]], sources: Sequence[NDArray[np.integer[Any]]]
    ) -> NDArray[np.int32]:
        """Number of the pair [H, W] that each pixel comes from.

        `sources` [H, W] of each date say which of its scenes, in their order, gave the pixel.
        """
        passes = [
            np.array([numbers[_moment(scene)] for scene in scenes] or [0], np.int32)[source]
            for numbers, scenes, source in zip(
                (self.before, self.after), dates, sources, strict=True
            )
        ]
        return np.asarray(passes[0] * max(self.shape[1], 1) + passes[1])

    def name(self, number: int) -> str:
        """A pair for people, by its days."""
        numbers = divmod(number, max(self.shape[1], 1))
        return " → ".join(
            _days(moments, one)
            for moments, one in zip((self.before, self.after), numbers, strict=True)
        )

    def key(self, dates: Sequence[Sequence[Scene]]) -> list[list[int]]:
        """The overpass of each scene, for keys."""
        return [
            [numbers[_moment(scene)] for scene in scenes]
            for numbers, scenes in zip((self.before, self.after), dates, strict=True)
        ]


def _moment(scene: Scene) -> Moment:
    return scene.collection, scene.datetime


def _numbered(scenes: Sequence[Scene]) -> dict[Moment, int]:
    numbers: dict[Moment, int] = {}
    last: Moment | None = None
    for moment in sorted({_moment(scene) for scene in scenes}):
        same = last is not None and last[0] == moment[0] and moment[1] - last[1] <= SAME_PASS
        numbers[moment] = 0 if last is None else numbers[last] + (not same)
        last = moment
    return numbers


def _days(numbers: dict[Moment, int], number: int) -> str:
    return str(min(when for (_, when), one in numbers.items() if one == number).date())
