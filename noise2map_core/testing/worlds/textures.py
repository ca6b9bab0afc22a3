"""Patterns and colours on pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds.fields import Field, Numbers, noise

Image = NDArray[np.float32]
"""[rgb, y, x], 0 … 1."""


@dataclass(frozen=True)
class Textures:
    """Patterns that stay in place between the dates, mean 0 and deviation 1, [y, x] each."""

    fine: Field
    middle: Field
    coarse: Field
    blotches: Field

    @classmethod
    def draw(cls, rng: Generator, size_px: int) -> "Textures":
        """Of one place."""
        return cls(*(noise(rng, size_px, rough) for rough in (0.35, 1.05, 1.9, 1.6)))

    def aged(self, rng: Generator) -> "Textures":
        """The same a year on: what is fine is mostly another, what is coarse mostly the same."""
        size = self.fine.shape[0]
        fine = 0.55 * self.fine + 0.83 * noise(rng, size, 0.35)
        middle = 0.8 * self.middle + 0.6 * noise(rng, size, 1.05)
        coarse = 0.85 * self.coarse + 0.53 * noise(rng, size, 1.9)
        return Textures(fine, middle, coarse, self.blotches)


def tint(image: Image, where: tuple[NDArray[np.int64], ...], colour: Numbers) -> None:
    """Set pixels to colours [pixel, rgb]."""
    image[:, where[0], where[1]] = colour.T


def smoothstep(share: Numbers) -> Numbers:
    """0 up to 0, 1 from 1 on, without a corner."""
    share = share.clip(0, 1)
    return share * share * (3 - 2 * share)
