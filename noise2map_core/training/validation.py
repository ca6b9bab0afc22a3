"""What validation says of a task: how good it is, its temperature, and where to decide.

Workers count (`validate`), counts add up, and the sum is judged (`validation_of`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noise2map_core.evaluation.counting import SplitPixels, model_logits
from noise2map_core.learning.calibration import MarginHistogram, TemperatureScan, temperature_helps
from noise2map_core.learning.losses import CrossEntropy
from noise2map_core.learning.metrics import IGNORE, ConfusionCounts, ScoreHistogram
from noise2map_core.learning.skill import doubts_about
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec, TaskSpec
from noise2map_core.settings.network import Task


@dataclass(frozen=True, slots=True)
class TaskValidation:
    """A task on the validation part."""

    f1: float
    """Of two classes, the highest F1 of the second at any threshold; of more, the mean F1."""
    error: float
    """Standard error of `f1`."""
    threshold: dict[str, float]
    """Class to the calibrated probability from which a pixel gets it; empty for more than two."""
    temperature: float
    """What logits are divided by, so that probabilities can be believed; 1 where no other is better
    on pixels that it was not chosen on."""
    ece_before: float | None
    """Expected calibration error without temperature, of two classes."""
    ece_after: float | None
    """The same with it."""
    num_pixels: int | None = None
    """Labelled, observed pixels; None: the state is of a version that did not record it."""
    num_sought: int | None = None
    """Those that `error` is of: truly of the second of two classes; of more classes, all."""
    best_temperature: float | None = None
    """The one of the highest likelihood, whether it is taken or not."""
    doubts: str = ""
    """Why the model is no better than chance, as decided; empty: it is better."""
    cross_entropy: float | None = None
    """Mean over the pixels, with the class weights of the loss, where that chooses the epoch."""

    @property
    def score(self) -> float:
        """What epochs and trials are chosen by: `f1`, and 0 for what is no better than chance."""
        return 0.0 if self.doubts else self.f1


def doubts_of(entry: Mapping[str, Any]) -> str:
    """What an epoch's entry in a history says of the tasks that are no better than chance."""
    doubts = {name: task.get("doubts", "") for name, task in entry["tasks"].items()}
    return "; ".join(f"{name}: {told}" for name, told in doubts.items() if told)


def doubts_of_chosen(note: Mapping[str, Any]) -> str:
    """What validation says so of the epoch that was chosen, in a finished run's `run.json`."""
    chosen = (entry for entry in note["history"] if int(entry["epoch"]) == int(note["epoch"]))
    return next(map(doubts_of, chosen), "")


def with_validation(spec: CheckpointSpec, tasks: Mapping[Task, TaskValidation]) -> CheckpointSpec:
    """A spec that decides and calibrates as validation says."""
    decided = {
        name: task.model_copy(
            update={"threshold": tasks[name].threshold, "temperature": tasks[name].temperature}
        )
        for name, task in spec.tasks.items()
    }
    return spec.model_copy(update={"tasks": decided})


def validate(model: Noise2Map, pixels: SplitPixels) -> NDArray[np.float64]:
    """Counts of a worker's part, float64 [n], of either half of the split; parts add up."""
    task = model.spec.tasks[pixels.task]
    logits_of = model_logits(model, task.inference_timesteps, pixels.task)
    counts = [_counts(np.zeros((0, len(task.classes), 1, 1), np.float32), _NONE)] * 2
    for batch, truth in pixels.batches():
        logits, half = logits_of(batch), pixels.owners.halves(batch.chip_of(pixels.task).tolist())
        for index in (0, 1):
            mine = np.where((half == index)[:, None, None], truth, np.uint8(IGNORE))
            counts[index] = counts[index] + _counts(logits, mine)
    return np.concatenate(counts)


def cross_entropy_sums(
    model: Noise2Map, pixels: SplitPixels, timesteps: Sequence[int], class_weights: Sequence[float]
) -> Tensor:
    """Sums of the weighted cross-entropy over a worker's part, float64 [2]; parts add up."""
    loss = CrossEntropy(torch.tensor(class_weights))
    logits_of = model_logits(model, timesteps, pixels.task)
    total = torch.zeros(loss.num_sums, dtype=torch.float64)
    for batch, truth in pixels.batches():
        logits = torch.from_numpy(logits_of(batch))
        total += loss.sums(logits, torch.from_numpy(truth).long()).double()
    return total


def cross_entropy_of(sums: Tensor) -> float:
    """The mean behind the sums of all workers."""
    return float(CrossEntropy(torch.ones(1)).mean(sums))


_NONE = np.zeros((0, 1, 1), np.uint8)


def _counts(logits: NDArray[np.float32], truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of two classes the margins, of more the temperature scan and the confusion."""
    num_classes = logits.shape[1]
    if num_classes == 2:
        return MarginHistogram.of(logits, truth).counts.ravel().astype(np.float64)
    scan = TemperatureScan.of(logits, truth)
    confusion = ConfusionCounts.of(truth, logits.argmax(axis=1), num_classes)
    return np.concatenate([[scan.num_pixels], scan.nll, confusion.matrix.ravel()])


def validation_of(counts: NDArray[np.float64], task: TaskSpec) -> TaskValidation:
    """What the counts of all workers together say."""
    halves = counts.reshape(2, -1)
    if len(task.classes) == 2:
        one, other = (MarginHistogram(half.reshape(2, -1).astype(np.int64)) for half in halves)
        return _of_margins(one, other, task)
    return _of_many(halves, task)


def _of_many(halves: NDArray[np.float64], task: TaskSpec) -> TaskValidation:
    num_classes = len(task.classes)
    one, other = (TemperatureScan(int(h[0]), h[1 : -(num_classes**2)]) for h in halves)
    matrix = halves[:, -(num_classes**2) :].sum(axis=0).reshape(num_classes, num_classes)
    confusion, best = ConfusionCounts(matrix.astype(np.int64)), (one + other).best_temperature()
    # As of the accuracy: the F1 of many classes has no simple error of its own.
    error = np.sqrt(confusion.mean_f1 * (1 - confusion.mean_f1) / max(confusion.num_pixels, 1))
    return TaskValidation(
        confusion.mean_f1,
        float(error),
        {},
        best if temperature_helps(one, other) else 1.0,
        None,
        None,
        confusion.num_pixels,
        confusion.num_pixels,
        best,
        doubts_about(confusion, _names(task), temperature=best),
    )


def _of_margins(one: MarginHistogram, other: MarginHistogram, task: TaskSpec) -> TaskValidation:
    margins = one + other
    best, error = margins.temperature(), margins.reliability().expected_calibration_error
    temperature = best if temperature_helps(one, other) else 1.0
    scores = margins.scores(temperature)
    threshold = scores.robust_threshold()
    doubts = doubts_about(
        scores.confusion_at(threshold),
        _names(task),
        roc_auc=ScoreHistogram(margins.counts).roc_auc,
        temperature=best,
    )
    return TaskValidation(
        scores.best_f1(),
        scores.best_f1_error(),
        {task.classes[1].name: threshold},
        temperature,
        error,
        margins.reliability(temperature).expected_calibration_error,
        margins.num_pixels,
        scores.num_positives,
        best,
        doubts,
    )


def _names(task: TaskSpec) -> list[str]:
    return [entry.name for entry in task.classes]
