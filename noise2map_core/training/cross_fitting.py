"""How good maps are, each block of which is by who did not learn there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.order import Int64
from noise2map_core.chips.store import ChipStore
from noise2map_core.evaluation.batches import ChipBatch, ChipReader, iter_batches
from noise2map_core.evaluation.counting import PixelOwners, model_logits, probability_of
from noise2map_core.evaluation.pair_detectors import PairDetectors
from noise2map_core.inference.decision import TOLERANCE, decide_classes
from noise2map_core.labels import IGNORE
from noise2map_core.learning.metrics import ConfusionCounts, ScoreHistogram
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.settings.network import Task
from noise2map_core.training.teaching import School, colour_of

NUM_BINS = 10_000
BATCH = 16
CHANGE: Task = "change"
TEACHER = "teacher"

Mapped = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""Probability of change, and 1 where change is called: [chip, y, x]."""
Mapper = Callable[[ChipBatch], Mapped]


@dataclass(frozen=True)
class MapQuality:
    """Scores of the changed class; each in [0, 1]."""

    f1: float
    """At the map's own threshold."""
    precision: float
    recall: float
    best_f1: float
    """At the best threshold, which only the truth tells."""
    roc_auc: float
    num_pixels: int
    """That have a truth, each counted once."""

    def row(self, data: str, method: str) -> tuple[str, ...]:
        """Of the table of scores in a model card."""
        return (
            data, "changed", method, f"{self.f1:.3f}", f"{self.f1 / (2 - self.f1):.3f}",
            f"{self.roc_auc:.3f}", f"{self.num_pixels:,}",
        )  # fmt: skip


def cross_mapper(models: Sequence[Noise2Map], school: School) -> Mapper:
    """Of the models that learnt from blocks of colour 0 and 1: each maps the other's."""
    each, place = [_mapper(model) for model in models], _places(school.store)
    block_px = school.lesson.block_px

    def mapped(batch: ChipBatch) -> Mapped:
        colour = _pixel_colours(place[batch.chip], batch.image.shape[-1], block_px)
        (black, called_black), (white, called_white) = (one(batch) for one in each)
        mine = colour == 1
        return np.where(mine, black, white), np.where(mine, called_black, called_white)

    return mapped


def teacher_mapper(teacher: PairDetectors, false_alarms: float) -> Mapper:
    """Of the detectors."""

    def mapped(batch: ChipBatch) -> Mapped:
        probability = teacher.probability(batch.chip, batch.image, batch.valid)
        least = teacher.thresholds(batch.chip, false_alarms) - TOLERANCE
        return probability, (probability >= least).astype(np.uint8)

    return mapped


def score_maps(
    school: School, false_alarms: float, students: Mapping[str, Mapper]
) -> dict[str, MapQuality]:
    """Scores of the teacher, as `TEACHER`, and of the students; empty if there is no truth of both
    kinds.

    The truth is the store's labels, or what the teacher is sure of in later pairs.
    """
    mappers = {TEACHER: teacher_mapper(school.teacher, false_alarms), **students}
    counts = dict.fromkeys(mappers, ConfusionCounts.empty(2))
    ranks = dict.fromkeys(mappers, ScoreHistogram.empty(NUM_BINS))
    for batch, truth in _batches(school):
        for name, mapper in mappers.items():
            probability, called = mapper(batch)
            counts[name] += ConfusionCounts.of(truth, called, 2)
            ranks[name] += ScoreHistogram.of(np.nan_to_num(probability), truth, NUM_BINS)
    if ranks[TEACHER].roc_auc is None:
        return {}
    return {name: _quality(counts[name], ranks[name]) for name in mappers}


def _quality(counts: ConfusionCounts, ranks: ScoreHistogram) -> MapQuality:
    scores = counts.scores(1)
    return MapQuality(
        scores.f1, scores.precision, scores.recall, ranks.best_f1(), ranks.roc_auc or 0.0,
        counts.num_pixels,
    )  # fmt: skip


def _mapper(model: Noise2Map) -> Mapper:
    task = model.spec.tasks[CHANGE]
    logits_of = model_logits(model, task.inference_timesteps, CHANGE)

    def mapped(batch: ChipBatch) -> Mapped:
        probability = probability_of(logits_of(batch), task.temperature)
        return probability[:, 1], decide_classes(probability, task)

    return mapped


def _places(store: ChipStore) -> Int64:
    columns = [store.read(name) for name in ("crs", "row", "col")]
    return np.column_stack(columns).astype(np.int64)


def _pixel_colours(place: Int64, chip_px: int, block_px: int) -> Int64:
    """[chip, y, x] the colours of the blocks in which the pixels of chips at places lie."""
    crs, row, col = place.T[:, :, None, None]
    step = np.arange(chip_px)
    return colour_of(crs, (row + step[:, None]) // block_px, (col + step) // block_px)


def _batches(school: School) -> Iterator[tuple[ChipBatch, NDArray[np.uint8]]]:
    """All chips, and what is true of the pixels that each owns; 255 where the teacher is blind."""
    store, later = school.store, school.later
    reader = ChipReader(store, (CHANGE,) if later is None else (), cache_bytes=0)
    for split in dict.fromkeys(store.splits.tolist()):
        owners, chips = PixelOwners(store, split), store.chips_of(split)
        chips = chips if later is None else chips[later[chips] >= 0]
        for batch in iter_batches(reader, chips, BATCH):
            mine = np.stack([owners.owned(chip) for chip in batch.chip.tolist()])
            mine &= ~np.isnan(_taught(school, batch))
            yield batch, np.where(mine, _truth(school, batch), np.uint8(IGNORE))


def _taught(school: School, batch: ChipBatch) -> NDArray[np.float32]:
    return school.teacher.probability(batch.chip, batch.image, batch.valid)


def _truth(school: School, batch: ChipBatch) -> NDArray[np.uint8]:
    if school.later is None:
        label = batch.truth(CHANGE)
        return np.where(label == IGNORE, label, label > 0).astype(np.uint8)
    reader = ChipReader(school.store, (), cache_bytes=0)
    return school.lesson.sure(_taught(school, reader.read(school.later[batch.chip])))
