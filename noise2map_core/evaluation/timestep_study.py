"""What a model says of a chip at many timesteps and in both orders of the dates.

A pair read at timestep t and its swap read at another one can show the network the same pixels:
a search over t means nothing unless both orders are tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from noise2map_core.diffusion.corruption import difference_gain
from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.evaluation.counting import probability_of
from noise2map_core.inference.decision import decide_classes
from noise2map_core.inference.planning import MIN_GAIN
from noise2map_core.learning.metrics import IGNORE, ConfusionCounts
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import TaskSpec
from noise2map_core.settings.network import Task


@dataclass(frozen=True)
class TimestepStudy:
    """One chip at several timesteps, in one order of the dates or both."""

    task: TaskSpec
    timesteps: tuple[int, ...]
    gains: tuple[float, ...]
    """What is left of the difference between the dates at each."""
    orders: tuple[str, ...]
    """"normal", and "swapped" where there are several dates."""
    probability: NDArray[np.float32]
    """[order, timestep, class, y, x], calibrated."""
    truth: NDArray[np.uint8]
    """[y, x]; 255 where not labelled or not observed."""
    observed: NDArray[np.bool_]
    """[y, x]"""

    @cached_property
    def decided(self) -> NDArray[np.uint8]:
        """Classes [order, timestep, y, x]."""
        return decide_classes(self.probability, self.task)

    @property
    def spread(self) -> NDArray[np.float32]:
        """Standard deviation of the probability over timesteps and orders [y, x], of the class in
        which it is largest."""
        return np.asarray(self.probability.std(axis=(0, 1)).max(axis=0))

    @property
    def changes_its_mind(self) -> NDArray[np.bool_]:
        """Observed pixels [y, x] that are decided otherwise at another timestep or order."""
        decided = self.decided
        return np.asarray((decided != decided[0, 0]).any(axis=(0, 1)) & self.observed)

    def counts(self) -> NDArray[np.int64]:
        """Confusion counts [order, timestep, class, class] of the labelled pixels."""
        num_classes = len(self.task.classes)
        return np.stack(
            [
                np.stack([ConfusionCounts.of(self.truth, one, num_classes).matrix for one in row])
                for row in self.decided
            ]
        )


def study_chip(
    model: Noise2Map, batch: ChipBatch, task: Task, timesteps: Sequence[int]
) -> TimestepStudy:
    """The study of a batch's first chip; of its first date where the task has one."""
    spec = model.spec.tasks[task]
    image, valid = (part[:1] for part in batch.inputs(task, model.device))
    light = batch.light_of(task, model.device)[:1]
    alteration = batch.alteration_of(task, model.device)
    orders = {"normal": False} | ({"swapped": True} if spec.num_dates > 1 else {})
    with torch.inference_mode():
        probability = [
            np.concatenate(
                [
                    probability_of(logits.cpu().numpy(), spec.temperature)
                    for logits in model.logits_over(
                        image,
                        timesteps,
                        valid,
                        task,
                        light=light,
                        reverse_dates=swapped,
                        alteration=None if alteration is None else alteration[:1],
                    )
                ]
            )
            for swapped in orders.values()
        ]
    gains = difference_gain(spec.corruption, model.alpha_bars(task).cpu())
    return TimestepStudy(
        task=spec,
        timesteps=tuple(timesteps),
        gains=tuple(float(gains[t]) for t in timesteps),
        orders=tuple(orders),
        probability=np.stack(probability),
        truth=batch.truth(task)[0],
        observed=valid.all(dim=1)[0].cpu().numpy(),
    )


def telling_timesteps(model: Noise2Map, task: Task, count: int) -> tuple[int, ...]:
    """About `count` timesteps spread from 0 to T − 1, without those that cannot tell the dates."""
    spec = model.spec.tasks[task]
    spread = np.unique(np.linspace(0, spec.schedule.num_timesteps - 1, count).round().astype(int))
    if spec.num_dates == 1:
        return tuple(spread.tolist())
    gains = difference_gain(spec.corruption, model.alpha_bars(task).cpu()).abs().numpy()
    return tuple(t for t in spread.tolist() if gains[t] >= MIN_GAIN)


def f1_of(counts: NDArray[np.int64]) -> list[list[float]]:
    """F1 [order][timestep] of summed `TimestepStudy.counts`: of the second of two classes, of more
    the mean."""
    return [[_f1(ConfusionCounts(matrix)) for matrix in row] for row in counts]


def _f1(counts: ConfusionCounts) -> float:
    return counts.scores(1).f1 if len(counts.matrix) == 2 else counts.mean_f1


def has_labels(study: TimestepStudy) -> bool:
    """True if a pixel of the chip is labelled."""
    return bool((study.truth != IGNORE).any())
