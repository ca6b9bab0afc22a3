"""Scores of a model and of the baseline on one split, with intervals."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noise2map_core.errors import CheckpointError, ChipStoreError
from noise2map_core.imagery.chip_store import ChipStore
from noise2map_core.inference.chip_batches import ChipBatch
from noise2map_core.inference.evaluation import (
    Scorer,
    SplitPixels,
    block_counts,
    model_scorer,
    score_histogram,
)
from noise2map_core.inference.training_data import band_spread
from noise2map_core.learning.baseline import NUM_BINS, ChangeVectorAnalysis, magnitude_of
from noise2map_core.learning.config import EvaluationConfig
from noise2map_core.learning.metrics import ConfusionCounts, block_bootstrap_f1
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec


@dataclass(frozen=True)
class ScoredClass:
    """Scores of one class; each in [0, 1]."""

    f1: float
    f1_low: float
    f1_high: float
    """95 % interval of F1 by a bootstrap over spatial blocks."""
    iou: float
    precision: float
    recall: float
    support: int
    """Pixels that truly are of this class."""


@dataclass(frozen=True)
class MapScores:
    """Scores of one method on one split."""

    threshold: float
    """Model: probability of change. Baseline: length of the change vector, standard deviations."""
    mean_f1: float
    """Mean F1 over the classes."""
    num_pixels: int
    """Labelled, observed pixels, each counted once."""
    num_blocks: int
    """Spatial blocks with such pixels."""
    classes: dict[str, ScoredClass]


def require_evaluable(spec: CheckpointSpec, store: ChipStore, split: str) -> None:
    """Raise unless the model fits the chips and the split has labels."""
    if not store.has_labels:
        raise ChipStoreError(
            f"chip store {store.path} has no labels to score against. Ingest it with `labels` set."
        )
    for needed in (split, "train"):
        store.chips_of(needed)
    if list(spec.bands) != store.bands:
        raise CheckpointError(
            f"the checkpoint expects bands ({', '.join(spec.bands)}); chip store {store.path} has "
            f"({', '.join(store.bands)}). Ingest the checkpoint's bands in its order."
        )
    low, high = spec.gsd_range
    if not low <= float(store.attributes["gsd"]) <= high:
        raise CheckpointError(
            f"the checkpoint accepts pixels of {low:g} to {high:g} m; chip store {store.path} has "
            f"{store.attributes['gsd']:g} m. Ingest at a resolution within that range."
        )
    chip_px = int(store.attributes["chip_px"])
    if chip_px % spec.network.stride:
        raise CheckpointError(
            f"the checkpoint needs chips of a multiple of {spec.network.stride} pixels; chip store "
            f"{store.path} has {chip_px}. Ingest it with another chips.chip_px."
        )


def evaluate_model(
    model: Noise2Map, store: ChipStore, split: str, config: EvaluationConfig
) -> MapScores:
    """Scores of the model, decided at its own threshold."""
    scorer = model_scorer(model, model.spec.inference_timesteps)
    return _scores(store, split, scorer, model.spec.threshold["changed"], config)


def evaluate_baseline(store: ChipStore, split: str, config: EvaluationConfig) -> MapScores:
    """Scores of change vector analysis; its threshold has the best F1 on the training part."""
    moments = store.statistics("train")
    analysis = ChangeVectorAnalysis(moments.mean, band_spread(store, moments))

    def scorer(batch: ChipBatch) -> NDArray[np.float32]:
        return analysis.score(batch.image)

    training = SplitPixels.of(store, "train", config.batch_size)
    threshold = score_histogram(training, scorer, NUM_BINS).best_threshold()
    scores = _scores(store, split, scorer, threshold, config)
    return replace(scores, threshold=magnitude_of(threshold))


def _scores(
    store: ChipStore, split: str, scorer: Scorer, threshold: float, config: EvaluationConfig
) -> MapScores:
    pixels = SplitPixels.of(store, split, config.batch_size)
    blocks = block_counts(pixels, scorer, threshold, config.block_px)
    if not len(blocks):
        raise ChipStoreError(
            f"chip store {store.path}: split {split!r} has no labelled, observed pixel. Ingest it "
            "with boxes where there are labels."
        )
    counts = ConfusionCounts(blocks.sum(axis=0))
    classes = {}
    for entry in store.attributes["classes"]["change"]:
        scores = counts.scores(entry["value"])
        low, high = block_bootstrap_f1(blocks, entry["value"])
        classes[entry["name"]] = ScoredClass(
            scores.f1, low, high, scores.iou, scores.precision, scores.recall, scores.support
        )
    mean_f1 = sum(one.f1 for one in classes.values()) / len(classes)
    return MapScores(threshold, mean_f1, counts.num_pixels, len(blocks), classes)
