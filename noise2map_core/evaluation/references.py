"""What is found without learning change, on the same pixels: by detectors, by maps compared."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.store import ChipStore
from noise2map_core.detectors.compared import DECIDED_FROM
from noise2map_core.detectors.detector import MULTISPECTRAL
from noise2map_core.detectors.transitions import compare
from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.evaluation.counting import (
    BlockCounter,
    Scorer,
    SplitPixels,
    model_logits,
    probability_of,
    score_histogram,
)
from noise2map_core.evaluation.pair_detectors import Floats, PairDetectors
from noise2map_core.evaluation.scores import MapScores, scores_of
from noise2map_core.inference.decision import TOLERANCE
from noise2map_core.learning.baseline import NUM_BINS
from noise2map_core.learning.metrics import ScoreHistogram
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.settings.detector import DetectorConfig, Kind
from noise2map_core.settings.learning import EvaluationConfig

FALSE_ALARMS = DetectorConfig().false_alarms

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
    detectors = PairDetectors.of(store, kind, store.chips_of(split))
    pixels = SplitPixels.of(store, split, "change", config.batch)

    def score(batch: ChipBatch) -> Floats:
        return np.nan_to_num(detectors.probability(batch.chip, batch.image, batch.valid))

    def thresholds(batch: ChipBatch) -> Floats:
        return detectors.thresholds(batch.chip, FALSE_ALARMS)

    blocks, ranks = _judged(pixels, score, thresholds, config.block_px)
    if not detectors.fitted:
        return None
    name = store.attributes["classes"]["change"][1]["name"]
    threshold = float(np.mean([one.threshold(FALSE_ALARMS) for one in detectors.fitted]))
    return scores_of(pixels, blocks, {name: threshold}, ranks.roc_auc)


def evaluate_compared(
    model: Noise2Map, store: ChipStore, split: str, config: EvaluationConfig
) -> MapScores:
    """Scores of the model's maps of the first and the last date, compared.

    The threshold has the best F1 on the training part; without one it is that of maps.
    """
    scorer = compared_scorer(model)
    threshold = DECIDED_FROM
    if "train" in store.splits:
        known = SplitPixels.of(store, "train", "change", config.batch)
        threshold = score_histogram(known, scorer, NUM_BINS).best_threshold()
    pixels = SplitPixels.of(store, split, "change", config.batch)
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
