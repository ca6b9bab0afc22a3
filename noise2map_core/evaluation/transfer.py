"""How far models carry: every place is scored by what never saw it.

Thresholds and temperatures come from training places alone. Scores are pooled over all pixels of
all places, and given of each place; whole places are drawn for the intervals.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.places import FOLD_FOLDER, Parts, dealt, with_parts
from noise2map_core.chips.store import ChipStore
from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.evaluation.counting import (
    Scorer,
    SplitPixels,
    model_logits,
    probability_of,
)
from noise2map_core.evaluation.pair_detectors import PairDetectors
from noise2map_core.evaluation.references import compared_scorer
from noise2map_core.imagery.moments import Moments
from noise2map_core.learning.baseline import ChangeVectorAnalysis
from noise2map_core.learning.calibration import ReliabilityBins
from noise2map_core.learning.metrics import ConfusionCounts, ScoreHistogram, block_bootstrap_f1
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import RUN_FILE
from noise2map_core.runtime.documents import parse_json
from noise2map_core.runtime.errors import CheckpointError, ChipStoreError
from noise2map_core.runtime.storage import read_bytes
from noise2map_core.settings.detector import Kind
from noise2map_core.settings.labels import PlacesConfig
from noise2map_core.settings.network import Task

SCORE_BINS = 10_000
"""Of the histograms that thresholds and areas are read from."""


@dataclass(frozen=True)
class Fold:
    """Places that are scored together: by one model, and with thresholds from the same places."""

    scored: tuple[str, ...]
    learnt: tuple[str, ...]
    """Places of training and validation."""
    checkpoint: Path | None = None


@dataclass(frozen=True)
class PlaceTally:
    """What was counted at a place."""

    ranks: ScoreHistogram
    confusion: ConfusionCounts
    reliability: ReliabilityBins | None
    """None of scores that are no probabilities."""

    def __add__(self, other: "PlaceTally") -> "PlaceTally":
        both = self.reliability is not None and other.reliability is not None
        return PlaceTally(
            self.ranks + other.ranks,
            self.confusion + other.confusion,
            self.reliability + other.reliability if both else None,  # type: ignore[operator]
        )


@dataclass(frozen=True)
class PlaceScores:
    """Scores of the second class at one place, or of all together; each in [0, 1]."""

    f1: float
    precision: float
    recall: float
    best_f1: float
    """At the best threshold for these very pixels: what their order allows."""
    roc_auc: float | None
    """None where one class alone is true."""
    average_precision: float | None
    """None where nothing is true."""
    ece: float | None
    """Expected calibration error, 15 bins; None of scores that are no probabilities."""
    pixels: int
    positives: int

    @classmethod
    def of(cls, tally: PlaceTally) -> "PlaceScores":
        """What the counts say."""
        scores = tally.confusion.scores(1)
        reliability = tally.reliability
        return cls(
            f1=scores.f1,
            precision=scores.precision,
            recall=scores.recall,
            best_f1=tally.ranks.best_f1(),
            roc_auc=tally.ranks.roc_auc,
            average_precision=tally.ranks.average_precision,
            ece=None if reliability is None else reliability.expected_calibration_error,
            pixels=tally.confusion.num_pixels,
            positives=scores.support,
        )


@dataclass(frozen=True)
class TransferScores:
    """One method on all places."""

    name: str
    pooled: PlaceScores
    """Over all pixels of all places."""
    f1_low: float
    f1_high: float
    """95 % interval of the pooled F1, whole places drawn with replacement."""
    mean_f1: float
    """Over the places where something is to be found."""
    places: dict[str, PlaceScores]

    @classmethod
    def of(cls, name: str, tallies: Mapping[str, PlaceTally]) -> "TransferScores":
        """What the counts of every place say together."""
        places = {place: PlaceScores.of(tallies[place]) for place in sorted(tallies)}
        blocks = np.stack([tallies[place].confusion.matrix for place in sorted(tallies)])
        low, high = block_bootstrap_f1(blocks, 1)
        found = [one.f1 for one in places.values() if one.positives]
        return cls(
            name,
            PlaceScores.of(reduce(add, tallies.values())),
            low,
            high,
            sum(found) / max(len(found), 1),
            places,
        )


def read_folds(folder: Path, store: ChipStore) -> list[Fold]:
    """The folds that `finetune-maps --places.folds` trained there.

    Raises CheckpointError if there are none, or they are of other places than the store's.
    """
    folders = sorted(folder.glob(f"{FOLD_FOLDER}*"), key=lambda one: (len(one.name), one.name))
    folds = [_read_fold(one, store) for one in folders if (one / "checkpoint").exists()]
    if not folds:
        raise CheckpointError(
            f"{folder} holds no folds. Train them with finetune-maps --places.folds 5 --output "
            f"{folder}."
        )
    scored = [place for fold in folds for place in fold.scored]
    if missing := sorted(set(store.places.tolist()) - set(scored)):
        raise CheckpointError(
            f"{folder} has no fold that scores {missing[0]}: a fold is not trained yet, or the "
            "store has places that came later. Run the same finetune-maps again."
        )
    return folds


def _read_fold(folder: Path, store: ChipStore) -> Fold:
    note = parse_json(read_bytes(folder / RUN_FILE).decode())
    places = PlacesConfig.model_validate(note["config"]["places"])
    learnt = np.unique(store.places[dealt(store, places).splits != "test"]).tolist()
    return Fold(places.test, tuple(learnt), folder / "checkpoint")


def score_models(
    name: str, store: ChipStore, folds: Sequence[Fold], task: Task, batch_size: int
) -> TransferScores:
    """Every place by the model of its fold, at the model's threshold."""
    tallies = {}
    for fold in folds:
        assert fold.checkpoint is not None
        model = load_checkpoint(fold.checkpoint)
        _require_two_classes(model, task)
        threshold = model.spec.tasks[task].decided_from
        for place in fold.scored:
            pixels = _pixels_of(store, place, task, batch_size)
            tallies[place] = _tally(pixels, _probability(model, task), threshold)
    return TransferScores.of(name, tallies)


