"""Fine-tune a model on a chip store, and choose epoch and threshold on validation."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("finetune-maps")  # settings first: what is imported below takes seconds

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noise2map_core.models.spec import CARD_NAME
from noise2map_core.runtime.storage import absolute
from noise2map_core.settings.learning import TaskTrainingConfig
from noise2map_core.settings.network import Task
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig

if TYPE_CHECKING:
    from noise2map_core.chips.store import ChipStore
    from noise2map_core.distributed.fitting.finetuning import TrainedWeights, TrainingJob
    from noise2map_core.models.spec import CheckpointSpec
    from noise2map_core.training.run import TrainingRun
    from noise2map_core.training.tracking import Tracker


@dataclass(frozen=True)
class FinetuneMapsResult:
    """What a run made."""

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

    def summary(self) -> list[str]:
        """Lines for people."""
        from noise2map_core.learning.skill import warning
        from noise2map_core.training.run import rerun_line, skipped_line

        done = "" if self.trained else rerun_line(self.made)
        doubted = warning("the model", self.doubts) if self.doubts else ""
        lines = (done, doubted, *self._figures(), skipped_line(self.skipped))
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


def run(config: FinetuneMapsConfig) -> FinetuneMapsResult:
    """Check the chips, train from where an earlier run ended, save the chosen weights, report."""
    from noise2map_core.chips.store import open_store

    store = open_store(config.chips)
    store.require(("train", "val"), config.tasks)  # before libraries that take their time
    from noise2map_core.distributed.cluster.needs import require_feasible
    from noise2map_core.models.start import require_start
    from noise2map_core.training.tracking import tracked
    from noise2map_core.training.training_data import (
        plan_spec,
        require_streamable,
        require_trainable,
    )

    require_feasible(config.training, config.resources)
    spec = plan_spec(store, config.model, _tasks(config), config.gsd_range)
    training_run = _training_run(config, store)
    if not (trained := training_run.earlier() is not None):
        require_trainable(store, config.tasks)
        require_streamable(store, config.tasks, config.training, config.seed)
        if config.model.backbone is not None:
            require_start(spec.network, config.model.backbone)
    with tracked(config.mlflow, training_run) as tracker:
        made = _complete(config, store, spec, training_run, tracker)
    return _result(training_run, trained=not trained, made=tuple(made))


def _complete(
    config: FinetuneMapsConfig,
    store: ChipStore,
    spec: CheckpointSpec,
    training_run: TrainingRun,
    tracker: Tracker | None,
) -> list[str]:
    """Do what is left of a run: train, report, tell MLflow. Each step keeps what is before it.

    Returns what was made besides weights, for people.
    """
    made = []
    if training_run.earlier() is None or not training_run.report.exists():
        _train_and_report(config, store, spec, training_run, tracker)
        made.append("the report")
    if tracker is not None and not tracker.finished:
        results = training_run.results()
        chosen = {name: float(results[name]) for name in ("val_f1", "epoch")}
        tracker.finish(chosen, [training_run.checkpoint / CARD_NAME, training_run.report])
        made.append("the entry in MLflow")
    return made


def _train_and_report(
    config: FinetuneMapsConfig,
    store: ChipStore,
    spec: CheckpointSpec,
    training_run: TrainingRun,
    tracker: Tracker | None,
) -> None:
    from noise2map_core.distributed.cluster.needs import training_needs
    from noise2map_core.distributed.cluster.session import ray_session
    from noise2map_core.distributed.fitting.finetuning import train_model
    from noise2map_core.distributed.fitting.report import report_training
    from noise2map_core.runtime.lease import hold_lease

    needs = training_needs(config.training, config.resources)
    with hold_lease(config.output / "state"), ray_session(config.resources, needs):
        if training_run.earlier() is None:
            training_run.claim()
            trained = train_model(_job(config, store, spec), tracker.log if tracker else None)
            _save(store, spec, trained, training_run, config)
        report_training(training_run, absolute(config.chips), config.training)


def _tasks(config: FinetuneMapsConfig) -> dict[Task, TaskTrainingConfig]:
    """How each of the asked tasks is learnt."""
    both: dict[Task, TaskTrainingConfig] = {"change": config.change, "segment": config.segment}
    return {name: both[name] for name in config.tasks}


def plan_training(config: FinetuneMapsConfig) -> TrainingJob:
    """What a run trains, for those who train it by other means."""
    from noise2map_core.chips.store import open_store
    from noise2map_core.training.training_data import plan_spec

    store = open_store(config.chips)
    return _job(config, store, plan_spec(store, config.model, _tasks(config), config.gsd_range))


def _job(config: FinetuneMapsConfig, store: ChipStore, spec: CheckpointSpec) -> TrainingJob:
    from noise2map_core.distributed.fitting.finetuning import TrainingJob
    from noise2map_core.models.shipped import checkpoint_folder
    from noise2map_core.training.training_data import class_weights

    tasks, backbone = _tasks(config), config.model.backbone
    return TrainingJob(
        chips=absolute(config.chips),
        state=absolute(config.output) / "state",
        spec=spec,
        tasks=tasks,
        class_weights=class_weights(store, tasks),
        backbone=checkpoint_folder(backbone) if backbone else None,
        training=config.training,
        seed=config.seed,
        reader_cpus=config.resources.reader_cpus,
    )


def _training_run(config: FinetuneMapsConfig, store: ChipStore) -> TrainingRun:
    """The weights depend on the settings and on every byte of the chips."""
    from noise2map_core.runtime.digest import digest_of
    from noise2map_core.training.run import TrainingRun, learnt_settings

    unused = {"change", "segment"} - set(config.tasks)
    settings = learnt_settings(config, {"chips", "output", "resources", "card", "mlflow"} | unused)
    digest = digest_of({"settings": settings, "chips": store.objects})
    return TrainingRun(config.output, config, digest)


def _result(training_run: TrainingRun, trained: bool, made: tuple[str, ...]) -> FinetuneMapsResult:
    from noise2map_core.models.spec import read_spec

    checkpoint, found = training_run.checkpoint, training_run.results()
    return FinetuneMapsResult(
        checkpoint=checkpoint,
        report=training_run.report,
        spec=read_spec(checkpoint),
        val_f1=found["val_f1"],
        epoch=found["epoch"],
        trained=trained,
        made=made,
        doubts=_doubts(found),
        skipped=found["history"][-1].get("skipped", 0),
    )


def _doubts(found: dict[str, Any]) -> str:
    """What validation says of the epoch that was chosen."""
    from noise2map_core.training.validation import doubts_of

    chosen = (entry for entry in found["history"] if int(entry["epoch"]) == int(found["epoch"]))
    return next(map(doubts_of, chosen), "")


def _save(
    store: ChipStore,
    spec: CheckpointSpec,
    trained: TrainedWeights,
    training_run: TrainingRun,
    config: FinetuneMapsConfig,
) -> None:
    """Write the checkpoint, then the note that the run is finished."""
    from noise2map_core.models.checkpoint import save_checkpoint
    from noise2map_core.models.noise2map import Noise2Map
    from noise2map_core.training.model_card import write_card
    from noise2map_core.training.validation import with_validation

    spec = with_validation(spec, trained.tasks)
    model = Noise2Map(spec)
    model.load_state_dict(trained.weights)
    card = write_card(
        spec, store, trained.tasks, trained.val_f1, trained.epoch, trained.history, config.seed,
        config.card,
    )  # fmt: skip
    save_checkpoint(model, spec, training_run.checkpoint, card)
    training_run.finish(epoch=trained.epoch, val_f1=trained.val_f1, history=trained.history)
