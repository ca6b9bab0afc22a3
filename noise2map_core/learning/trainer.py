"""A learner: model, optimiser and moving average, taking one step at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noise2map_core.diffusion.config import TrainingTimesteps
from noise2map_core.diffusion.timesteps import draw_timesteps, training_timesteps
from noise2map_core.learning.augment import TrainingBatch, augment, draw_augmentations
from noise2map_core.learning.config import TrainingConfig
from noise2map_core.learning.steps import (
    build_average,
    build_optimiser,
    learning_rate,
    train_step,
)
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec


class Learner:
    """Everything that changes while training.

    `wrap` turns the model into the one whose gradients are averaged over ranks.
    """

    def __init__(
        self,
        spec: CheckpointSpec,
        config: TrainingConfig,
        timesteps: TrainingTimesteps,
        seed: int,
        device: torch.device,
        wrap: Callable[[nn.Module], nn.Module],
    ) -> None:
        torch.manual_seed(seed)
        self.model = Noise2Map(spec).to(device)
        self._config = config
        self._seed = seed
        self._average = build_average(self.model, config.ema_decay)
        self._wrapped = wrap(self.model)
        self._optimiser = build_optimiser(self.model, config)
        self._weights = torch.tensor([1.0, config.changed_weight], device=device)
        self._timesteps = training_timesteps(timesteps, self.model.alpha_bars.cpu())

    @property
    def averaged(self) -> Noise2Map:
        """The model with averaged weights, in evaluation mode."""
        model = self._average.module.eval()
        assert isinstance(model, Noise2Map)
        return model

    def step(
        self,
        batch: TrainingBatch,
        epoch: int,
        step: int,
        steps_per_epoch: int,
        rank: int,
        world_size: int,
        sum_over_ranks: Callable[[Tensor], Tensor],
    ) -> float:
        """Train on this rank's part of a global batch; returns the loss of the global batch."""
        generator = self._generator(epoch, step)
        count, channels = len(batch.pair) * world_size, batch.pair.shape[1]
        draws = draw_augmentations(count, channels, self._config.jitter, generator)
        timesteps = draw_timesteps(self._timesteps, count, generator)[rank::world_size]
        keep = torch.rand(count, generator=generator)[rank::world_size]
        rate = learning_rate(
            epoch * steps_per_epoch + step, self._config.epochs * steps_per_epoch, self._config
        )
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._wrapped.train()
        loss = train_step(
            self._wrapped,
            augment(batch, draws.of_rank(rank, world_size)),
            timesteps.to(batch.pair.device),
            (keep >= self._config.context_dropout).to(batch.pair.device),
            self._optimiser,
            self._weights,
            self._config.max_gradient_norm,
            sum_over_ranks,
            world_size,
        )
        self._average.update_parameters(self.model)
        return loss

    def state(self) -> dict[str, Any]:
        """All of it, to go on from."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "average": self._average.module.state_dict(),
            "num_averaged": int(self._average.n_averaged),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._average.module.load_state_dict(state["average"])
        self._average.n_averaged.fill_(state["num_averaged"])

    def _generator(self, epoch: int, step: int) -> torch.Generator:
        """Random numbers of one global batch: the same on every rank, and after a restart."""
        mixed = np.random.SeedSequence((self._seed, epoch, step)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(mixed[0]))
