"""Objectives of denoising pretraining: what the network is asked for, given x_t."""

import torch
from torch import Tensor


def velocity(x_0: Tensor, noise: Tensor, alpha_bars_t: Tensor) -> Tensor:
    """v = √ᾱ_t · noise − √(1 − ᾱ_t) · x_0 (Salimans & Ho 2022); shape of `x_0` [B, C, H, W]."""
    signal = alpha_bars_t.sqrt().to(x_0.dtype)[:, None, None, None]
    rest = (1.0 - alpha_bars_t).sqrt().to(x_0.dtype)[:, None, None, None]
    return signal * noise - rest * x_0


def denoising_loss(
    predicted: Tensor, target: Tensor, valid: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Squared error summed over observed pixels and channels, and how many numbers that were.

    The DDPM objective (Ho et al. 2020, eq. 14) is their quotient; `target` is the noise (ε) or
    `velocity` (v). Arrays [B, C, H, W], `valid` bool [B, 1, H, W], None: all. Sums, not means, so
    that batches and workers add up.
    """
    error = (predicted - target).float().square()
    if valid is None:
        return error.sum(), torch.tensor(float(error.numel()), device=error.device)
    kept = valid.expand_as(error)
    return torch.where(kept, error, 0.0).sum(), kept.sum().float()


def x_0_from_epsilon(x_t: Tensor, epsilon: Tensor, alpha_bars_t: Tensor) -> Tensor:
    """x_0 = (x_t − √(1 − ᾱ_t) · ε) / √ᾱ_t; shape of `x_t` [B, C, H, W]."""
    signal = alpha_bars_t.sqrt().to(x_t.dtype)[:, None, None, None]
    rest = (1.0 - alpha_bars_t).sqrt().to(x_t.dtype)[:, None, None, None]
    return (x_t - rest * epsilon) / signal


def x_0_from_velocity(x_t: Tensor, v: Tensor, alpha_bars_t: Tensor) -> Tensor:
    """x_0 = √ᾱ_t · x_t − √(1 − ᾱ_t) · v; shape of `x_t` [B, C, H, W]."""
    signal = alpha_bars_t.sqrt().to(x_t.dtype)[:, None, None, None]
    rest = (1.0 - alpha_bars_t).sqrt().to(x_t.dtype)[:, None, None, None]
    return signal * x_t - rest * v
