"""One training step: loss, gradient, learning rate, moving average."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.config import TrainingConfig
from noise2map_core.learning.metrics import IGNORE


def loss_sums(logits: Tensor, batch: TrainingBatch, class_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted cross-entropy summed over the labelled, valid pixels, and the sum of their weights.

    `logits` [B, K, H, W], `class_weights` [K]. The mean loss of any set of pixels is the quotient
    of the summed sums, so it does not depend on how they are spread over batches and workers.
    """
    target = batch.label.masked_fill(~batch.valid, IGNORE)
    loss = cross_entropy(logits, target, weight=class_weights, ignore_index=IGNORE, reduction="sum")
    return loss, class_weights[target[target != IGNORE]].sum()


def train_step(
    model: nn.Module,
    batch: TrainingBatch,
    timesteps: Tensor,
    keep_context: Tensor,
    optimiser: torch.optim.Optimizer,
    class_weights: Tensor,
    max_gradient_norm: float,
    sum_over_ranks: Callable[[Tensor], Tensor],
    world_size: int,
) -> float:
    """One step of the optimiser; returns the mean loss of the global batch.

    The loss is divided by the weights of the *global* batch, so that every labelled pixel counts
    alike wherever it lies. `model` averages gradients over the ranks (DistributedDataParallel):
    multiplying by `world_size` makes that the sum. A loss that is not finite leaves the weights as
    they were; the caller stops.
    """
    loss, weight = loss_sums(model(batch.pair, timesteps, keep_context), batch, class_weights)
    total_loss, total_weight = sum_over_ranks(torch.stack([loss.detach(), weight]))
    mean_loss = float(total_loss / total_weight)
    optimiser.zero_grad(set_to_none=True)
    if not math.isfinite(mean_loss):
        return mean_loss
    (loss * world_size / total_weight).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_gradient_norm)
    optimiser.step()
    return mean_loss


def learning_rate(step: int, num_steps: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017); a function of the step
    alone, so that a resumed run needs no scheduler state."""
    warmup = max(1, round(config.warmup * num_steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def build_optimiser(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW over all parameters."""
    return torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )


def build_average(model: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of the weights; it starts at the first update."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
