"""Corruptions: what the network sees instead of the clean input.

x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · noise, where the noise is the swapped pair, the image itself,
Gaussian, or a mixture. Channels are ordered by date, then band.
"""

import math

import torch
from torch import Tensor

from noise2map_core.settings.diffusion import (
    Corruption,
    GaussianCorruption,
    MixtureCorruption,
    NoCorruption,
    SelfCorruption,
    SwappedPairCorruption,
)

EPSILON_SEED = 2604


def rotate_dates(x_0: Tensor, num_dates: int) -> Tensor:
    """Every date in the place of the one before it: (1, 2, …, n) to (2, …, n, 1).

    `x_0` [B, date·band, H, W]. Of a pair this is the swap.
    """
    return torch.roll(x_0, -(x_0.shape[1] // num_dates), dims=1)


def noise_of(
    corruption: Corruption, x_0: Tensor, num_dates: int, epsilon: Tensor | None = None
) -> Tensor:
    """What `x_0` [B, date·band, H, W] is mixed with; same shape.

    `epsilon`, standard normal, broadcasts to `x_0`; needed where `needs_epsilon`.
    """
    match corruption:
        case SwappedPairCorruption():
            return rotate_dates(x_0, num_dates)
        case SelfCorruption() | NoCorruption():
            return x_0
        case GaussianCorruption():
            assert epsilon is not None
            return epsilon.expand_as(x_0)
        case MixtureCorruption(structured=structured, gaussian_share=share):
            assert epsilon is not None
            swapped = structured == "swapped_pair"
            part = rotate_dates(x_0, num_dates) if swapped else x_0
            return math.sqrt(1 - share) * part + math.sqrt(share) * epsilon


def corrupt(x_0: Tensor, noise: Tensor, alpha_bars_t: Tensor, valid: Tensor | None) -> Tensor:
    """x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · noise, of `x_0`'s dtype.

    `x_0`, `noise` [B, C, H, W]; `alpha_bars_t` [B] in [0, 1]; `valid` bool [B, 1, H, W] or None for
    all: invalid pixels are zero in x_t, as they are in x_0.
    """
    signal = alpha_bars_t.sqrt().to(x_0.dtype)[:, None, None, None]
    rest = (1.0 - alpha_bars_t).sqrt().to(x_0.dtype)[:, None, None, None]
    x_t = (signal * x_0).add_(rest * noise)
    return x_t if valid is None else x_t.masked_fill_(~valid, 0.0)


def needs_epsilon(corruption: Corruption) -> bool:
    """True if the corruption has a Gaussian part."""
    return corruption.kind in ("gaussian", "mixture")


def fixed_epsilon(channels: int, height: int, width: int) -> Tensor:
    """The Gaussian part at inference, float32 [1, C, H, W]: the same for every chip and every run.

    So a map does not depend on which chips were predicted before, or by whom.
    """
    generator = torch.Generator().manual_seed(EPSILON_SEED)
    return torch.randn(1, channels, height, width, generator=generator)


def difference_gain(corruption: Corruption, alpha_bars: Tensor) -> Tensor:
    """What is left in x_t of (before − after), as a factor in [−1, √2]; shape of `alpha_bars`.

    Under the swapped pair √ᾱ − √(1 − ᾱ): zero where ᾱ = ½, negative after it.
    """
    signal, rest = alpha_bars.sqrt(), (1.0 - alpha_bars).sqrt()
    match corruption:
        case SwappedPairCorruption():
            return signal - rest
        case MixtureCorruption(structured="swapped_pair", gaussian_share=share):
            return signal - math.sqrt(1 - share) * rest
        case MixtureCorruption(gaussian_share=share):
            return signal + math.sqrt(1 - share) * rest
        case GaussianCorruption():
            return signal
        case SelfCorruption():
            return signal + rest
        case NoCorruption():
            return torch.ones_like(alpha_bars)
