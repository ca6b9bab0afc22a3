"""Scores of models beside the baseline's: the table for people, and the document for tools."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from noise2map_core import __version__
from noise2map_core.chips.store import ChipStore
from noise2map_core.evaluation.scores import MapScores, ScoredClass
from noise2map_core.learning.skill import warning
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.report.notebook import Shown
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.digest import digest_of
from noise2map_core.settings.learning import Decision
from noise2map_core.settings.network import Task
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig

SHOWN_AS = {
    "mad": "MAD, no labels", "irmad": "IR-MAD, no l.", "cva": "CVA, no labels",
    "semantic": "maps compared",
}  # fmt: skip


@dataclass(frozen=True)
class EvaluateMapsResult(Shown):
    """Scores of models and baseline on the same pixels."""

    name: str
    split: str
    task: Task
    protocol: str | None
    models: tuple[MapScores, ...]
    """Of each checkpoint."""
    baseline: MapScores | None
    """Change vector analysis; None where it does not apply: other tasks."""
    output: Path | None
    outside: str
    """What is outside the first checkpoint's domain; empty: nothing."""
    references: dict[str, MapScores] = field(default_factory=dict)
    """What is found without learning change, by name: mad, irmad, cva (detectors, without labels),
    semantic (maps of both dates compared)."""
    decision: Decision = "threshold"
    """How models decide."""

    @property
    def model(self) -> MapScores:
        """Scores of the first checkpoint."""
        return self.models[0]

    def data(self, store: str) -> str:
        """What was scored, in the words of a model card."""
        outside = f" (out of domain: {self.outside})" if self.outside else ""
        return f"{store}, {self.split}: {self.task}{outside}"

    def files(self) -> Mapping[str, Path]:
        """What was written."""
        return {"scores": self.output} if self.output else {}

    def summary(self) -> list[str]:
        """A table for people."""
        protocol = f", protocol {self.protocol}" if self.protocol else ""
        head = (
            f"{self.task}, {self.split}{protocol}: {self.model.num_pixels:,} labelled pixels in "
            f"{self.model.num_blocks} spatial blocks"
        )
        if self.decision == "argmax":
            head += "; decided for the most probable class"
        written = [f"scores  {self.output}"] if self.output else []
        if self.outside:
            head += f"; out of domain: {self.outside}"
        return [head, *self._warnings(), *self._table(), *self._notes(), *written]

    def _warnings(self) -> Iterator[str]:
        for index, scores in enumerate(self.models):
            which = f"{self.name} {index + 1}" if len(self.models) > 1 else self.name
            if scores.doubts:
                yield warning(which, scores.doubts)
            if scores.calibration is not None and scores.calibration.is_worse:
                yield (
                    f"WARNING: on these pixels the temperature of {which} makes probabilities less "
                    "true than without: they are of other imagery than it was chosen on."
                )

    def _table(self) -> Iterator[str]:
        yield (
            f"{'':14} {'class':12} {'F1':>6} {'95 % interval':>16} {'IoU':>6} {'prec.':>6} "
            f"{'recall':>6} {'pixels':>11}"
        )
        several = len(self.models) > 1
        for index, scores in enumerate(self.models):
            yield from _rows(f"{self.name} {index + 1}" if several else self.name, scores)
        if several:
            yield from self._spread()
        if self.baseline is not None:
            yield from _rows("CVA", self.baseline)
        for name, scores in self.references.items():
            yield from _rows(SHOWN_AS[name], scores)

    def _spread(self) -> Iterator[str]:
        for label in self.model.classes:
            f1, iou = (
                [getattr(scores.classes[label], key) for scores in self.models]
                for key in ("f1", "iou")
            )
            spread = f"± {stdev(f1):.3f}"
            yield (
                f"{'mean ± std':14} {label:12} {fmean(f1):6.3f} {spread:>16} {fmean(iou):6.3f} "
                f"± {stdev(iou):.3f}"
            )

    def _notes(self) -> Iterator[str]:
        scores = self.model
        if len(self.models) > 1:
            yield f"of {self.name} 1:"
        yield (
            f"mean F1 {scores.mean_f1:.3f}, mean IoU {scores.mean_iou:.3f}, accuracy "
            f"{scores.accuracy:.3f}, kappa {scores.kappa:.3f}"
        )
        areas = {self.name: scores.roc_auc, "CVA": self.baseline and self.baseline.roc_auc}
        areas |= {SHOWN_AS[name]: one.roc_auc for name, one in self.references.items()}
        if told := [f"{name} {area:.3f}" for name, area in areas.items() if area is not None]:
            yield f"area under the ROC curve: {', '.join(told)}"
        if scores.objects is not None:
            yield (
                f"objects of {list(scores.classes)[1]} at IoU 0.5: F1 {scores.objects.f1:.3f} "
                f"({scores.objects.truths:,} there, {scores.objects.predictions:,} predicted)"
            )
        if scores.calibration is not None:
            yield (
                f"calibration error {scores.calibration.ece_before:.4f}, with temperature "
                f"{scores.calibration.temperature:.2f} {scores.calibration.ece_after:.4f}"
            )
            if scores.calibration.timestep_spread is not None:
                yield (
                    "standard deviation of the probability over timesteps "
                    f"{scores.calibration.timestep_spread:.4f}"
                )


def _rows(name: str, scores: MapScores) -> Iterator[str]:
    for label, one in scores.classes.items():
        yield _row(name, label, one)


def _row(name: str, label: str, one: ScoredClass) -> str:
    return (
        f"{name:14} {label:12} {one.f1:6.3f} {one.f1_low:7.3f} – {one.f1_high:.3f} {one.iou:7.3f} "
        f"{one.precision:6.3f} {one.recall:6.3f} {one.support:11,}"
    )


def write_scores(
    path: Path,
    result: EvaluateMapsResult,
    models: Sequence[Noise2Map],
    store: ChipStore,
    config: EvaluateMapsConfig,
) -> None:
    """Write the scores as JSON, with what they are of."""
    document: dict[str, Any] = {
        "name": result.name,
        "split": result.split,
        "task": result.task,
        "decision": result.decision,
        "dataset": store.attributes.get("dataset"),
        "model": asdict(result.model),
        "more_models": [asdict(scores) for scores in result.models[1:]],
        "baseline": result.baseline
        and {"kind": "change_vector_analysis", **asdict(result.baseline)},
        "references": {name: asdict(scores) for name, scores in result.references.items()},
        "checkpoint": str(config.checkpoint),
        "more_checkpoints": [str(path) for path in config.more_checkpoints],
        "model_digest": models[0].spec.digest,
        "more_model_digests": [model.spec.digest for model in models[1:]],
        "chips": str(config.chips),
        "chips_digest": digest_of(store.objects),
        "evaluation": config.evaluation.model_dump(mode="json"),
        "code_version": __version__,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(document, indent=2) + "\n")
