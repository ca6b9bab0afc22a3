"""What validation says of a task: how good it is, and which threshold to decide at.

Workers count (`validate`), counts add up, and the sum is judged (`validation_of`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core.inference.decision import decide_classes
from noise2map_core.inference.evaluation import (
    SplitPixels,
    model_probability,
    model_scorer,
    score_histogram,
)
from noise2map_core.learning.metrics import NUM_BINS, ConfusionCounts, ScoreHistogram
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import TaskSpec


@dataclass(frozen=True, slots=True)
class TaskValidation:
    """A task on the validation part."""

    f1: float
    """Of two classes, the highest F1 of the second at any threshold; of more, the mean F1."""
    error: float
    """Standard error of `f1`."""
    threshold: dict[str, float]
    """Class to the probability from which a pixel gets it; empty for more than two classes."""


def validate(model: Noise2Map, pixels: SplitPixels) -> NDArray[np.int64]:
    """Counts of a worker's part: a score histogram of two classes, a confusion matrix of more."""
    task = model.spec.tasks[pixels.task]
    if len(task.classes) == 2:
        scorer = model_scorer(model, task.inference_timesteps, pixels.task)
        return score_histogram(pixels, scorer, NUM_BINS).counts
    probability = model_probability(model, task.inference_timesteps, pixels.task)
    total = ConfusionCounts.empty(len(task.classes))
    for batch, truth in pixels.batches():
        decided = decide_classes(probability(batch), task)
        total += ConfusionCounts.of(truth, decided, len(task.classes))
    return total.matrix


def validation_of(counts: NDArray[np.int64], task: TaskSpec) -> TaskValidation:
    """What the counts of all workers together say."""
    if len(task.classes) == 2:
        histogram = ScoreHistogram(counts)
        threshold = {task.classes[1].name: histogram.robust_threshold()}
        return TaskValidation(histogram.best_f1(), histogram.best_f1_error(), threshold)
    confusion = ConfusionCounts(counts)
    # As of the accuracy: the F1 of many classes has no simple error of its own.
    error = np.sqrt(confusion.mean_f1 * (1 - confusion.mean_f1) / max(confusion.num_pixels, 1))
    return TaskValidation(confusion.mean_f1, float(error), {})
