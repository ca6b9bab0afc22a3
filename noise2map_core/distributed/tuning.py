"""A sweep on Ray Tune: every trial trains in its own process, as finetune-maps would.

A trial asks for its CPUs once and starts no workers, so that trials can wait for one another but
never for ever. States lie with Ray Tune: a sweep that was killed goes on from the last ones.
"""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from torch import nn

from noise2map_core.chips.store import open_store
from noise2map_core.distributed.fitting.finetuning import (
    TrainingJob,
    excels,
    score_of,
    train_in_process,
)
from noise2map_core.distributed.fitting.fit import TrainLink, save_state
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.runtime.environment import environment
from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.runtime.progress import Progress, progress
from noise2map_core.search.space import Point, SearchSpace
from noise2map_core.search.sweep import Status, Trial
from noise2map_core.training.training_data import class_weights, plan_spec
from noise2map_core.training.validation import doubts_of
from noise2map_core.workflows.finetune_maps import TrialSettings

OBJECTIVE = "f1"
DOUBTS = "doubts"
TRIALS_FOLDER = "trials"
REDUCTION = 3
"""Of so many trials at a rung ASHA lets one go on."""
MAX_TRIAL_FAILURES = 1
"""Times that a trial is tried again, from its last state: its process may have been killed."""
TUNE_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
"""Our own progress line speaks, Ray Tune's tables do not. That it keeps the sweep with every state
of a trial is what makes a kill harmless. Its handler of SIGINT would end a sweep as if it were
done."""


@dataclass(frozen=True)
class SweepPlan:
    """All that trials need; picklable."""

    chips: Path
    """Chip store, absolute."""
    folder: Path
    """The sweep's, absolute."""
    space: SearchSpace
    base: TrialSettings
    seed: int
    concurrency: int
    """Trials at once, where there are the CPUs."""

    @property
    def rung_epochs(self) -> int:
        """Epochs between validations, and to the first rung."""
        return max(1, self.space.epochs // REDUCTION**2)

    def settings(self, point: Point) -> TrialSettings:
        """A trial's settings: budget and validations are the sweep's, so that all compare."""
        settings = self.space.settings(self.base, point)
        own = {
            "epochs": self.space.epochs, "checkpoint_epochs": self.rung_epochs,
            "patience": None, "checkpoint_steps": None, "num_workers": 1, "min_workers": None,
            "loader": "sharded",
        }  # fmt: skip
        return settings.model_copy(update={"training": settings.training.model_copy(update=own)})


def run_sweep(plan: SweepPlan) -> list[Trial]:
    """Run all trials, or those that a killed sweep had left; needs a connection to a cluster.

    A trial that fails is told in its place and stops no other.
    """
    with environment(TUNE_SETTINGS):
        results = _tuner(plan).fit()
    return [_trial(plan, index + 1, results[index]) for index in range(len(results))]


def plan_job(plan: SweepPlan, settings: TrialSettings) -> TrainingJob:
    """What a trial trains. Raises ConfigError or ChipStoreError where settings do not fit."""
    store, tasks = open_store(plan.chips), settings.of_tasks()
    backbone = settings.model.backbone
    return TrainingJob(
        chips=plan.chips,
        state=plan.folder / "unused",  # Ray Tune keeps a trial's states
        spec=plan_spec(store, settings.model, tasks, settings.gsd_range),
        tasks=tasks,
        class_weights=class_weights(store, tasks),
        backbone=checkpoint_folder(backbone) if backbone else None,
        training=settings.training,
        seed=plan.seed,
    )


class TuneLink(TrainLink):
    """What ties the only rank of a trial to Ray Tune."""

    def __init__(self, epochs: int) -> None:
        self.rank, self.world_size, self._epochs = 0, 1, epochs

    def device(self) -> torch.device:
        """The GPU that the trial was given, if any."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def wrap(self, model: nn.Module) -> nn.Module:
        """Nothing to average over."""
        return model

    def last_checkpoint(self) -> Any:
        """Where to go on from."""
        return tune.get_checkpoint()

    def report(self, metrics: dict[str, Any], state: Any) -> None:
        """Hand over metrics and state, with the F1 that finetune-maps would report by now.

        The sweep goes by 0 in its place where the model is no better than chance: a class predicted
        everywhere would else win, and have better trials pruned.
        """
        history = state["history"]
        best, last = max(history, key=score_of), history[-1]
        chosen = best if excels(best, last, self._epochs) else last
        names = ("epoch", "loss", "train_s", "val_error")
        figures = {name: float(metrics[name]) for name in names}
        with tempfile.TemporaryDirectory() as folder:
            save_state(state, folder)
            told = {
                OBJECTIVE: score_of(chosen),
                "val_f1": chosen["val_f1"],
                DOUBTS: doubts_of(chosen),
            }
            tune.report(
                figures | told,
                checkpoint=tune.Checkpoint.from_directory(folder),
            )


class Suggest:
    """A space as Optuna asks for it: parameter after parameter."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def __call__(self, trial: Any) -> None:
        """Ask for each parameter that applies."""
        point: Point = {}
        for name, parameter in self._space.parameters.items():
            if not parameter.applies(point):
                continue
            if parameter.choices is not None:
                point[name] = trial.suggest_categorical(name, list(parameter.choices))
            elif parameter.integers is not None:
                point[name] = trial.suggest_int(name, *parameter.integers)
            else:
                low, high = parameter.limits or (0.0, 1.0)
                log = parameter.log_uniform is not None
                point[name] = trial.suggest_float(name, low, high, log=log)


def _run_trial(config: dict[str, Any], plan: SweepPlan) -> None:
    """What the process of a trial runs."""
    settings = plan.settings(_point_of(config))
    where = train_in_process(plan_job(plan, settings), TuneLink(plan.space.epochs))
    if where:
        raise Noise2MapError(f"training diverged: {where}.")


def _point_of(config: dict[str, Any]) -> Point:
    point: Point = config.get("point", config)
    return point


def _tuner(plan: SweepPlan) -> tune.Tuner:
    trainable = _trainable(plan)
    path = str(plan.folder / TRIALS_FOLDER)
    if tune.Tuner.can_restore(path):
        return tune.Tuner.restore(path, trainable=trainable)
    grid = plan.space.sampler == "grid"
    return tune.Tuner(
        trainable,
        param_space={"point": tune.grid_search(_grid(plan))} if grid else None,
        tune_config=tune.TuneConfig(
            metric=OBJECTIVE,
            mode="max",
            num_samples=1 if grid else plan.space.num_trials,
            max_concurrent_trials=plan.concurrency,
            scheduler=_scheduler(plan),
            search_alg=None if grid else _search(plan),
            trial_dirname_creator=_folder_of,
        ),
        run_config=tune.RunConfig(
            name=TRIALS_FOLDER,
            storage_path=str(plan.folder),
            failure_config=tune.FailureConfig(max_failures=MAX_TRIAL_FAILURES),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            callbacks=[_Told(plan.space.num_trials)],
            verbose=0,
        ),
    )


def _trainable(plan: SweepPlan) -> Any:
    training = plan.base.training
    resources = {"cpu": training.worker_cpus}
    if training.worker_gpus:
        resources["gpu"] = training.worker_gpus
    return tune.with_resources(tune.with_parameters(_run_trial, plan=plan), resources)


def _search(plan: SweepPlan) -> OptunaSearch:
    return OptunaSearch(Suggest(plan.space), metric=OBJECTIVE, mode="max", seed=plan.seed)


def _grid(plan: SweepPlan) -> list[Point]:
    """The points of a grid, of which some are drawn if there are to be fewer trials."""
    points = plan.space.grid()
    generator = torch.Generator().manual_seed(plan.seed)
    drawn = torch.randperm(len(points), generator=generator)[: plan.space.num_trials]
    return [points[index] for index in sorted(drawn.tolist())]


def _scheduler(plan: SweepPlan) -> TrialScheduler:
    if not plan.space.prune:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="epoch",
        max_t=plan.space.epochs,
        grace_period=plan.rung_epochs,
        reduction_factor=REDUCTION,
    )


