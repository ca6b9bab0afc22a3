"""Corruptions: what the network sees instead of the clean input."""

import torch
from torch import Tensor


def swap_dates(pair: Tensor) -> Tensor:
    """(before, after) to (after, before): [B, 2·C, H, W] with the bands of a date together."""
    before, after = pair.chunk(2, dim=1)
    return torch.cat([after, before], dim=1)


def swapped_pair(x_0: Tensor, alpha_bars_t: Tensor) -> Tensor:
    """x_t = sqrt(ᾱ_t) · (before, after) + sqrt(1 − ᾱ_t) · (after, before).

    `x_0` [B, 2·C, H, W], `alpha_bars_t` [B] in (0, 1). Pixels that are zero at both dates (invalid
    ones) stay exactly zero.
    """
    signal = alpha_bars_t.sqrt().to(x_0.dtype)[:, None, None, None]
    noise = (1.0 - alpha_bars_t).sqrt().to(x_0.dtype)[:, None, None, None]
    return signal * x_0 + noise * swap_dates(x_0)


def swapped_pair_gain(alpha_bars: Tensor) -> Tensor:
    """What is left of (before − after) in x_t: sqrt(ᾱ) − sqrt(1 − ᾱ), in (−1, 1)."""
    return alpha_bars.sqrt() - (1.0 - alpha_bars).sqrt()
