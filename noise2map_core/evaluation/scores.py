"""Scores of a model and of the baseline on one split, with intervals."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from noise2map_core.chips.spread import band_spread
from noise2map_core.chips.store import ChipStore
from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.evaluation.calibration_tally import Calibration, CalibrationTally
from noise2map_core.evaluation.chip_tally import ChipTally
from noise2map_core.evaluation.counting import (
    BlockCounter,
    SplitPixels,
    block_counts,
    model_logits_over,
    probability_of,
    score_histogram,
    threshold_decider,
)
from noise2map_core.evaluation.object_tally import ObjectTally
from noise2map_core.inference.decision import decide_classes
from noise2map_core.inference.planning import way_out
from noise2map_core.learning.baseline import NUM_BINS, ChangeVectorAnalysis, magnitude_of
from noise2map_core.learning.metrics import (
    ConfusionCounts,
    ScoreHistogram,
    block_bootstrap_f1,
    block_bootstrap_kappa,
)
from noise2map_core.learning.objects import ObjectCounts
from noise2map_core.learning.skill import MIN_BLOCKS, doubts_about
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.runtime.errors import CheckpointError, ChipStoreError
from noise2map_core.settings.learning import Decision, EvaluationConfig
from noise2map_core.settings.network import Task


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
class ObjectScores:
    """Scores of the objects of the second of two classes; they match at an IoU above 0.5.

    Chips are put together before objects are formed, so that none is cut at a chip's edge.
    """

    f1: float
    precision: float
    recall: float
    truths: int
    predictions: int


@dataclass(frozen=True)
class MapScores:
    """Scores of one method on one split."""

    threshold: dict[str, float]
    """By class. Model: probability; empty: the most probable class. Baseline: length of the change
    vector, standard deviations."""
    mean_f1: float
    """Mean F1 over the classes that occur."""
    mean_iou: float
    """Mean IoU over the classes that occur."""
    accuracy: float
    """Part of the pixels whose class is right."""
    kappa: float
    """Cohen's kappa."""
    num_pixels: int
    """Labelled, observed pixels, each counted once."""
    num_blocks: int
    """Spatial blocks with such pixels."""
    classes: dict[str, ScoredClass]
    confusion: list[list[int]]
    """Pixels by true (row) and predicted (column) class, in the order of `classes`."""
    objects: ObjectScores | None = None
    """Of two classes."""
    calibration: Calibration | None = None
    """Of a model."""
    roc_auc: float | None = None
    """Area under the ROC curve of the second of two classes: how well probabilities, or lengths of
    the change vector, tell the classes apart, whatever the threshold."""
    kappa_low: float | None = None
    kappa_high: float | None = None
    """95 % interval of kappa by the same bootstrap; None where a single class is true."""
    doubts: str = ""
    """Why this is no better than chance; empty: it is better."""


def require_evaluable(
    spec: CheckpointSpec, store: ChipStore, split: str, task: Task, any_resolution: bool = False
) -> None:
    """Raise unless the model fits the chips (`any_resolution`: but for their pixel size) and the
    split has observed labels."""
    store.require((split,), (task,))
    if not any(store.attributes["counts"][split]["label_px"][task].values()):
        raise ChipStoreError(
            f"chip store {store.path}: no pixel of split {split!r} is both labelled for task "
            f"{task!r} and observed, so there is nothing to score. Choose another split."
        )
    _require_bands(spec, store)
    names = [entry["name"] for entry in store.attributes["classes"][task]]
    if names != [entry.name for entry in spec.tasks[task].classes]:
        raise CheckpointError(
            f"the checkpoint knows the classes ({_listed(spec, task)}); chip store {store.path} "
            f"has ({', '.join(names)}). Use a checkpoint of these classes."
        )
    _require_chips(spec, store, any_resolution)


def require_comparable(
    spec: CheckpointSpec, store: ChipStore, any_resolution: bool = False
) -> None:
    """Raise CheckpointError unless the model segments chips as these."""
    spec.task_name("segment")
    _require_bands(spec, store)
    _require_chips(spec, store, any_resolution)


def _require_bands(spec: CheckpointSpec, store: ChipStore) -> None:
    if list(spec.bands) != store.bands:
        raise CheckpointError(
            f"the checkpoint expects bands ({', '.join(spec.bands)}); chip store {store.path} has "
            f"({', '.join(store.bands)}). Ingest the checkpoint's bands in its order."
        )


def _require_chips(spec: CheckpointSpec, store: ChipStore, any_resolution: bool) -> None:
    if not any_resolution and not spec.accepts_gsd(store.gsd):
        low, high = spec.gsd_range
        raise CheckpointError(
            f"the checkpoint accepts pixels of {low:g} to {high:g} m; chip store {store.path} has "
            f"{store.gsd:g} m. {way_out(spec, store.gsd)} evaluation.any_resolution shows how "
            "far it carries."
        )
    chip_px = int(store.attributes["chip_px"])
    if chip_px % spec.network.stride:
        raise CheckpointError(
            f"the checkpoint needs chips of a multiple of {spec.network.stride} pixels; chip store "
            f"{store.path} has {chip_px}. Ingest it with another chips.chip_px."
        )


def _listed(spec: CheckpointSpec, task: Task) -> str:
    return ", ".join(entry.name for entry in spec.tasks[task].classes)


