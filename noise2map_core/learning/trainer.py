"""A learner: model, optimiser and moving average, taking one step at a time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noise2map_core.diffusion.corruption import needs_epsilon
from noise2map_core.diffusion.timesteps import timestep_weights, timesteps_at
from noise2map_core.learning.augment import TrainingBatch, augment, draw_augmentations
from noise2map_core.learning.losses import build_loss
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.learning.optim import Optimisation
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.learning.steps import MicroBatch, Objective, Ranks, StepOutcome, TaskBatches
from noise2map_core.models.encoder_weights import start_encoder
from noise2map_core.models.noise2map import Noise2Map, TaskInput
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.models.start import start_from
from noise2map_core.settings.learning import TaskTrainingConfig, TrainingConfig
from noise2map_core.settings.network import Task


class Learner:
    """Everything that changes while training.

    `class_weights` are each task's, [K]; `wrap` turns the model into the one whose gradients are
    averaged over workers.
    """

    def __init__(
        self,
        model: Noise2Map,
        config: TrainingConfig,
        tasks: Mapping[Task, TaskTrainingConfig],
        class_weights: Mapping[Task, tuple[float, ...]],
        seed: int,
        wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    ) -> None:
        self.model = model
        self._config, self._seed = config, seed
        self._optimisation = Optimisation(model, config, wrap)
        self._objective = Objective(
            {
                name: (task.weight, build_loss(task.loss, self._tensor(class_weights[name])))
                for name, task in tasks.items()
            }
        )
        self._timestep_weights = {
            name: timestep_weights(task.diffusion, model.alpha_bars(name).cpu())
            for name, task in tasks.items()
        }

    @property
    def averaged(self) -> Noise2Map:
        """The model with averaged weights, in evaluation mode."""
        model = self._optimisation.averaged
        assert isinstance(model, Noise2Map)
        return model

    def step(
        self,
        batches: Mapping[Task, TrainingBatch],
        epoch: int,
        step: int,
        steps_per_epoch: int,
        ranks: Ranks,
    ) -> StepOutcome:
        """Train on this worker's part of a global batch of each task."""
        prepared = {name: self._prepare(name, batch, epoch) for name, batch in batches.items()}
        return self._optimisation.step(
            self._cut(prepared),
            self._objective,
            epoch * steps_per_epoch + step,
            self._config.epochs * steps_per_epoch,
            ranks,
        )

    def _prepare(self, task: Task, batch: TrainingBatch, epoch: int) -> tuple[TaskInput, Tensor]:
        """Augment a batch, and draw its timesteps and its noise."""
        random = ChipRandom(self._seed, epoch, task, batch.draws_of)
        spec, size = self.model.spec.tasks[task], batch.image.shape[1:]
        draws = draw_augmentations(random, size[0], spec.num_dates, self._config)
        timesteps = timesteps_at(self._timestep_weights[task], random.rand())
        keep = random.rand(*self.model.kept_each) >= self._config.context_dropout
        noisy = needs_epsilon(spec.corruption)
        epsilon = random.noise(size, self.model.device) if noisy else None
        batch = augment(batch, draws, spec.num_dates)
        network_input = TaskInput(
            x_0=batch.image,
            valid=batch.valid[:, None],
            timesteps=self._tensor(timesteps),
            epsilon=epsilon,
            keep=self._tensor(keep),
            alteration=batch.alteration,
        )
        return network_input, batch.label.masked_fill(~batch.valid, IGNORE)

    def _cut(self, whole: Mapping[Task, tuple[TaskInput, Tensor]]) -> list[TaskBatches]:
        """A batch of each task in `accumulation` parts."""
        parts = self._config.accumulation
        return [
            MicroBatch(
                {name: inputs.part(index, parts) for name, (inputs, _) in whole.items()},
                {name: target[index::parts] for name, (_, target) in whole.items()},
            )
            for index in range(parts)
        ]

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(values, device=self.model.device)

    def state(self) -> dict[str, Any]:
        """All of it, to go on from."""
        return self._optimisation.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._optimisation.restore(state)


def new_model(
    spec: CheckpointSpec, seed: int, device: torch.device, backbone: Path | None = None
) -> Noise2Map:
    """A model with random weights that follow from the seed alone, but for an encoder that starts
    from published ones.

    `backbone` is a folder of weights to start from; see `start_from`, which also says what it
    raises.
    """
    torch.manual_seed(seed)
    model = Noise2Map(spec)
    if backbone is None:
        start_encoder(model)
    else:
        start_from(model, backbone)
    return model.to(device)
