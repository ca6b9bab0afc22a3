"""Weights on their way: model, optimiser and moving average, whatever they are to learn."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from noise2map_core.learning.average import MovingAverage
from noise2map_core.learning.steps import (
    Criterion,
    MicroBatch,
    Ranks,
    StepOutcome,
    build_optimiser,
    learning_rate,
    train_step,
)
from noise2map_core.models.backbone import keep_no_activations
from noise2map_core.settings.learning import OptimisationConfig


class Optimisation:
    """Everything that changes while training.

    `wrap` turns the model into the one whose gradients are averaged over workers.
    """

    def __init__(
        self, model: nn.Module, config: OptimisationConfig, wrap: Callable[[nn.Module], nn.Module]
    ) -> None:
        self._model, self._config = model, config
        self._average = MovingAverage(model, config.ema_decay, config.ema_warmup)
        if config.gradient_checkpointing:
            keep_no_activations(model)
        if config.compile if config.compile is not None else self._device.type == "cuda":
            model.compile(dynamic=False)  # in place: names of weights stay what they are
        # First what is frozen: a wrapper waits for the gradient of every weight that had one then.
        self._optimiser = build_optimiser(model, config)
        self._wrapped = wrap(model)

    @property
    def averaged(self) -> nn.Module:
        """The model with averaged weights, in evaluation mode."""
        return self._average.module.eval()

    def step(
        self,
        batches: Sequence[MicroBatch[Any, Any]],
        criterion: Criterion,
        step: int,
        num_steps: int,
        ranks: Ranks,
    ) -> StepOutcome:
        """Step number `step` of `num_steps`."""
        rate = learning_rate(step, num_steps, self._config)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["share"]
        self._wrapped.train()
        outcome = train_step(
            self._wrapped,
            batches,
            criterion,
            self._optimiser,
            self._config.max_gradient_norm,
            ranks,
            self._autocast(),
        )
        self._average.update(outcome.moved)
        return outcome

    def _autocast(self) -> torch.autocast:
        bf16 = self._config.precision == "bf16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=bf16)

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    def state(self) -> dict[str, Any]:
        """All of it, to go on from."""
        return {
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "average": self._average.module.state_dict(),
            "num_averaged": int(self._average.count),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        for group in self._optimiser.param_groups:
            group["fused"] = True  # those of earlier versions were not
        self._average.module.load_state_dict(state["average"])
        self._average.count.fill_(state["num_averaged"])
