"""Noise schedules: how much of the input survives at each timestep."""

import torch
from torch import Tensor

from noise2map_core.diffusion.config import LinearSchedule


def linear_alpha_bars(
    num_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02
) -> Tensor:
    """Linear schedule of Ho et al. (2020): betas rise evenly, ᾱ_t is the product of (1 − β) to t.

    Returns float64 [T], strictly decreasing in (0, 1).
    """
    betas = torch.linspace(beta_start, beta_end, num_timesteps, dtype=torch.float64)
    return torch.cumprod(1.0 - betas, dim=0)


def schedule_alpha_bars(schedule: LinearSchedule) -> Tensor:
    """The ᾱ of a configured schedule, float64 [T]."""
    return linear_alpha_bars(schedule.num_timesteps, schedule.beta_start, schedule.beta_end)
