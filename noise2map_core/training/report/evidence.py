"""What a report shows of a task: scores and chips of the validation part, by one pass over it."""

from dataclasses import dataclass

from noise2map_core.chips.store import ChipStore
from noise2map_core.evaluation.chip_tally import ChipTally
from noise2map_core.evaluation.scores import MapScores, evaluate_model
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.settings.learning import EvaluationConfig
from noise2map_core.settings.network import Task
from noise2map_core.training.report.pictures import ChipPainter, ChipPicture

NUM_CHIPS = 4
"""Chips that are shown as the worst, and as the best."""


@dataclass(frozen=True)
class TaskEvidence:
    """A task on the validation part."""

    scores: MapScores
    worst: list[ChipPicture]
    best: list[ChipPicture]
    timesteps: str
    """The chip with the most of the sought class over timesteps, `data:` URL; or empty."""


def gather_evidence(model: Noise2Map, store: ChipStore, task: Task, batch: int) -> TaskEvidence:
    """Decide all validation chips once; those that are shown are predicted again."""
    tally = ChipTally(store, task)
    settings = EvaluationConfig(batch=batch)
    scores = evaluate_model(model, store, "val", task, settings, tally)
    painter = ChipPainter(model, store, task)
    worst, best = tally.extremes(NUM_CHIPS)
    richest = tally.richest()
    return TaskEvidence(
        scores,
        [painter.paint(score) for score in worst],
        [painter.paint(score) for score in best],
        painter.over_timesteps(richest) if richest else "",
    )
