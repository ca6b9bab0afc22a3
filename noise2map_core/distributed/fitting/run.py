"""A fine-tuning, from the check of its chips to its report."""

from noise2map_core.chips.places import dealt, require_protocol
from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.distributed.cluster.gpus import trained_on_gpus
from noise2map_core.distributed.cluster.needs import require_feasible, training_needs
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.fitting.finetuning import train_model
from noise2map_core.distributed.fitting.report import report_training
from noise2map_core.models.spec import CARD_NAME
from noise2map_core.models.start import require_start
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.runtime.storage import absolute
from noise2map_core.training.finetuning import (
    finetuning_run,
    plan_training,
    require_timestep,
    save_trained,
)
from noise2map_core.training.results import FinetuneMapsResult
from noise2map_core.training.run import TrainingRun
from noise2map_core.training.tracking import Tracker, tracked
from noise2map_core.training.training_data import plan_spec, require_streamable, require_trainable
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig


def finetune(config: FinetuneMapsConfig) -> FinetuneMapsResult:
    """Check the chips, train from where an earlier run ended, save the chosen weights, report."""
    store = open_store(config.chips)
    require_protocol(store, config.protocol)
    require_timestep(config)
    store = dealt(store, config.places)
    store.require(("train", "val"), config.task)
    require_feasible(config.training, config.resources)
    spec = plan_spec(
        store, config.model, config.of_tasks(), config.resolution_range, config.normalisation.of
    )
    training_run = finetuning_run(config, store)
    if not (trained := training_run.earlier() is not None):
        require_trainable(store, config.task)
        require_streamable(store, config.task, config.training, config.seed)
        if config.model.backbone is not None:
            require_start(spec.network, config.model.backbone)
    with tracked(config.mlflow, training_run) as tracker:
        made = _complete(config, store, training_run, tracker)
    return FinetuneMapsResult.of(training_run, trained=not trained, made=made)


def _complete(
    config: FinetuneMapsConfig, store: ChipStore, training_run: TrainingRun, tracker: Tracker | None
) -> list[str]:
    """Do what is left of a run: train, report, tell MLflow. Each step keeps what is before it.

    Returns what was made besides weights, for people.
    """
    made = []
    if training_run.earlier() is None or not training_run.report.exists():
        _train_and_report(config, store, training_run, tracker)
        made.append("the report")
    if tracker is not None and not tracker.finished:
        results = training_run.results()
        chosen = {name: float(results[name]) for name in ("val_f1", "epoch")}
        tracker.finish(chosen, [training_run.checkpoint / CARD_NAME, training_run.report])
        made.append("the entry in MLflow")
    return made


def _train_and_report(
    config: FinetuneMapsConfig, store: ChipStore, training_run: TrainingRun, tracker: Tracker | None
) -> None:
    config = trained_on_gpus(config)
    needs = training_needs(config.training, config.resources)
    with hold_lease(training_run.state), ray_session(config.resources, needs):
        if training_run.earlier() is None:
            training_run.claim()
            job = plan_training(config, store)
            trained = train_model(job, tracker.log if tracker else None)
            save_trained(trained, job.spec, store, training_run, config)
        report_training(training_run, absolute(config.chips), config.training)
