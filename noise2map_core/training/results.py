"""What trainings made, and what people are told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noise2map_core.chips.places import CHOSEN_ON, VAL
from noise2map_core.learning.skill import warning
from noise2map_core.models.spec import CheckpointSpec, read_spec
from noise2map_core.report.notebook import Shown
from noise2map_core.training.pretraining import EXAMPLES
from noise2map_core.training.run import TrainingRun
from noise2map_core.training.validation import doubts_of_chosen


@dataclass(frozen=True)
class FinetuneMapsResult(Shown):
    """What a fine-tuning made."""

    checkpoint: Path
    """Checkpoint directory."""
    report: Path
    """The training for people, one HTML page."""
    spec: CheckpointSpec
    val_f1: float
    """Validation F1 of the classes that are sought, mean over the tasks; it chose the epoch."""
    epoch: int
    """Epochs behind the weights."""
    trained: bool
    """False: the output was finished already."""
    made: tuple[str, ...] = ()
    """What was made besides, of which people are told if nothing was trained."""
    doubts: str = ""
    """Why the model is no better than chance; empty: it is better."""
    skipped: int = 0
    """Steps that were not taken, for their gradients were not finite."""
    chosen_on: str = VAL
    """The part that epoch, threshold and temperature were chosen on: under protocol paper it may be
    the one that is scored."""

    @classmethod
    def of(
        cls, training_run: TrainingRun, *, trained: bool, made: Sequence[str]
    ) -> "FinetuneMapsResult":
        """What a finished run says of itself."""
        found = training_run.results()
        return cls(
            checkpoint=training_run.checkpoint,
            report=training_run.report,
            spec=read_spec(training_run.checkpoint),
            val_f1=found["val_f1"],
            epoch=found["epoch"],
            trained=trained,
            made=tuple(made),
            doubts=doubts_of_chosen(found),
            skipped=found["history"][-1].get("skipped", 0),
            chosen_on=found.get(CHOSEN_ON, VAL),
        )

    def files(self) -> Mapping[str, Path]:
        """What was written."""
        return {"report": self.report, "checkpoint": self.checkpoint}

    def summary(self) -> list[str]:
        """Lines for people."""
        done = "" if self.trained else _rerun_line(self.made)
        doubted = warning("the model", self.doubts) if self.doubts else ""
        chosen = "" if self.chosen_on == VAL else _flattery(self.chosen_on)
        lines = (done, doubted, chosen, *self._figures(), _skipped_line(self.skipped))
        return [line for line in lines if line]

    def _figures(self) -> list[str]:
        thresholds = [
            f"{name} from {value:.3f}"
            for task in self.spec.tasks.values()
            for name, value in task.threshold.items()
        ]
        decided = f"; decided {', '.join(thresholds)}" if thresholds else ""
        return [
            f"checkpoint  {self.checkpoint}",
            f"report      {self.report}",
            f"validation  {'' if self.doubts else 'best '}F1 {self.val_f1:.3f} after {self.epoch} "
            f"epochs{', no better than chance' if self.doubts else ''}{decided}",
        ]


@dataclass(frozen=True)
class FoldsResult(Shown):
    """What the trainings of all folds of places made."""

    folds: tuple[FinetuneMapsResult, ...]

    def files(self) -> Mapping[str, Path]:
        """The report of each fold."""
        return {one.checkpoint.parent.name: one.report for one in self.folds}

    def summary(self) -> list[str]:
        """Lines for people."""
        lines = [
            f"{one.checkpoint.parent.name:<10}  validation F1 {one.val_f1:.3f} after {one.epoch} "
            f"epochs{', no better than chance' if one.doubts else ''}"
            for one in self.folds
        ]
        output = self.folds[0].checkpoint.parents[1]
        return [*lines, f"score       evaluate-maps --protocol transfer --checkpoint {output} …"]


@dataclass(frozen=True)
class PretrainDenoiserResult(Shown):
    """What a pretraining made."""

    checkpoint: Path
    """Checkpoint directory."""
    examples: Path
    """Picture of noised and denoised images."""
    val_loss: float
    """Mean squared error on the validation part."""
    history: list[dict[str, Any]]
    """Of every validated epoch: epoch, loss, train_s, val_loss."""
    trained: bool
    """False: the output was finished already."""
    made: tuple[str, ...] = ()
    """What was made besides, of which people are told if nothing was trained."""

    @classmethod
    def of(
        cls, training_run: TrainingRun, *, trained: bool, made: Sequence[str]
    ) -> "PretrainDenoiserResult":
        """What a finished run says of itself."""
        history = training_run.results()["history"]
        return cls(
            checkpoint=training_run.checkpoint,
            examples=training_run.output / EXAMPLES,
            val_loss=history[-1]["val_loss"],
            history=history,
            trained=trained,
            made=tuple(made),
        )

    def files(self) -> Mapping[str, Path]:
        """What was written."""
        return {"examples": self.examples, "checkpoint": self.checkpoint}

    def summary(self) -> list[str]:
        """Lines for people."""
        done, last = "" if self.trained else _rerun_line(self.made), self.history[-1]
        lines = [
            f"checkpoint  {self.checkpoint}",
            f"examples    {self.examples}",
            f"validation  mean squared error {self.val_loss:.4f} after {int(last['epoch'])} epochs",
            _skipped_line(last.get("skipped", 0)),
        ]
        return [line for line in (done, *lines) if line]


def _flattery(part: str) -> str:
    return (
        f"WARNING: epoch, threshold and temperature were chosen on the part {part}, as protocol "
        "paper does: scores of that part flatter. Protocol strict keeps it apart."
    )


def _rerun_line(made: Sequence[str]) -> str:
    """What a run says first that found its weights trained, and made only what `made` names."""
    if not made:
        return "nothing to do: trained already with the same settings"
    return f"trained already with the same settings; made {' and '.join(made)}"


def _skipped_line(skipped: int) -> str:
    """What to say of steps that were not taken; empty: all were."""
    if not skipped:
        return ""
    return (
        f"warning     {skipped} steps were skipped: their gradients were not finite. Lower "
        "training.learning_rate, or check the chips for absurd values"
    )