def evaluate_model(
    model: Noise2Map,
    store: ChipStore,
    split: str,
    task: Task,
    config: EvaluationConfig,
    chips: ChipTally | None = None,
    decision: Decision = "threshold",
) -> MapScores:
    """Scores of the model, decided at its own thresholds or for the most probable class, and how
    far it can be believed.

    `chips` is told how each chip was decided.
    """
    spec = model.spec.tasks[task]
    thresholds = spec.threshold if decision == "threshold" else {}
    logits_of = model_logits_over(model, spec.inference_timesteps, task)
    pixels = SplitPixels.of(store, split, task, config.batch)
    counter = BlockCounter(pixels, len(spec.classes), config.block_px)
    objects, calibration = ObjectTally(pixels, value=1), CalibrationTally(spec)
    two_classes, ranks = len(spec.classes) == 2, ScoreHistogram.empty()
    for batch, truth in pixels.batches():
        logits = logits_of(batch)
        probability = probability_of(logits.mean(axis=0), spec.temperature)
        decided = decide_classes(probability, spec)
        if decision == "argmax":
            decided = logits.mean(axis=0).argmax(axis=1).astype(np.uint8)
        counter.add(batch, truth, decided)
        calibration.add(logits, truth)
        if chips is not None:
            chips.add(batch, decided)
        if two_classes:
            objects.add(batch, truth, decided)
            ranks += ScoreHistogram.of(probability[:, 1], truth)
    area = ranks.roc_auc if two_classes else None
    scores = scores_of(pixels, counter.blocks(), thresholds, area, spec.temperature)
    return replace(
        scores,
        objects=_object_scores(objects.counts) if two_classes else None,
        calibration=calibration.result(),
    )


def _object_scores(counts: ObjectCounts) -> ObjectScores:
    return ObjectScores(
        counts.f1, counts.precision, counts.recall, counts.truths, counts.predictions
    )


def evaluate_baseline(store: ChipStore, split: str, config: EvaluationConfig) -> MapScores:
    """Scores of change vector analysis; its threshold has the best F1 on the training part.

    Without a training part, statistics and threshold (Otsu's) are of the scored pixels, whose
    labels they do not see. The threshold is given as the length of the change vector, standard
    deviations.
    """
    trained = "train" in store.splits
    reference = "train" if trained else split
    moments = store.statistics(reference)
    analysis = ChangeVectorAnalysis(moments.mean, band_spread(store, moments))

    def scorer(batch: ChipBatch) -> NDArray[np.float32]:
        return analysis.score(batch.image)

    known = SplitPixels.of(store, reference, "change", config.batch)
    lengths = score_histogram(known, scorer, NUM_BINS)
    threshold = lengths.best_threshold() if trained else otsu_threshold(lengths)
    pixels = SplitPixels.of(store, split, "change", config.batch)
    blocks = block_counts(pixels, threshold_decider(scorer, threshold), 2, config.block_px)
    name = store.attributes["classes"]["change"][1]["name"]
    ranks = score_histogram(pixels, scorer, NUM_BINS) if trained else lengths
    return scores_of(pixels, blocks, {name: magnitude_of(threshold)}, ranks.roc_auc)


def otsu_threshold(scores: ScoreHistogram) -> float:
    """The threshold, inclusive, that parts scores into two groups as even as can be (Otsu 1979).

    It does not look at the labels.
    """
    counts = scores.counts.sum(axis=0)
    last_below = int(threshold_otsu(hist=(counts, np.arange(len(counts)))))
    return (last_below + 1) / len(counts)


def scores_of(
    pixels: SplitPixels,
    blocks: NDArray[np.int64],
    threshold: dict[str, float],
    roc_auc: float | None,
    temperature: float = 1.0,
) -> MapScores:
    """Scores from confusion counts [block, class, class]. Raises ChipStoreError if nothing was
    counted."""
    table = pixels.store.attributes["classes"][pixels.task]
    if not len(blocks):
        raise ChipStoreError(
            f"chip store {pixels.store.path}: the split has no labelled, observed pixel of task "
            f"{pixels.task!r}. Ingest it with boxes where there are labels."
        )
    counts = ConfusionCounts(blocks.sum(axis=0))
    classes = {}
    for entry in table:
        scores = counts.scores(entry["value"])
        f1_low, f1_high = block_bootstrap_f1(blocks, entry["value"])
        classes[entry["name"]] = ScoredClass(
            scores.f1, f1_low, f1_high, scores.iou, scores.precision, scores.recall, scores.support
        )
    low, high = block_bootstrap_kappa(blocks) or (None, None)
    return MapScores(
        threshold=threshold,
        mean_f1=counts.mean_f1,
        mean_iou=counts.mean_iou,
        accuracy=counts.overall_accuracy,
        kappa=counts.kappa,
        num_pixels=counts.num_pixels,
        num_blocks=len(blocks),
        classes=classes,
        confusion=counts.matrix.tolist(),
        roc_auc=roc_auc,
        kappa_low=low,
        kappa_high=high,
        doubts=doubts_about(
            counts, list(classes), roc_auc=roc_auc, temperature=temperature,
            kappa_low=low if len(blocks) >= MIN_BLOCKS else None,
        ),
    )  # fmt: skip
