"""Learning to denoise: the self-supervised objective of pretraining (Ho et al. 2020)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noise2map_core.diffusion.corruption import corrupt
from noise2map_core.diffusion.objectives import denoising_loss, velocity
from noise2map_core.diffusion.timesteps import timestep_weights, timesteps_at
from noise2map_core.learning.geometry import turned
from noise2map_core.learning.losses import ratio
from noise2map_core.learning.optim import Optimisation
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.learning.steps import MicroBatch, Ranks, StepOutcome
from noise2map_core.models.denoiser import Denoiser, DenoiserSpec
from noise2map_core.settings.diffusion import DiffusionConfig, GaussianCorruption
from noise2map_core.settings.learning import PretrainingConfig


@dataclass(frozen=True)
class CleanBatch:
    """Normalised images."""

    image: Tensor
    """float32 [B, band, H, W], z-scores; 0 where invalid."""
    valid: Tensor
    """bool [B, 1, H, W], True = observed."""
    draws_of: NDArray[np.int64]
    """[B, n]: what the random numbers of each follow from; see `ChipRandom`."""


NoisedBatch = MicroBatch[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Inputs: x_t, timesteps. Targets: what is asked for, and valid."""


class SquaredError:
    """The mean squared error over observed pixels and bands."""

    num_sums = 2
    """Squared error, numbers."""

    def sums(self, output: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
        """float32 [2]."""
        return torch.stack(denoising_loss(output, *targets))

    def mean(self, sums: Tensor) -> Tensor:
        """Error by numbers."""
        return ratio(sums[0], sums[1])


class DenoisingLearner:
    """A denoiser that takes one step at a time; as `Learner` is for maps."""

    def __init__(
        self,
        model: Denoiser,
        config: PretrainingConfig,
        seed: int,
        wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    ) -> None:
        self.model = model
        self._config, self._seed = config, seed
        self._optimisation = Optimisation(model, config, wrap)
        self._weights = training_weights(model.spec, model.alpha_bars.cpu())

    @property
    def averaged(self) -> Denoiser:
        """The model with averaged weights, in evaluation mode."""
        model = self._optimisation.averaged
        assert isinstance(model, Denoiser)
        return model

    def step(
        self, batch: CleanBatch, epoch: int, step: int, steps_per_epoch: int, ranks: Ranks
    ) -> StepOutcome:
        """Train on this worker's part of a global batch."""
        noised = self._noised(batch, epoch)
        parts = self._config.accumulation
        return self._optimisation.step(
            [_part(noised, slice(index, None, parts)) for index in range(parts)],
            SquaredError(),
            epoch * steps_per_epoch + step,
            self._config.epochs * steps_per_epoch,
            ranks,
        )

    def _noised(self, batch: CleanBatch, epoch: int) -> NoisedBatch:
        """Turn and noise a batch."""
        random = ChipRandom(self._seed, epoch, "denoise", batch.draws_of)
        flip = (random.rand() < 0.5) & self._config.flips
        turns = random.randint(4) * self._config.flips
        image, valid = (turned(part, flip, turns) for part in (batch.image, batch.valid))
        timesteps = timesteps_at(self._weights, random.rand()).to(image.device)
        epsilon = random.noise(image.shape[1:], image.device)
        return noise(self.model, CleanBatch(image, valid, batch.draws_of), timesteps, epsilon)

    def state(self) -> dict[str, Any]:
        """All of it, to go on from."""
        return self._optimisation.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._optimisation.restore(state)


def training_weights(spec: DenoiserSpec, alpha_bars: Tensor) -> Tensor:
    """Probability of each timestep, float64 [T]. Raises ValueError if there is none."""
    chosen = DiffusionConfig(
        corruption=GaussianCorruption(),
        schedule=spec.denoising.schedule,
        training_timesteps=spec.denoising.training_timesteps,
        min_gain=0.0,
    )
    return timestep_weights(chosen, alpha_bars)


def noise(model: Denoiser, batch: CleanBatch, timesteps: Tensor, epsilon: Tensor) -> NoisedBatch:
    """x_t and what the network is asked for, of clean images at `timesteps` int64 [B]."""
    alpha_bars_t = model.alpha_bars[timesteps]
    x_t = corrupt(batch.image, epsilon, alpha_bars_t, batch.valid)
    wanted = epsilon
    if model.spec.denoising.objective == "velocity":
        wanted = velocity(batch.image, epsilon, alpha_bars_t)
    return MicroBatch((x_t, timesteps), (wanted, batch.valid))


def _part(noised: NoisedBatch, chosen: slice) -> NoisedBatch:
    (x_t, timesteps), (wanted, valid) = noised.inputs, noised.targets
    return MicroBatch((x_t[chosen], timesteps[chosen]), (wanted[chosen], valid[chosen]))
