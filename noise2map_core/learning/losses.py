"""Losses of segmentation, as functions of sums that add up over batches and workers.

A loss first reduces its pixels to a few sums (`sums`), then makes a number of the total (`mean`).
Totals of the *global* batch give the same loss however its pixels are spread. Its gradient is exact
on each worker alone, too: by the chain rule it is that of the worker's own sums, times the slope of
`mean` at the total. See `local_part`.

Pixels with label `IGNORE` enter neither a loss nor its gradient, whatever their logits hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from noise2map_core.learning.metrics import IGNORE
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.learning import LossConfig


class Mean(Protocol):
    """What makes a number of sums."""

    def mean(self, sums: Tensor) -> Tensor:
        """The loss (a scalar) of all pixels behind `sums`; 0, without slope, where none counts."""
        ...


class Loss(Mean, Protocol):
    """A loss of logits float [B, K, H, W] and target int64 [B, H, W]."""

    @property
    def num_sums(self) -> int:
        """How many sums there are."""
        ...

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """float32 [num_sums]: what the loss needs of these pixels; those of more pixels add up."""
        ...


def local_part(loss: Mean, sums: Tensor, total: Tensor) -> Tensor:
    """A scalar whose gradient is this worker's part of that of the global loss.

    `sums` are the worker's own, `total` those of all workers. The parts of all workers add up to
    the gradient of `loss.mean(total)`; where gradients are averaged, multiply by their number.
    """
    point = total.detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss.mean(point), point)
    return (sums * slope).sum()


def ratio(total: Tensor, weight: Tensor) -> Tensor:
    """`total` by `weight`, both scalars; 0, without slope, where there is no weight.

    A batch may have nothing to learn from: cropped, hazed and unobserved pixels do not count.
    """
    some = weight > 0
    return torch.where(some, total / torch.where(some, weight, 1.0), 0.0)


@dataclass(frozen=True)
class CrossEntropy:
    """Weighted cross-entropy: the mean over pixels, each with the weight of its class."""

    class_weights: Tensor
    """float [K]."""

    @property
    def num_sums(self) -> int:
        """Weighted loss, weight."""
        return 2

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """float32 [2]."""
        loss = _surprise(logits, target)
        weight = _pixel_weights(target, self.class_weights)
        return torch.stack([(loss * weight).sum(), weight.sum()])

    def mean(self, sums: Tensor) -> Tensor:
        """Weighted loss by weight."""
        return ratio(sums[0], sums[1])


@dataclass(frozen=True)
class Focal:
    """Focal loss (Lin et al. 2017, eq. 5): (1 - p)^gamma times the weighted cross-entropy.

    p is the probability of the true class. The mean is over the class weights alone: pixels that
    are easy make the loss small.
    """

    class_weights: Tensor
    """float [K]: α of the paper."""
    gamma: float

    @property
    def num_sums(self) -> int:
        """Weighted loss, weight."""
        return 2

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """float32 [2]."""
        surprise = _surprise(logits, target)
        # expm1 keeps 1 - p exact near p = 1, where a power below 1 has no finite slope.
        doubt = (-torch.expm1(-surprise)).clamp_min(1e-12)
        weight = _pixel_weights(target, self.class_weights)
        return torch.stack([(doubt**self.gamma * surprise * weight).sum(), weight.sum()])

    def mean(self, sums: Tensor) -> Tensor:
        """Weighted loss by weight."""
        return ratio(sums[0], sums[1])


@dataclass(frozen=True)
class Dice:
    """Soft Dice loss, 1 - 2 Σ p g / (Σ p + Σ g), mean over the classes that truly occur.

    p is the probability of a class, g is 1 where it is true. The sums run over the whole global
    batch as if it were one image: so the loss does not depend on how pixels are cut into chips, and
    a chip that lacks a class says nothing about its overlap.
    """

    num_classes: int

    @property
    def num_sums(self) -> int:
        """Of each class Σ p g, then Σ p, then Σ g."""
        return 3 * self.num_classes

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """float32 [3·K]."""
        counted = (target != IGNORE)[:, None]
        p = _counted_logits(logits, target).softmax(dim=1) * counted
        truth = one_hot(target.masked_fill(target == IGNORE, 0), self.num_classes)
        g = truth.movedim(-1, 1) * counted
        return torch.cat([part.sum(dim=(0, 2, 3)) for part in (p * g, p, g)])

    def mean(self, sums: Tensor) -> Tensor:
        """Mean over the classes with Σ g > 0."""
        overlap, predicted, truth = sums.chunk(3)
        occurs = truth > 0
        # Where Σ g > 0 the denominator is, too.
        missed = 1 - 2 * overlap[occurs] / (predicted + truth)[occurs]
        return ratio(missed.sum(), occurs.sum())


@dataclass(frozen=True)
class WeightedSum:
    """A sum of losses, each times its weight."""

    parts: Sequence[tuple[float, Loss]]
    """Weight, loss."""

    @property
    def num_sums(self) -> int:
        """Those of the parts, one after the other."""
        return sum(loss.num_sums for _, loss in self.parts)

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """float32 [num_sums]."""
        return torch.cat([loss.sums(logits, target) for _, loss in self.parts])

    def mean(self, sums: Tensor) -> Tensor:
        """The weighted sum of the parts' means."""
        own = sums.split([loss.num_sums for _, loss in self.parts])
        means = [w * loss.mean(part) for (w, loss), part in zip(self.parts, own, strict=True)]
        return torch.stack(means).sum()


