"""What sensors and files do to an image: blur, noise, JPEG's blocks."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from noise2map_core.learning.draws import GRAIN_SPARE, Effect, grain, strengths
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.settings.learning import InvarianceConfig

BLOCK_PX = 8
"""Side of JPEG's blocks."""


@dataclass(frozen=True)
class Blur(Effect):
    """A Gaussian of so many pixels' standard deviation, over the pixels that are seen."""

    weights: Tensor
    """float32 [B, date, tap]: its weights in a row of pixels, an odd number."""

    def on(self, frames: Tensor, seen: Tensor) -> Tensor:
        """As of `Effect`."""
        observed = torch.cat([torch.where(seen, frames, 0), seen.to(frames)], dim=1)
        planes = observed.flatten(0, 1)[None]
        kernels = self.weights.repeat_interleave(observed.shape[1], dim=0)
        for kernel in (kernels[:, None, :, None], kernels[:, None, None, :]):
            planes = F.conv2d(planes, kernel, padding="same", groups=len(kernels))
        blurred = planes.view_as(observed)
        return blurred[:, :-1] / blurred[:, -1:].clamp_min(1e-6)


@dataclass(frozen=True)
class Noise(Effect):
    """White noise of so many standard deviations."""

    starts: Tensor
    """int64 [B, date, band, 2], as of `grain`."""

    def on(self, frames: Tensor, seen: Tensor) -> Tensor:
        """As of `Effect`."""
        noise = grain(self.starts, frames.shape[-2:])
        return noise.mul_(self.strength[:, None, None, None]).add_(frames)


@dataclass(frozen=True)
class Jpeg(Effect):
    """Rounded coefficients of the cosine transform of 8 x 8 pixels, in steps of so many standard
    deviations of their mean; the finer the pattern, the coarser."""

    def on(self, frames: Tensor, seen: Tensor) -> Tensor:
        """As of `Effect`."""
        height, width = frames.shape[-2:]
        rest = (0, -width % BLOCK_PX, 0, -height % BLOCK_PX)
        padded = F.pad(torch.where(seen, frames, 0), rest, mode="replicate")
        blocks = padded.unflatten(3, (-1, BLOCK_PX)).unflatten(2, (-1, BLOCK_PX)).transpose(3, 4)
        transform, coarseness = _cosines(frames.device)
        step = self.strength[:, None, None, None, None] * coarseness
        coefficients = blocks.flatten(4) @ transform.T
        rounded = coefficients.div_(step).round_().mul_(step) @ transform
        whole = rounded.view_as(blocks).transpose(3, 4).flatten(4).flatten(2, 3)
        return whole[..., :height, :width]


@lru_cache
def _cosines(device: torch.device) -> tuple[Tensor, Tensor]:
    """Orthonormal cosine transform of a block [64, 64], and the coarseness of its rows [64]."""
    index = torch.arange(BLOCK_PX, dtype=torch.float64)
    rows = torch.cos(math.pi * index[:, None] * (index + 0.5) / BLOCK_PX) * math.sqrt(2 / BLOCK_PX)
    rows[0] /= math.sqrt(2)
    coarseness = BLOCK_PX * (1 + (index[:, None] + index) / 2)
    both = torch.kron(rows, rows), coarseness.flatten()
    transform, coarse = (values.float().to(device) for values in both)
    return transform, coarse


def draw_sensor(
    random: ChipRandom, num_dates: int, bands: int, config: InvarianceConfig
) -> tuple[Effect, ...]:
    """For each chip and date, in the order in which they happen."""
    effects: list[Effect] = []

    def strength(most: float) -> Tensor:
        return strengths(random, (num_dates,), most, config.share)

    if config.blur_px:
        sigma = strength(config.blur_px)
        effects.append(Blur(sigma, _gaussians(sigma, config.blur_px)))
    if config.noise:
        starts = random.randint(GRAIN_SPARE, num_dates, bands, 2)
        effects.append(Noise(strength(config.noise), starts))
    if config.jpeg:
        effects.append(Jpeg(strength(config.jpeg)))
    return tuple(effects)


def _gaussians(sigma: Tensor, most: float) -> Tensor:
    """Weights [..., tap] of `sigma` [...], for as many pixels as the widest, `most`, needs."""
    radius = math.ceil(2.5 * most)
    pixels = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (pixels / sigma.clamp_min(0.05)[..., None]).square())
    return weights / weights.sum(dim=-1, keepdim=True)
