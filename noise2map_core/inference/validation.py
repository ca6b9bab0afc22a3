"""What validation says of a task: how good it is, its temperature, and where to decide.

Workers count (`validate`), counts add up, and the sum is judged (`validation_of`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core.inference.evaluation import SplitPixels, model_logits
from noise2map_core.learning.calibration import MarginHistogram, TemperatureScan
from noise2map_core.learning.metrics import ConfusionCounts
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec, Task, TaskSpec


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
    """What logits are divided by, so that probabilities can be believed."""
    ece_before: float | None
    """Expected calibration error without temperature, of two classes."""
    ece_after: float | None
    """The same with it."""
    num_pixels: int | None = None
    """Labelled, observed pixels; None: the state is of a version that did not record it."""
    num_sought: int | None = None
    """Those that `error` is of: truly of the second of two classes; of more classes, all."""


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
    """Counts of a worker's part, float64 [n]; parts add up."""
    task = model.spec.tasks[pixels.task]
    logits_of = model_logits(model, task.inference_timesteps, pixels.task)
    if len(task.classes) == 2:
        margins = MarginHistogram.empty()
        for batch, truth in pixels.batches():
            margins += MarginHistogram.of(logits_of(batch), truth)
        return margins.counts.ravel().astype(np.float64)
    scan, confusion = TemperatureScan.empty(), ConfusionCounts.empty(len(task.classes))
    for batch, truth in pixels.batches():
        logits = logits_of(batch)
        scan += TemperatureScan.of(logits, truth)
        confusion += ConfusionCounts.of(truth, logits.argmax(axis=1), len(task.classes))
    return np.concatenate([[scan.num_pixels], scan.nll, confusion.matrix.ravel()])


def validation_of(counts: NDArray[np.float64], task: TaskSpec) -> TaskValidation:
    """What the counts of all workers together say."""
    if len(task.classes) == 2:
        return _of_margins(MarginHistogram(counts.reshape(2, -1).astype(np.int64)), task)
    num_classes = len(task.classes)
    scan = TemperatureScan(int(counts[0]), counts[1 : -(num_classes**2)])
    matrix = counts[-(num_classes**2) :].reshape(num_classes, num_classes).astype(np.int64)
    confusion = ConfusionCounts(matrix)
    # As of the accuracy: the F1 of many classes has no simple error of its own.
    error = np.sqrt(confusion.mean_f1 * (1 - confusion.mean_f1) / max(confusion.num_pixels, 1))
    pixels = confusion.num_pixels
    return TaskValidation(
        confusion.mean_f1, float(error), {}, scan.best_temperature(), None, None, pixels, pixels
    )


def _of_margins(margins: MarginHistogram, task: TaskSpec) -> TaskValidation:
    temperature = margins.temperature()
    scores = margins.scores(temperature)
    return TaskValidation(
        scores.best_f1(),
        scores.best_f1_error(),
        {task.classes[1].name: scores.robust_threshold()},
        temperature,
        margins.reliability().expected_calibration_error,
        margins.reliability(temperature).expected_calibration_error,
        int(margins.counts.sum()),
        scores.num_positives,
    )