def build_loss(config: LossConfig, class_weights: Tensor) -> Loss:
    """The loss of a config; `class_weights` float [K] on the device of the logits."""
    kinds: list[tuple[float, Loss]] = [
        (config.cross_entropy, CrossEntropy(class_weights)),
        (config.dice, Dice(len(class_weights))),
        (config.focal, Focal(class_weights, config.focal_gamma)),
    ]
    return WeightedSum([(weight, loss) for weight, loss in kinds if weight > 0])


def class_weights_of(config: LossConfig, counts: Sequence[int]) -> tuple[float, ...]:
    """The weight of each class, [K], from its labelled training pixels, `counts` [K].

    `inverse_frequency`: n / (K n_k), so that each class has the same say and a pixel weighs 1 on
    average. `median_frequency`: median(n) / n_k (Eigen & Fergus 2015, over pixels of all chips).
    Classes without a pixel are left out of n, K and the median, and weigh 0. Weights that the
    config names are taken as they are; raises ConfigError if they are of another number.
    """
    present = np.array([count for count in counts if count > 0], np.float64)
    if not isinstance(config.class_weights, str):
        return _checked(config.class_weights, len(counts))
    if config.class_weights == "equal":
        return (1.0,) * len(counts)
    inverse = config.class_weights == "inverse_frequency"
    typical = float(present.mean() if inverse else np.median(present))
    return tuple(typical / count if count else 0.0 for count in counts)


def _checked(weights: tuple[float, ...], num_classes: int) -> tuple[float, ...]:
    if len(weights) != num_classes:
        raise ConfigError(
            f"class_weights has {len(weights)} numbers, but there are {num_classes} classes. "
            "Give one to each class."
        )
    return weights


def _counted_logits(logits: Tensor, target: Tensor) -> Tensor:
    """float32 logits, 0 where the target is `IGNORE`: zero weight alone would keep a NaN."""
    return torch.where((target != IGNORE)[:, None], logits.float(), 0.0)


def _surprise(logits: Tensor, target: Tensor) -> Tensor:
    """-log p of the true class [B, H, W], nats; 0 where the target is `IGNORE`."""
    counted = _counted_logits(logits, target)
    return cross_entropy(counted, target, ignore_index=IGNORE, reduction="none")


def _pixel_weights(target: Tensor, class_weights: Tensor) -> Tensor:
    """The weight of the true class [B, H, W]; 0 where the target is `IGNORE`."""
    counted = target != IGNORE
    return class_weights[target.masked_fill(~counted, 0)] * counted
