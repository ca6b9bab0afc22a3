"""Score a checkpoint on one part of a chip store, beside change vector analysis."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.application import application
from noise2map_core.imagery.config import SplitName
from noise2map_core.learning.config import EvaluationConfig
from noise2map_core.models.spec import Task

if TYPE_CHECKING:
    from noise2map_core.imagery.chip_store import ChipStore
    from noise2map_core.inference.scores import MapScores


class EvaluateMapsConfig(BaseModel):
    """Score a checkpoint on one part of a chip store."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    checkpoint: Path
    """Directory that finetune-maps wrote."""

    chips: Path
    """Chip store with labels."""

    split: SplitName = "test"
    """Part of the store that is scored. The baseline's statistics and threshold come from train."""

    task: Task | None = None
    """What is scored: change or segment. None: the checkpoint's only task."""

    output: Path | None = None
    """JSON file for the scores. None: only the table is printed."""

    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    """How scores are computed."""


@dataclass(frozen=True)
class EvaluateMapsResult:
    """Scores of model and baseline on the same pixels."""

    split: str
    task: Task
    model: MapScores
    baseline: MapScores | None
    """Change vector analysis; None where it does not apply: other tasks, no training part."""
    output: Path | None

    def summary(self) -> list[str]:
        """A table for people."""
        head = (
            f"{'':10} {'class':10} {'F1':>6} {'95 % interval':>16} {'IoU':>6} {'prec.':>6} "
            f"{'recall':>6} {'pixels':>9}"
        )
        rows = _rows("noise2map", self.model)
        if self.baseline is not None:
            rows += _rows("CVA", self.baseline)
        pixels = f"{self.model.num_pixels:,} labelled pixels of {self.split} in "
        written = [f"scores  {self.output}"] if self.output else []
        return [f"{pixels}{self.model.num_blocks} spatial blocks", head, *rows, *written]


def run(config: EvaluateMapsConfig) -> EvaluateMapsResult:
    """Predict the chips of a split, count each labelled pixel once, score model and baseline."""
    from noise2map_core.imagery.chip_store import open_store
    from noise2map_core.inference.scores import (
        evaluate_baseline,
        evaluate_model,
        require_evaluable,
    )
    from noise2map_core.models.checkpoint import load_checkpoint

    store = open_store(config.chips)
    model = load_checkpoint(config.checkpoint)
    task = model.spec.task_name(config.task)
    require_evaluable(model.spec, store, config.split, task)
    comparable = task == "change" and "train" in store.splits
    result = EvaluateMapsResult(
        config.split,
        task,
        evaluate_model(model, store, config.split, task, config.evaluation),
        evaluate_baseline(store, config.split, config.evaluation) if comparable else None,
        config.output,
    )
    if config.output is not None:
        _write(config, result, model.spec.digest, store)
    return result


def _rows(name: str, scores: MapScores) -> list[str]:
    return [
        f"{name:10} {label:10} {one.f1:6.3f} {one.f1_low:7.3f} – {one.f1_high:.3f} {one.iou:7.3f} "
        f"{one.precision:6.3f} {one.recall:6.3f} {one.support:9,}"
        for label, one in scores.classes.items()
    ]


def _write(
    config: EvaluateMapsConfig, result: EvaluateMapsResult, digest: str, store: ChipStore
) -> None:
    from noise2map_core import __version__
    from noise2map_core.atomic import write_atomically
    from noise2map_core.digest import digest_of

    document: dict[str, Any] = {
        "split": result.split,
        "task": result.task,
        "model": asdict(result.model),
        "baseline": result.baseline
        and {"kind": "change_vector_analysis", **asdict(result.baseline)},
        "checkpoint": str(config.checkpoint),
        "model_digest": digest,
        "chips": str(config.chips),
        "chips_digest": digest_of(store.objects),
        "evaluation": config.evaluation.model_dump(mode="json"),
        "code_version": __version__,
    }
    assert config.output is not None
    config.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(config.output, json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    application(EvaluateMapsConfig, run)
