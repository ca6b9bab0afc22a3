"""Pretrain a backbone on images without labels, by learning to take noise out of them."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("pretrain-denoiser")  # settings first: what is imported below takes seconds

from noise2map_core.chips.store import open_store
from noise2map_core.distributed.cluster.gpus import trained_on_gpus
from noise2map_core.distributed.cluster.needs import require_feasible, training_needs
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.fitting.pretraining import pretrain_model
from noise2map_core.models.spec import CARD_NAME
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.runtime.storage import absolute
from noise2map_core.training.pretraining import (
    EXAMPLES,
    PretrainingJob,
    plan_pretraining,
    pretraining_run,
    save_pretrained,
)
from noise2map_core.training.pretraining_data import find_source
from noise2map_core.training.results import PretrainDenoiserResult
from noise2map_core.training.run import TrainingRun
from noise2map_core.training.tracking import Tracker, tracked
from noise2map_core.workflows.pretrain_denoiser import PretrainDenoiserConfig


def run(config: PretrainDenoiserConfig) -> PretrainDenoiserResult:
    """Look at the images, train from where an earlier run ended, save weights and examples."""
    if config.chips is not None:
        open_store(config.chips).require(("train",), ())
    require_feasible(config.training, config.resources)
    source = find_source(config.chips and absolute(config.chips), config.images)
    training_run = pretraining_run(config, source)
    is_due = training_run.earlier() is None
    job = plan_pretraining(trained_on_gpus(config), source) if is_due else None
    with tracked(config.mlflow, training_run) as tracker:
        if job is not None:
            _train(config, job, training_run, tracker)
        made = ("the entry in MLflow",) if _tell(training_run, tracker) else ()
    return PretrainDenoiserResult.of(training_run, trained=job is not None, made=made)


def _train(
    config: PretrainDenoiserConfig,
    job: PretrainingJob,
    training_run: TrainingRun,
    tracker: Tracker | None,
) -> None:
    with hold_lease(training_run.state):
        if training_run.earlier() is not None:  # another run has ended meanwhile
            return
        training_run.claim()
        with ray_session(config.resources, training_needs(job.training, config.resources)):
            pretrained = pretrain_model(job, tracker.log if tracker else None)
        save_pretrained(pretrained, job, training_run)


def _tell(training_run: TrainingRun, tracker: Tracker | None) -> bool:
    """Tell MLflow of results that it does not have yet; False: there was nothing to tell."""
    if tracker is None or tracker.finished:
        return False
    val_loss = training_run.results()["history"][-1]["val_loss"]
    files = [training_run.checkpoint / CARD_NAME, training_run.output / EXAMPLES]
    tracker.finish({"val_loss": val_loss}, files)
    return True
