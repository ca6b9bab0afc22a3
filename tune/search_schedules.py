"""Search noise schedules, timesteps, losses and rates for the best F1 on validation."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("search-schedules")  # settings first: what is imported below takes seconds

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.runtime.storage import absolute
from noise2map_core.search.space import SearchSpace, read_space, require_valid
from noise2map_core.search.sweep import Sweep, Trial, require_optuna, winner_of, write_winner
from noise2map_core.workflows.search_schedules import SearchSchedulesConfig

if TYPE_CHECKING:
    from noise2map_core.distributed.tuning import SweepPlan


@dataclass(frozen=True)
class SearchSchedulesResult:
    """What a sweep came to."""

    trials: list[Trial]
    winner: Trial
    config: Path
    """The winner's settings, for finetune-maps."""
    searched: bool
    """False: the output was finished already."""

    def summary(self) -> list[str]:
        """Lines for people."""
        from noise2map_core.learning.skill import warning

        done = "" if self.searched else "nothing to do: searched already with the same settings"
        count = {
            status: sum(trial.status == status for trial in self.trials)
            for status in ("full", "pruned", "failed")
        }
        failures = [
            f"trial {trial.number} failed: {trial.reason}"
            for trial in self.trials
            if trial.status == "failed"
        ]
        point = ", ".join(f"{name} {value}" for name, value in self.winner.point.items())
        chance = [trial for trial in self.trials if trial.status == "full" and trial.doubts]
        won = "least bad" if self.winner.doubts else "winner "
        lines = [
            f"trials  {', '.join(f'{number} {status}' for status, number in count.items())}",
            *(warning(f"trial {trial.number}", trial.doubts) for trial in chance),
            f"{won} trial {self.winner.number}, validation F1 {self.winner.f1:.3f}: {point}",
            f"config  {self.config}",
            f"compare-trials {self.config.parent} shows all of them",
        ]
        return [line for line in (done, *failures, *lines) if line]


def run(config: SearchSchedulesConfig) -> SearchSchedulesResult:
    """Check space and chips, run the trials that are left, time the full ones, keep the best."""
    from noise2map_core.chips.store import open_store

    store = open_store(config.chips)
    store.require(("train", "val"), config.finetune.tasks)
    from noise2map_core.runtime.lease import hold_lease
    from noise2map_core.training.training_data import require_trainable

    require_optuna()
    space = _space(config)
    require_valid(space, config.finetune, config.space)
    _require_feasible(config)
    sweep = _sweep(config, space, store.objects)
    if (earlier := sweep.earlier()) is not None:
        return _result(sweep, earlier, searched=False)
    require_trainable(store, config.finetune.tasks)
    _require_starts(config, space, int(store.attributes["chip_px"]))
    with hold_lease(config.output / "trials"):
        if (earlier := sweep.earlier()) is not None:  # another run has ended meanwhile
            return _result(sweep, earlier, searched=False)
        sweep.save(finished=False)
        return _search(config, sweep)


def _search(config: SearchSchedulesConfig, sweep: Sweep) -> SearchSchedulesResult:
    from noise2map_core.distributed.cluster.session import ray_session
    from noise2map_core.distributed.tuning import SweepPlan, run_sweep

    plan = SweepPlan(
        chips=absolute(config.chips),
        folder=config.output.resolve(),
        space=sweep.space,
        base=config.finetune,
        seed=config.seed,
        concurrency=config.concurrency,
    )
    with ray_session(config.resources):
        trials = run_sweep(plan)
    trials = [_timed(config, plan, trial) for trial in trials]
    sweep.save(trials, finished=winner_of(trials) is not None)
    return _result(sweep, trials, searched=True)


def _result(sweep: Sweep, trials: list[Trial], *, searched: bool) -> SearchSchedulesResult:
    winner = winner_of(trials)
    if winner is None:
        raise Noise2MapError(
            f"no trial of {sweep.folder} reached its full budget; the first failed: "
            f"{next((trial.reason for trial in trials if trial.reason), 'no reason given')}"
        )
    return SearchSchedulesResult(trials, winner, write_winner(sweep, winner), searched)


def _timed(config: SearchSchedulesConfig, plan: SweepPlan, trial: Trial) -> Trial:
    """A full trial with the time of a chip. Nothing else runs by now."""
    from noise2map_core.distributed.tuning import plan_job
    from noise2map_core.evaluation.chip_timing import time_chip

    if trial.status != "full":
        return trial
    spec = plan_job(plan, plan.settings(trial.point)).spec
    gpus = config.resources.predictor_gpus
    return replace(trial, ms_per_chip=time_chip(spec, config.inference, gpus))


def _space(config: SearchSchedulesConfig) -> SearchSpace:
    """The space with the numbers that were asked for."""
    own = {"trials": config.trials, "epochs": config.epochs}
    return read_space(config.space).model_copy(
        update={name: value for name, value in own.items() if value is not None}
    )


def _require_feasible(config: SearchSchedulesConfig) -> None:
    """One trial must fit into the cluster; more wait for one another. Chips are timed here."""
    from noise2map_core.distributed.cluster.needs import Need, require_feasible, require_here

    alone = {"num_workers": 1, "min_workers": None}
    require_feasible(config.finetune.training.model_copy(update=alone), config.resources)
    gpus = config.resources.predictor_gpus
    timed = Need("timing of chips", 1, 0.0, gpus, "resources.predictor_gpus")
    require_here((timed,), config.resources)


def _require_starts(config: SearchSchedulesConfig, space: SearchSpace, chip_px: int) -> None:
    """Whatever network a trial has, it must be able to start from its backbone's weights."""
    from noise2map_core.models.presets import network_of
    from noise2map_core.models.start import require_start

    tried = [space.settings(config.finetune, point).model for _, point in space.examples()]
    for model in dict.fromkeys(tried):
        if model.backbone is not None:
            require_start(network_of(model.preset, chip_px), model.backbone)


def _sweep(config: SearchSchedulesConfig, space: SearchSpace, objects: object) -> Sweep:
    """Trials depend on the space, on what they share and on every byte of the chips."""
    from noise2map_core.runtime.digest import digest_of
    from noise2map_core.training.run import learnt_settings

    base = learnt_settings(config.finetune)
    parts = {
        "space": space.model_dump(mode="json"), "base": base, "seed": config.seed, "chips": objects
    }  # fmt: skip
    name, chips = Path(config.space).stem, str(absolute(config.chips))
    digest = digest_of(parts)
    return Sweep(config.output, name, space, config.finetune, chips, config.seed, digest)
