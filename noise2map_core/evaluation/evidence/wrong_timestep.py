"""The wrong-t test: the same x_t, and the network told another timestep than it was mixed at.

What does not move then does not come from the timestep that the network is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.evaluation.counting import probability_of
from noise2map_core.evaluation.timestep_study import f1_of
from noise2map_core.inference.decision import decide_classes
from noise2map_core.learning.metrics import ConfusionCounts
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import TaskSpec
from noise2map_core.settings.network import Task


@dataclass(frozen=True)
class WrongTimesteps:
    """Counts over chips, which add up."""

    timesteps: tuple[int, ...]
    counts: NDArray[np.int64]
    """[mixed, told, class, class] confusion of the labelled pixels."""
    moved: NDArray[np.int64]
    """[mixed, told] observed pixels that are decided otherwise than with the true timestep."""
    observed: int

    def __add__(self, other: "WrongTimesteps") -> "WrongTimesteps":
        return WrongTimesteps(
            self.timesteps,
            self.counts + other.counts,
            self.moved + other.moved,
            self.observed + other.observed,
        )

    @property
    def f1(self) -> list[list[float]]:
        """[mixed][told]; of more than two classes the mean."""
        return f1_of(self.counts)

    @property
    def most_lost(self) -> float:
        """The largest difference of F1 to that with the true timestep."""
        f1 = np.asarray(self.f1)
        return float(np.abs(f1 - np.diag(f1)[:, None]).max())

    @property
    def most_moved(self) -> float:
        """The largest share of pixels that are decided otherwise."""
        return float(self.moved.max() / max(self.observed, 1))

    def document(self) -> dict[str, object]:
        """Plain values, for JSON."""
        moved = (self.moved / max(self.observed, 1)).tolist()
        return {"timesteps": list(self.timesteps), "f1": self.f1, "moved": moved}

    def summary(self) -> list[str]:
        """A table for people: rows by the timestep that x_t was mixed at."""
        head = " ".join(f"{f'told {t}':>10}" for t in self.timesteps)
        rows = [
            f"{t:6} " + " ".join(f"{value:10.3f}" for value in row)
            for t, row in zip(self.timesteps, self.f1, strict=True)
        ]
        return [
            f"told a wrong timestep, F1 moves by at most {self.most_lost:.3f}, and "
            f"{self.most_moved:.1%} of the pixels at most",
            f"{'mixed':>6} {head}",
            *rows,
        ]


def wrong_timesteps(
    model: Noise2Map, batch: ChipBatch, task: Task, timesteps: Sequence[int]
) -> WrongTimesteps:
    """Of a batch's first chip, or its first date: every mixture, told every timestep."""
    spec, truth = model.spec.tasks[task], batch.truth(task)[0]
    image, valid = (part[:1] for part in batch.inputs(task, model.device))
    observed = valid.all(dim=1, keepdim=True)
    light, noted = batch.light_of(task, model.device)[:1], batch.alteration_of(task, model.device)
    noted = None if noted is None else noted[:1]
    with torch.inference_mode():
        x_0 = model.normalise(image, valid, task, light)
        variates = model.alteration_of(noted, 1, task, light)
        shown = [model.shown(x_0, observed, t, task, variates) for t in timesteps]
        logits = [[model.judged(x_t, told, task) for told in timesteps] for x_t in shown]
    decided = np.stack([[_decided(one, spec) for one in row] for row in logits])
    true = decided[np.arange(len(timesteps)), np.arange(len(timesteps))][:, None]
    seen = observed[0, 0].cpu().numpy()
    classes = len(spec.classes)
    counts = [[ConfusionCounts.of(truth, one, classes).matrix for one in row] for row in decided]
    moved = ((decided != true) & seen).sum(axis=(2, 3))
    return WrongTimesteps(tuple(timesteps), np.stack(counts), moved, int(seen.sum()))


def _decided(logits: Tensor, spec: TaskSpec) -> NDArray[np.uint8]:
    """Classes [y, x] of logits [1, class, y, x]."""
    return decide_classes(probability_of(logits.cpu().numpy(), spec.temperature), spec)[0]
