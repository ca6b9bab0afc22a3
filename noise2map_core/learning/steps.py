"""One training step: loss, gradient, learning rate, moving average."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from noise2map_core.learning.losses import Loss, local_part
from noise2map_core.models.backbone import level_of
from noise2map_core.models.noise2map import TaskInput
from noise2map_core.settings.learning import OptimisationConfig
from noise2map_core.settings.network import Task

Inputs = TypeVar("Inputs")
Targets = TypeVar("Targets")


@dataclass(frozen=True)
class MicroBatch(Generic[Inputs, Targets]):
    """What goes through the network at once."""

    inputs: Inputs
    """What the model is called with."""
    targets: Targets
    """What its output is compared with."""


TaskBatches = MicroBatch[Mapping[Task, TaskInput], Mapping[Task, Tensor]]
"""A batch of each task; targets int64 [B, H, W], 255 where a pixel does not count."""


class Criterion(Protocol):
    """A loss of the model's output as a function of sums that add up over batches and workers."""

    @property
    def num_sums(self) -> int:
        """How many sums there are."""
        ...

    def sums(self, output: Any, targets: Any, /) -> Tensor:
        """float32 [num_sums] of these outputs."""
        ...

    def mean(self, sums: Tensor) -> Tensor:
        """The loss (a scalar) of all that is behind `sums`."""
        ...


@dataclass(frozen=True)
class Objective:
    """The weighted sum of the tasks' losses."""

    parts: Mapping[Task, tuple[float, Loss]]
    """Weight and loss of each task."""

    def sums(self, logits: Mapping[Task, Tensor], targets: Mapping[Task, Tensor]) -> Tensor:
        """float32 [n]: the sums of every task's loss, one after the other."""
        return torch.cat([loss.sums(logits[t], targets[t]) for t, (_, loss) in self.parts.items()])

    def mean(self, sums: Tensor) -> Tensor:
        """The objective (a scalar) of all pixels behind `sums`."""
        own = sums.split([loss.num_sums for _, loss in self.parts.values()])
        pairs = zip(self.parts.values(), own, strict=True)
        return torch.stack([weight * loss.mean(part) for (weight, loss), part in pairs]).sum()

    @property
    def num_sums(self) -> int:
        """Those of all tasks."""
        return sum(loss.num_sums for _, loss in self.parts.values())


@dataclass(frozen=True)
class Ranks:
    """The workers that train together."""

    rank: int = 0
    world_size: int = 1
    sum_over: Callable[[Tensor], Tensor] = lambda value: value
    """Adds a tensor up over all workers."""


@dataclass(frozen=True)
class StepOutcome:
    """What came of a step, on the device; all ranks have the same."""

    loss: Tensor
    """Of the global batch."""
    norm: Tensor
    """Of its gradient, before that is clipped."""
    moved: Tensor
    """float32, 1 if the optimiser took the step, else 0."""


@dataclass
class SkippedSteps:
    """Counts steps whose gradient was not finite."""

    skipped: int = 0
    """All of them."""
    in_a_row: int = 0
    """The last ones without another step between them."""

    def count(self, norm: float) -> None:
        """One more step with a gradient of this norm."""
        finite = math.isfinite(norm)
        self.skipped += not finite
        self.in_a_row = 0 if finite else self.in_a_row + 1


def train_step(
    model: nn.Module,
    batches: Sequence[MicroBatch[Any, Any]],
    objective: Criterion,
    optimiser: torch.optim.Optimizer,
    max_gradient_norm: float,
    ranks: Ranks,
    autocast: AbstractContextManager[None] | None = None,
) -> StepOutcome:
    """One step of the optimiser over all `batches` of all workers; the loss is their mean.

    The loss is that of the *global* batch: every labelled pixel counts alike, wherever it lies and
    however batches are cut. `model` averages gradients over the workers
    (DistributedDataParallel): multiplying by their number makes that the sum.

    Weights and optimiser stay as they were where loss or gradient is not finite, which would make
    NaN of every weight, and where the gradient is zero: nothing in the batch counted, and momentum
    and weight decay alone would move the weights. The device decides that, so that nobody waits for
    it; `optimiser` is a fused one, which can be told.
    """
    autocast = autocast or nullcontext()
    total = _totals_before(model, batches, objective, ranks, autocast)
    optimiser.zero_grad(set_to_none=True)
    seen = torch.zeros(objective.num_sums)
    for index, batch in enumerate(batches):
        with _synchronised(model, last=index == len(batches) - 1):
            sums = _sums(model, batch, objective, autocast)
            here = ranks.sum_over(sums.detach().clone()) if total is None else total
            (local_part(objective, sums, here) * ranks.world_size).backward()
        seen = seen.to(sums.device) + sums.detach()
    loss = objective.mean(ranks.sum_over(seen))
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_gradient_norm)
    moved = (loss.isfinite() & norm.isfinite() & (norm > 0)).float()
    # As torch's GradScaler tells it: a step with `found_inf` leaves everything as it was.
    optimiser.found_inf = 1 - moved  # type: ignore[attr-defined]
    optimiser.step()
    return StepOutcome(loss.detach(), norm, moved)


def _totals_before(
    model: nn.Module,
    batches: Sequence[MicroBatch[Any, Any]],
    objective: Criterion,
    ranks: Ranks,
    autocast: AbstractContextManager[None],
) -> Tensor | None:
    """The sums of the global batch, which each part's gradient needs; None: one part is all.

    With several parts they are known only after a pass over all of them, which keeps no graph.
    """
    if len(batches) == 1:
        return None
    with torch.no_grad():
        parts = [_sums(model, batch, objective, autocast) for batch in batches]
    return ranks.sum_over(torch.stack(parts).sum(dim=0))


def _sums(
    model: nn.Module,
    batch: MicroBatch[Any, Any],
    objective: Criterion,
    autocast: AbstractContextManager[None],
) -> Tensor:
    with autocast:
        logits = model(batch.inputs)
    return objective.sums(logits, batch.targets)


def _synchronised(model: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Gradients are averaged over workers once a step: behind the last part."""
    if last or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    context: AbstractContextManager[None] = model.no_sync()
    return context


def learning_rate(step: int, num_steps: int, config: OptimisationConfig) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017) unless it stays; a function
    of the step alone, so that a resumed run needs no scheduler state."""
    warmup = max(1, round(config.warmup * num_steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.decay == "none":
        return config.learning_rate
    progress = (step - warmup) / max(1, num_steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def build_optimiser(model: nn.Module, config: OptimisationConfig) -> torch.optim.Optimizer:
    """AdamW over all parameters, in groups whose `share` scales the learning rate.

    Stems and heads have the full rate, the backbone `backbone_rate` of it, each of its levels
    `layer_decay` of what the next level towards the output has (Howard & Ruder 2018). Parameters
    with no share are frozen: they get no gradient.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        share = _rate_share(name, model, config)
        parameter.requires_grad_(share > 0)
        if share > 0:
            groups.setdefault(share, []).append(parameter)
    return torch.optim.AdamW(
        [{"params": own, "share": share} for share, own in groups.items()],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )


def _rate_share(name: str, model: nn.Module, config: OptimisationConfig) -> float:
    before, found, inside = name.partition("backbone.")
    if not found:
        return 1.0
    backbone = model.get_submodule(f"{before}backbone")
    depth = len(backbone.get_submodule("down_blocks"))  # type: ignore[arg-type]
    above = level_of("conv_out", depth) - level_of(inside, depth)
    return config.backbone_rate * config.layer_decay**above
