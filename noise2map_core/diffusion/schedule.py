"""Noise schedules: how much of the input survives at each timestep.

Each function returns ᾱ as float64 [T], decreasing within [0, 1].
"""

import math

import torch
from torch import Tensor

from noise2map_core.settings.diffusion import (
    CosineSchedule,
    LinearSchedule,
    ScaledLinearSchedule,
    Schedule,
    SigmoidSchedule,
    SquaredCosineSchedule,
)

MAX_BETA = 0.999
MIN_ALPHA_BAR = 1e-9


def alpha_bars_of(betas: Tensor) -> Tensor:
    """ᾱ_t = Π_{s ≤ t} (1 − β_s)."""
    return torch.cumprod(1.0 - betas, dim=0)


def linear_alpha_bars(T: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """Linear schedule of Ho et al. (2020): betas rise evenly."""
    return alpha_bars_of(torch.linspace(beta_start, beta_end, T, dtype=torch.float64))


def scaled_linear_alpha_bars(T: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """Scaled-linear schedule of Rombach et al. (2022): √β rises evenly."""
    return alpha_bars_of(
        torch.linspace(math.sqrt(beta_start), math.sqrt(beta_end), T, dtype=torch.float64) ** 2
    )


def sigmoid_alpha_bars(T: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """Sigmoid schedule of Xu et al. (2022): β rises along σ(x), x from −6 to 6."""
    rise = torch.linspace(-6, 6, T, dtype=torch.float64).sigmoid()
    return alpha_bars_of(beta_start + rise * (beta_end - beta_start))


def squared_cosine_alpha_bars(T: int, offset: float = 0.008) -> Tensor:
    """Cosine schedule of Nichol & Dhariwal (2021), eq. 17, by betas cut at 0.999."""
    u = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
    return alpha_bars_of((1 - f[1:] / f[:-1]).clamp(max=MAX_BETA))


def cosine_alpha_bars(T: int, start: float = 0.0, end: float = 1.0, power: float = 1.0) -> Tensor:
    """Cosine schedule of Chen (2023), algorithm 1: cos(u · π/2)^(2τ), scaled to 1 … 0.

    u runs from `start` to `end`; timestep t lies at (t + 1) / T. ᾱ is at least 1e-9.
    """
    u = torch.arange(1, T + 1, dtype=torch.float64) / T
    f = torch.cos((start + u * (end - start)) * math.pi / 2).clamp(min=0) ** (2 * power)
    first, last = (math.cos(x * math.pi / 2) ** (2 * power) for x in (start, end))
    return ((f - last) / (first - last)).clamp(min=MIN_ALPHA_BAR)


def rescale_to_zero_terminal_snr(alpha_bars: Tensor) -> Tensor:
    """√ᾱ shifted and scaled so that ᾱ_{T−1} = 0 and ᾱ_0 stays (Lin et al. 2024, algorithm 1)."""
    root = alpha_bars.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


def schedule_alpha_bars(schedule: Schedule) -> Tensor:
    """The ᾱ of a configured schedule, float64 [T]."""
    alpha_bars = _alpha_bars(schedule)
    return rescale_to_zero_terminal_snr(alpha_bars) if schedule.zero_terminal_snr else alpha_bars


def _alpha_bars(schedule: Schedule) -> Tensor:
    T = schedule.num_timesteps
    match schedule:
        case LinearSchedule():
            return linear_alpha_bars(T, schedule.beta_start, schedule.beta_end)
        case ScaledLinearSchedule():
            return scaled_linear_alpha_bars(T, schedule.beta_start, schedule.beta_end)
        case SigmoidSchedule():
            return sigmoid_alpha_bars(T, schedule.beta_start, schedule.beta_end)
        case SquaredCosineSchedule():
            return squared_cosine_alpha_bars(T, schedule.offset)
        case CosineSchedule():
            return cosine_alpha_bars(T, schedule.start, schedule.end, schedule.power)