def _folder_of(trial: TuneTrial) -> str:
    return str(trial.trial_id)


def _trial(plan: SweepPlan, number: int, result: Any) -> Trial:
    """A result of Ray Tune as a trial; the F1 is that of the last report."""
    metrics: dict[str, Any] = result.metrics or {}
    f1, epochs = metrics.get("val_f1", metrics.get(OBJECTIVE)), int(metrics.get("epoch", 0))
    status: Status = "failed" if result.error else "pruned"
    if result.error is None and epochs == plan.space.epochs:
        status = "full"
    return Trial(
        number=number,
        status=status,
        point=_point_of(result.config or {}),
        epochs=epochs,
        f1=None if f1 is None or not math.isfinite(f1) else float(f1),
        f1_error=metrics.get("val_error"),
        train_s=float(metrics.get("train_s", 0.0)),
        reason=_reason(result.error),
        doubts=str(metrics.get(DOUBTS, "")),
    )


def _reason(error: BaseException | None) -> str:
    """The last line of what Ray says, which is the error's own."""
    lines = [line for line in str(error or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


class _Told(tune.Callback):
    """Says how far the sweep is. Is kept with it, so it holds nothing that is open."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self._total = total
        self._bar: Progress | None = None
        self._best = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_bar": None}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch was validated."""
        self._best = max(self._best, float(result.get(OBJECTIVE, 0.0)))
        self._show(trials)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended."""
        self._show(trials)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """All ended."""
        self._show(trials)
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def _show(self, trials: list[Any]) -> None:
        if self._bar is None:
            self._bar = progress(self._total, "search", "trial").__enter__()
        ended = [trial for trial in trials if trial.is_finished()]
        failed = sum(trial.status == TuneTrial.ERROR for trial in ended)
        self._bar.update(
            len(ended) - self._bar.done,
            running=sum(trial.status == TuneTrial.RUNNING for trial in trials),
            failed=failed,
            best_f1=self._best,
        )
