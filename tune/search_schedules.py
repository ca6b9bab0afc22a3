"""Search noise schedules, timesteps, losses and rates for the best F1 on validation."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("search-schedules")  # settings first: what is imported below takes seconds

from dataclasses import replace

from noise2map_core.chips.store import open_store
from noise2map_core.distributed.cluster.gpus import predicting_on_gpus, training_on_gpus
from noise2map_core.distributed.cluster.needs import require_feasible_trials
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.tuning import run_sweep
from noise2map_core.evaluation.chip_timing import time_chip
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.runtime.progress import waiting
from noise2map_core.search.results import SearchSchedulesResult
from noise2map_core.search.space import require_starts
from noise2map_core.search.sweep import Sweep, Trial, require_optuna, winner_of
from noise2map_core.settings.resources import gpus_held
from noise2map_core.training.training_data import require_trainable
from noise2map_core.workflows.search_schedules import SearchSchedulesConfig


def run(config: SearchSchedulesConfig) -> SearchSchedulesResult:
    """Check space and chips, run the trials that are left, time the full ones, keep the best."""
    config, store = _on_gpus(config), open_store(config.chips)
    store.require(("train", "val"), config.finetune.task)
    require_optuna()
    require_feasible_trials(config.finetune.training, config.resources)
    sweep = Sweep.of(config, store)
    if (earlier := sweep.earlier()) is not None:
        return SearchSchedulesResult.of(sweep, earlier, searched=False)
    require_trainable(store, config.finetune.task)
    require_starts(sweep.space, config.finetune, int(store.attributes["chip_px"]))
    with hold_lease(sweep.trials_folder):
        if (earlier := sweep.earlier()) is not None:  # another run has ended meanwhile
            return SearchSchedulesResult.of(sweep, earlier, searched=False)
        sweep.save(finished=False)
        return SearchSchedulesResult.of(sweep, _search(config, sweep), searched=True)


def _on_gpus(config: SearchSchedulesConfig) -> SearchSchedulesConfig:
    training = training_on_gpus(config.finetune.training, config.resources)
    update = {
        "finetune": config.finetune.model_copy(update={"training": training}),
        "resources": predicting_on_gpus(config.resources, config.inference),
    }
    return config.model_copy(update=update)


def _search(config: SearchSchedulesConfig, sweep: Sweep) -> list[Trial]:
    with ray_session(config.resources):
        trials = run_sweep(sweep, config.concurrency)
    with waiting("time a chip of each trial"):
        trials = [_timed(config, sweep, trial) for trial in trials]
    sweep.save(trials, finished=winner_of(trials) is not None)
    return trials


def _timed(config: SearchSchedulesConfig, sweep: Sweep, trial: Trial) -> Trial:
    """A full trial with the time of a chip. Nothing else runs by now."""
    if trial.status != "full":
        return trial
    spec, gpus = sweep.job(trial.point).spec, gpus_held(config.resources.predictor_gpus)
    return replace(trial, ms_per_chip=time_chip(spec, config.inference, gpus))
