"""How far a task's probabilities can be believed, over a split."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core.evaluation.counting import probability_of
from noise2map_core.learning.calibration import ReliabilityBins, ReliabilityRow
from noise2map_core.learning.metrics import IGNORE, ScoreHistogram
from noise2map_core.models.spec import TaskSpec

CURVE_POINTS = 200
"""Thresholds of a precision-recall curve."""

NOTABLE_ERROR = 0.005
"""Of a calibration error; less is said by the two figures alone."""

CurvePoint = tuple[float, float, float]
"""Threshold, precision, recall."""


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be believed: of two classes the second's, of more the winner's."""

    temperature: float
    ece_before: float
    """Expected calibration error without the temperature, 15 bins."""
    ece_after: float
    """The same with it."""
    reliability: tuple[ReliabilityRow, ...]
    """With the temperature."""
    precision_recall: dict[str, tuple[CurvePoint, ...]]
    """By class: of two classes the second, of more each against the rest."""
    timestep_spread: float | None
    """Standard deviation of a pixel's probability over the timesteps, mean over the pixels; None of
    a model with one timestep."""

    @property
    def is_worse(self) -> bool:
        """True if the temperature, chosen on other pixels, does harm on these."""
        return self.ece_after > self.ece_before + NOTABLE_ERROR


class CalibrationTally:
    """Gathers sums batch by batch; no pixel is kept."""

    def __init__(self, task: TaskSpec) -> None:
        self._task = task
        self._before, self._after = ReliabilityBins.empty(), ReliabilityBins.empty()
        self._scores = {entry: ScoreHistogram.empty(CURVE_POINTS) for entry in task.sought}
        self._spread, self._num_pixels = 0.0, 0

    def add(self, logits: NDArray[np.float32], truth: NDArray[np.uint8]) -> None:
        """Count `logits` [timestep, sample, class, y, x]; 255 in `truth` is not counted."""
        mean = logits.mean(axis=0)
        probability = probability_of(mean, self._task.temperature)
        self._before += self._reliability(probability_of(mean, 1.0), truth)
        self._after += self._reliability(probability, truth)
        for entry in self._scores:
            positive = np.where(truth == IGNORE, truth, truth == entry.value)
            score = probability[:, entry.value]
            self._scores[entry] += ScoreHistogram.of(score, positive, CURVE_POINTS)
        known = truth != IGNORE
        self._num_pixels += int(known.sum())
        self._spread += float(self._spread_of(logits, mean)[known].sum(dtype=np.float64))

    def result(self) -> Calibration:
        """What the batches say together."""
        return Calibration(
            temperature=self._task.temperature,
            ece_before=self._before.expected_calibration_error,
            ece_after=self._after.expected_calibration_error,
            reliability=tuple(self._after.table()),
            precision_recall={
                entry.name: tuple(_curve(scores)) for entry, scores in self._scores.items()
            },
            timestep_spread=self._spread / max(self._num_pixels, 1)
            if len(self._task.inference_timesteps) > 1
            else None,
        )

    def _reliability(
        self, probability: NDArray[np.float32], truth: NDArray[np.uint8]
    ) -> ReliabilityBins:
        if len(self._task.classes) == 2:
            return ReliabilityBins.of(probability[:, 1], truth)
        return ReliabilityBins.of_winner(probability, truth)

    def _spread_of(
        self, logits: NDArray[np.float32], mean: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Standard deviation over timesteps of the winning class's probability [sample, y, x]."""
        winner = mean.argmax(axis=1, keepdims=True)
        each = [
            np.take_along_axis(probability_of(one, self._task.temperature), winner, axis=1)[:, 0]
            for one in logits
        ]
        return np.asarray(np.std(each, axis=0))


def _curve(scores: ScoreHistogram) -> Iterator[CurvePoint]:
    precision, recall = scores.precision_recall()
    for index, (one, other) in enumerate(zip(precision, recall, strict=True)):
        yield index / CURVE_POINTS, round(float(one), 5), round(float(other), 5)
