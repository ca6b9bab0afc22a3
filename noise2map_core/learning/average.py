"""The moving average of the weights, which is what is saved."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """The exponential moving average of a model's weights and running statistics.

    It starts at the first update. `warmup`: after n updates the decay is at most
    (1 + n) / (10 + n), as in diffusers' EMAModel, so that a short run is not averaged with its
    random beginning.
    """

    # torch's AveragedModel decides on the host whether there is an update; here the device does.

    def __init__(self, model: nn.Module, decay: float, warmup: bool = False) -> None:
        self.module = copy.deepcopy(model)
        self._decay, self._warmup = decay, warmup
        self._own, self._others = _numbers(self.module), _numbers(model)
        self.count = torch.zeros((), device=self._own[0].device)
        """Updates, float32."""

    @torch.no_grad()
    def update(self, moved: Tensor) -> None:
        """Follow the model, if `moved`, float32 0 or 1, says that it went anywhere."""
        decay = torch.full_like(self.count, self._decay)
        if self._warmup:
            decay = torch.minimum(decay, (1 + self.count) / (10 + self.count))
        share = moved * torch.where(self.count == 0, 1.0, 1 - decay)
        way = torch._foreach_sub(self._others, self._own)
        torch._foreach_mul_(way, share)
        torch._foreach_add_(self._own, way)
        self.count += moved


def _numbers(model: nn.Module) -> list[Tensor]:
    """Weights, and statistics that can be averaged."""
    every = [*model.parameters(), *model.buffers()]
    return [one.detach() for one in every if one.is_floating_point()]