def _require_two_classes(model: Noise2Map, task: Task) -> None:
    if len(model.spec.task(task).classes) != 2:
        raise CheckpointError("protocol transfer scores two classes; the checkpoint has more.")


def _probability(model: Noise2Map, task: Task) -> Scorer:
    spec = model.spec.tasks[task]
    logits_of = model_logits(model, spec.inference_timesteps, task)
    return lambda batch: np.asarray(probability_of(logits_of(batch), spec.temperature)[:, 1])


def _pixels_of(store: ChipStore, place: str, task: Task, batch_size: int) -> SplitPixels:
    parts: Parts = {"test": (place,)}
    return SplitPixels.of(with_parts(store, parts), "test", task, batch_size)


def _tally(pixels: SplitPixels, scorer: Scorer, threshold: float) -> PlaceTally:
    ranks, reliability = ScoreHistogram.empty(SCORE_BINS), ReliabilityBins.empty()
    for batch, truth in pixels.batches():
        score = scorer(batch)
        ranks += ScoreHistogram.of(score, truth, SCORE_BINS)
        reliability += ReliabilityBins.of(score, truth)
    return PlaceTally(ranks, ranks.confusion_at(threshold), reliability)


Fit = Callable[[ChipStore, str], Scorer]
"""A scorer of one place, from its pixels and without its labels."""


def score_statistics(
    store: ChipStore, folds: Sequence[Fold], batch_size: int, semantic: Noise2Map | None = None
) -> list[TransferScores]:
    """Methods that learn no change: their statistics are each place's own, or they compare what
    `semantic` sees at the dates. Their thresholds have the highest F1 on the places of training and
    validation."""
    fits: dict[str, Fit] = {"CVA": _vectors}
    fits |= {kind.upper(): _anywhere(_detector(store, kind)) for kind in _kinds(store)}
    if semantic is not None:
        fits["semantic"] = _anywhere(compared_scorer(semantic))
    return [_score_fit(name, fit, store, folds, batch_size) for name, fit in fits.items()]


def _anywhere(scorer: Scorer) -> Fit:
    return lambda store, place: scorer


def _kinds(store: ChipStore) -> tuple[Kind, ...]:
    """Mixtures of bands need some."""
    return ("mad", "irmad") if len(store.bands) > 1 else ()


def _score_fit(
    name: str, fit: Fit, store: ChipStore, folds: Sequence[Fold], batch_size: int
) -> TransferScores:
    places = sorted({place for fold in folds for place in (*fold.scored, *fold.learnt)})
    ranks = {
        place: _ranks(_pixels_of(store, place, "change", batch_size), fit(store, place))
        for place in places
    }
    tallies = {}
    for fold in folds:
        threshold = reduce(add, (ranks[place] for place in fold.learnt)).best_threshold()
        for place in fold.scored:
            confusion = ranks[place].confusion_at(threshold)
            tallies[place] = PlaceTally(ranks[place], confusion, None)
    return TransferScores.of(name, tallies)


def _ranks(pixels: SplitPixels, scorer: Scorer) -> ScoreHistogram:
    found = (ScoreHistogram.of(scorer(b), truth, SCORE_BINS) for b, truth in pixels.batches())
    return reduce(add, found, ScoreHistogram.empty(SCORE_BINS))


def _vectors(store: ChipStore, place: str) -> Scorer:
    moments = Moments.from_json(store.attributes["places"]["statistics"][place])
    std = np.sqrt(moments.m2 / np.maximum(moments.count, 1))
    analysis = ChangeVectorAnalysis(moments.mean, np.where(std > 0, std, 1.0))
    return lambda batch: analysis.score(batch.image)


def _detector(store: ChipStore, kind: Kind) -> Scorer:
    """A place too small for statistics, where a map would be refused, has no change."""
    detectors = PairDetectors.of(store, kind)

    def score(batch: ChipBatch) -> NDArray[np.float32]:
        length = np.nan_to_num(detectors.length(batch.chip, batch.image, batch.valid))
        return length / (1 + length)

    return score


def require_places(store: ChipStore, task: Task) -> None:
    """Raise ChipStoreError unless several places have labels of the task."""
    store.require((), (task,))
    if len(store.attributes["places"]["counts"]) < 2:
        raise ChipStoreError(
            f"chip store {store.path} has one place, and nothing to carry over to. Ingest more "
            "areas into it."
        )
