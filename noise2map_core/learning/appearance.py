"""What makes one place look different on two days: light, shadows, tones, season, mosaics.

Normalised images hold z-scores, in which light is no factor: it is counted from BLACK.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from noise2map_core.learning.draws import (
    CELLS,
    Effect,
    beyond,
    covered,
    rectangles,
    smooth,
    strengths,
)
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.settings.learning import InvarianceConfig

BLACK = -2.5
"""What no light looks like, in standard deviations from the mean of every band."""
SHADOWS = 3
"""Shadows on a date that has any."""
SHADOW_SIDES = (0.02, 0.15)
"""Half the sides of a shadow, as parts of the chip's."""
PENUMBRA_PX = 2.0
SEAM_COLOUR = 0.4
"""How much bands differ in the step at a seam, as a part of what they have in common."""


@dataclass(frozen=True)
class Light(Effect):
    """Light that is not the same everywhere: slopes, thin cloud, the lens."""

    cells: Tensor
    """float32 [B, date, cell, cell]: logarithm of the light for a strength of 1."""

    def on(self, frames: Tensor, seen: Tensor) -> Tensor:
        """As of `Effect`."""
        field = smooth(self.cells * self.strength[:, None, None], frames.shape[-2:]).exp()
        return (frames - BLACK).mul_(field[:, None]).add_(BLACK)


@dataclass(frozen=True)
class Shadow(Effect):
    """Shadows of what stands outside the chip or higher than the sun: strength 1 leaves BLACK."""

    places: Tensor
    """float32 [B, date, SHADOWS, 5], as of `covered`."""

    def on(self, frames: Tensor, seen: Tensor) -> Tensor:
        """As of `Effect`."""
        cover = covered(self.places, frames.shape[-2:], PENUMBRA_PX)
        dark = (cover * self.strength[:, None, None])[:, None]
        return frames - dark * (frames - BLACK).clamp_min_(0)


@dataclass(frozen=True)
class Tone(Effect):
    """A tone curve that leaves BLACK and the mean where they are, and rises everywhere."""

    sign: Tensor
    """float32 [B, date]: 1 brings out the dark, -1 the bright."""

    def on(self, frames: Tensor, seen: Tensor) -> Tensor:
        """As of `Effect`."""
        part = (self.strength * self.sign)[:, None, None, None]
        level = frames / -BLACK + 1
        curved = 2 * level / (1 + level.abs())
        return level.lerp_(curved, part).sub_(1).mul_(-BLACK)


@dataclass(frozen=True)
class Mix(Effect):
    """Bands that go up and down together, as those of plants do with the season."""

    weights: Tensor
    """float32 [B, date, band, band]: what each band gets of the others for a strength of 1."""

    def on(self, frames: Tensor, seen: Tensor) -> Tensor:
        """As of `Effect`."""
        weights = self.weights * self.strength[:, None, None]
        return frames + (weights @ frames.flatten(2)).view_as(frames)


@dataclass(frozen=True)
class Seam(Effect):
    """A line on whose far side the mosaic is of another scene."""

    line: Tensor
    """float32 [B, date, 3], as of `beyond`."""
    gain: Tensor
    """float32 [B, date, band], around 0, for a strength of 1; so is `offset`."""
    offset: Tensor

    def on(self, frames: Tensor, seen: Tensor) -> Tensor:
        """As of `Effect`."""
        far = (beyond(self.line, frames.shape[-2:]) * self.strength[:, None, None])[:, None]
        other = frames * self.gain[:, :, None, None] + self.offset[:, :, None, None]
        return frames + far * other


def draw_appearance(
    random: ChipRandom, num_dates: int, bands: int, config: InvarianceConfig
) -> tuple[Effect, ...]:
    """For each chip and date, in the order in which they happen."""
    effects: list[Effect] = []

    def strength(most: float) -> Tensor:
        return strengths(random, (num_dates,), most, config.share)

    def normal(*size: int) -> Tensor:
        return random.randn(num_dates, *size)

    if config.mix:
        effects.append(Mix(strength(config.mix), normal(bands, bands)))
    if config.shadow:
        places = rectangles(random, (num_dates, SHADOWS), *SHADOW_SIDES)
        effects.append(Shadow(strength(config.shadow), places))
    if config.light:
        effects.append(Light(strength(config.light), normal(CELLS, CELLS)))
    if config.tone:
        effects.append(Tone(strength(config.tone), normal().sign()))
    if config.seam:
        line = random.rand(num_dates, 3) * torch.tensor([1, 1, math.tau])
        gain, offset = (normal(1) + SEAM_COLOUR * normal(bands) for _ in range(2))
        effects.append(Seam(strength(config.seam), line, gain, offset))
    return tuple(effects)
