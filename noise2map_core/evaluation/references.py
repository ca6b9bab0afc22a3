"""What is found without learning change, on the same pixels: by detectors, by maps compared."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.store import ChipStore
from noise2map_core.detectors.compared import DECIDED_FROM
from noise2map_core.detectors.detector import MULTISPECTRAL, Detector
from noise2map_core.detectors.transitions import compare
from noise2map_core.evaluation.batches import ChipBatch, ChipReader
from noise2map_core.evaluation.counting import (
    BlockCounter,
    Scorer,
    SplitPixels,
    model_logits,
    probability_of,
    score_histogram,
)
from noise2map_core.evaluation.scores import MapScores, scores_of
from noise2map_core.inference.decision import TOLERANCE
from noise2map_core.learning.baseline import NUM_BINS
from noise2map_core.learning.metrics import ScoreHistogram
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.errors import PairRejectedError
from noise2map_core.settings.detector import DetectorConfig, Kind
from noise2map_core.settings.learning import EvaluationConfig

FALSE_ALARMS = DetectorConfig().false_alarms
SAMPLE_PX = 1 << 20
"""Pixels of a pair of dates that its detector is fitted to, about."""

Floats = NDArray[np.float32]
Thresholds = Callable[[ChipBatch], Any]
"""What each pixel's score is compared with: a number, or one a chip [chip, 1, 1]."""


def kinds_for(num_bands: int) -> tuple[Kind, ...]:
    """The detectors that suit so many bands: mixtures of bands need some."""
    return ("mad", "irmad") if num_bands >= MULTISPECTRAL else ("cva",)


def evaluate_detector(
    kind: Kind, store: ChipStore, split: str, config: EvaluationConfig
) -> MapScores | None:
    """Scores of a detector that is fitted to the split's own pixels, without their labels, and
    decided at `FALSE_ALARMS`. The threshold is the mean over pairs of dates.

    None if it can be fitted to no pair.
    """
    detectors = PairDetectors(kind, store, split)
    pixels = SplitPixels.of(store, split, "change", config.batch_size)
    blocks, ranks = _judged(pixels, detectors.score, detectors.thresholds, config.block_px)
    if not detectors.fitted:
        return None
    name = store.attributes["classes"]["change"][1]["name"]
    threshold = float(np.mean([one.threshold(FALSE_ALARMS) for one in detectors.fitted]))
    return scores_of(pixels, blocks, {name: threshold}, ranks.roc_auc)


class PairDetectors:
    """A detector of one kind for each pair of dates and grid of a split, fitted when it is asked
    for."""

    def __init__(self, kind: Kind, store: ChipStore, split: str) -> None:
        self._kind: Kind = kind
        self._reader = ChipReader(store, ())
        self._chips = store.chips_of(split)
        columns = np.column_stack([store.read("crs"), store.read("datetime")])
        self._pair = np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)
        self._detectors: dict[int, Detector | None] = {}

    @property
    def fitted(self) -> list[Detector]:
        """Those that could be fitted."""
        return [one for one in self._detectors.values() if one is not None]

    def score(self, batch: ChipBatch) -> Floats:
        """Probability of change [chip, y, x]; 0 where nothing could be fitted."""
        seen = np.asarray(batch.valid[:, [0, -1]].all(axis=1))
        return np.stack(
            [
                np.zeros(valid.shape, np.float32)
                if (detector := self._of(chip)) is None
                else detector.probability(image, valid)
                for chip, image, valid in zip(
                    batch.chip.tolist(), batch.image[:, [0, -1]], seen, strict=True
                )
            ]
        )

    def thresholds(self, batch: ChipBatch) -> Floats:
        """Of each chip [chip, 1, 1]; 2, which nothing reaches, where nothing could be fitted."""
        found = [
            2.0 if (detector := self._of(chip)) is None else detector.threshold(FALSE_ALARMS)
            for chip in batch.chip.tolist()
        ]
        return np.array(found, np.float32)[:, None, None]

    def _of(self, chip: int) -> Detector | None:
        pair = int(self._pair[chip])
        if pair not in self._detectors:
            self._detectors[pair] = self._fit(self._chips[self._pair[self._chips] == pair])
        return self._detectors[pair]

    def _fit(self, chips: NDArray[np.int64]) -> Detector | None:
        """To chips evenly from all of a pair's."""
        size = self._reader.read(chips[:1]).image[0, 0, 0].size
        most = min(len(chips), max(1, SAMPLE_PX // size))
        batch = self._reader.read(chips[np.arange(most) * len(chips) // most])
        seen = np.asarray(batch.valid[:, [0, -1]].all(axis=1))
        try:
            return Detector.fit(self._kind, list(zip(batch.image[:, [0, -1]], seen, strict=True)))
        except PairRejectedError:
            return None


def evaluate_compared(
    model: Noise2Map, store: ChipStore, split: str, config: EvaluationConfig
) -> MapScores:
    """Scores of the model's maps of the first and the last date, compared.

    The threshold has the best F1 on the training part; without one it is that of maps.
    """
    scorer = compared_scorer(model)
    threshold = DECIDED_FROM
    if "train" in store.splits:
        known = SplitPixels.of(store, "train", "change", config.batch_size)
        threshold = score_histogram(known, scorer, NUM_BINS).best_threshold()
    pixels = SplitPixels.of(store, split, "change", config.batch_size)
    blocks, ranks = _judged(pixels, scorer, lambda _: threshold, config.block_px)
    name = store.attributes["classes"]["change"][1]["name"]
    return scores_of(pixels, blocks, {name: threshold}, ranks.roc_auc)


def compared_scorer(model: Noise2Map) -> Scorer:
    """Probability of change between a model's maps of the first and the last date."""
    task = model.spec.tasks["segment"]
    logits_of = model_logits(model, task.inference_timesteps, "segment")

    def score(batch: ChipBatch) -> Floats:
        each, count = probability_of(logits_of(batch), task.temperature), len(batch.chip)
        pairs = zip(each[:count], each[-count:], strict=True)
        return np.stack([compare(before, after)[0][1] for before, after in pairs])

    return score


def _judged(
    pixels: SplitPixels, scorer: Scorer, thresholds: Thresholds, block_px: int
) -> tuple[NDArray[np.int64], ScoreHistogram]:
    """Confusion counts by block, and all scores."""
    counter, ranks = BlockCounter(pixels, 2, block_px), ScoreHistogram.empty(NUM_BINS)
    for batch, truth in pixels.batches():
        score = scorer(batch)
        decided = (score >= thresholds(batch) - TOLERANCE).astype(np.uint8)
        counter.add(batch, truth, decided)
        ranks += ScoreHistogram.of(score, truth, NUM_BINS)
    return counter.blocks(), ranks
