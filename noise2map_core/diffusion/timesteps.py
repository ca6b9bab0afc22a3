"""Which timesteps are trained on, and which are used at inference.

The paper draws t uniformly from all. For the swapped pair the difference between the dates is
scaled by √ᾱ − √(1 − ᾱ), which passes through zero (at t = 258 of the linear schedule): there both
dates look alike and no label can be learnt. `min_gain` leaves that band out.
"""

import torch
from torch import Tensor

from noise2map_core.diffusion.corruption import difference_gain
from noise2map_core.diffusion.schedule import schedule_alpha_bars
from noise2map_core.settings.diffusion import (
    Corruption,
    DiffusionConfig,
    EarlyTimesteps,
    FixedTimestep,
    LateTimesteps,
    LogitNormalTimesteps,
    TimestepSampler,
    UniformTimesteps,
)


def timestep_weights(config: DiffusionConfig, alpha_bars: Tensor) -> Tensor:
    """Probability of each timestep in training, float64 [T], sum 1.

    Raises ValueError if `min_gain` leaves none.
    """
    weights = _density(config.training_timesteps, len(alpha_bars))
    apart = difference_gain(config.corruption, alpha_bars).abs() >= config.min_gain
    kept = torch.where(apart, weights, 0.0)
    if not kept.any():
        raise ValueError(
            f"min_gain {config.min_gain:g} leaves no timestep of {config.training_timesteps.kind} "
            "training timesteps; lower it"
        )
    return kept / kept.sum()


def timesteps_at(weights: Tensor, uniform: Tensor) -> Tensor:
    """Timesteps by their `weights` float64 [T], int64 [B], where `uniform` [B] is drawn evenly from
    [0, 1): the inverse of their distribution."""
    below = weights.cumsum(dim=0)
    return torch.searchsorted(below, uniform.double() * below[-1], right=True)


def inference_timesteps(config: DiffusionConfig) -> tuple[int, ...]:
    """The timesteps of the forward passes at inference. Raises ValueError if one is not below T."""
    T = config.schedule.num_timesteps
    chosen = config.inference_timesteps or (default_timestep(config.corruption, T),)
    for t in chosen:
        if t >= T:
            raise ValueError(f"inference_timesteps {t} is not below {T}")
    return chosen


def default_timestep(corruption: Corruption, T: int) -> int:
    """T − 1 for structured noise, as in the paper; 0 where x_{T−1} would tell nothing."""
    return 0 if corruption.kind in ("gaussian", "none") else T - 1


def spread_timesteps(config: DiffusionConfig, count: int) -> tuple[int, ...]:
    """So many timesteps, spread evenly over those at which `min_gain` is left; one: the last.

    Raises ValueError if there are not so many.
    """
    gain = difference_gain(config.corruption, schedule_alpha_bars(config.schedule)).abs()
    usable = torch.nonzero(gain >= config.min_gain).flatten()
    if len(usable) < count:
        raise ValueError(f"only {len(usable)} timesteps have a gain of {config.min_gain:g}")
    places = torch.linspace(len(usable) - 1, 0, count).round().long()
    return tuple(sorted(usable[places].tolist()))


def _density(sampler: TimestepSampler, T: int) -> Tensor:
    """Density over the timesteps, float64 [T], up to a factor; t stands for (t + ½) / T."""
    u = (torch.arange(T, dtype=torch.float64) + 0.5) / T
    match sampler:
        case UniformTimesteps():
            return torch.ones_like(u)
        case LogitNormalTimesteps(mean=mean, std=std):
            return torch.exp(-(((torch.logit(u) - mean) / std) ** 2) / 2) / (u * (1 - u))
        case EarlyTimesteps(power=power):
            return (1 - u) ** power
        case LateTimesteps(power=power):
            return u**power
        case FixedTimestep(timestep=timestep):
            if timestep >= T:
                raise ValueError(f"training_timesteps.timestep {timestep} is not below {T}")
            return (torch.arange(T) == timestep).double()
