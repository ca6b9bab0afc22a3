"""A sweep on Ray Tune: every trial trains in its own process, as finetune-maps would.

A trial asks for its CPUs once and starts no workers, so that trials can wait for one another but
never for ever. States lie with Ray Tune: a sweep that was killed goes on from the last ones.
"""

import math
import tempfile
from typing import Any

import torch
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from torch import nn

from noise2map_core.distributed.fitting.finetuning import (
    excels,
    score_of,
    train_in_process,
)
from noise2map_core.distributed.fitting.fit import TrainLink, save_state
from noise2map_core.runtime.environment import environment
from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.runtime.progress import Progress, progress
from noise2map_core.search.space import Point
from noise2map_core.search.sweep import REDUCTION, TRIALS_FOLDER, Status, Sweep, Trial
from noise2map_core.settings.resources import gpus_held
from noise2map_core.training.validation import doubts_of

OBJECTIVE = "f1"
DOUBTS = "doubts"
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


def run_sweep(sweep: Sweep, concurrency: int) -> list[Trial]:
    """Run all trials, or those that a killed sweep had left; needs a connection to a cluster.

    `concurrency` at once, where there are the CPUs. A trial that fails is told in its place and
    stops no other.
    """
    with environment(TUNE_SETTINGS):
        results = _tuner(sweep, concurrency).fit()
    return [_trial(sweep, index + 1, results[index]) for index in range(len(results))]


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


def _run_trial(config: dict[str, Any], sweep: Sweep) -> None:
    """What the process of a trial runs."""
    job = sweep.job(_point_of(config))
    where = train_in_process(job, TuneLink(sweep.space.epochs))
    if where:
        raise Noise2MapError(f"training diverged: {where}.")


def _point_of(config: dict[str, Any]) -> Point:
    point: Point = config.get("point", config)
    return point


def _tuner(sweep: Sweep, concurrency: int) -> tune.Tuner:
    trainable, folder = _trainable(sweep), sweep.folder.resolve()
    path = str(folder / TRIALS_FOLDER)
    if tune.Tuner.can_restore(path):
        return tune.Tuner.restore(path, trainable=trainable)
    grid = sweep.space.sampler == "grid"
    return tune.Tuner(
        trainable,
        param_space={"point": tune.grid_search(_grid(sweep))} if grid else None,
        tune_config=tune.TuneConfig(
            metric=OBJECTIVE,
            mode="max",
            num_samples=1 if grid else sweep.space.num_trials,
            max_concurrent_trials=concurrency,
            scheduler=_scheduler(sweep),
            search_alg=None if grid else _search(sweep),
            trial_dirname_creator=_folder_of,
        ),
        run_config=tune.RunConfig(
            name=TRIALS_FOLDER,
            storage_path=str(folder),
            failure_config=tune.FailureConfig(max_failures=MAX_TRIAL_FAILURES),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            callbacks=[_Told(sweep.space.num_trials)],
            verbose=0,
        ),
    )


def _trainable(sweep: Sweep) -> Any:
    training = sweep.base.training
    resources = {"cpu": training.worker_cpus}
    if gpus := gpus_held(training.worker_gpus):
        resources["gpu"] = gpus
    return tune.with_resources(tune.with_parameters(_run_trial, sweep=sweep), resources)


def _search(sweep: Sweep) -> OptunaSearch:
    return OptunaSearch(sweep.space.suggest, metric=OBJECTIVE, mode="max", seed=sweep.seed)


def _grid(sweep: Sweep) -> list[Point]:
    """The points of a grid, of which some are drawn if there are to be fewer trials."""
    points = sweep.space.grid()
    generator = torch.Generator().manual_seed(sweep.seed)
    drawn = torch.randperm(len(points), generator=generator)[: sweep.space.num_trials]
    return [points[index] for index in sorted(drawn.tolist())]


def _scheduler(sweep: Sweep) -> TrialScheduler:
    if not sweep.space.prune:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="epoch",
        max_t=sweep.space.epochs,
        grace_period=sweep.rung_epochs,
        reduction_factor=REDUCTION,
    )


def _folder_of(trial: TuneTrial) -> str:
    return str(trial.trial_id)


def _trial(sweep: Sweep, number: int, result: Any) -> Trial:
    """A result of Ray Tune as a trial; the F1 is that of the last report."""
    metrics: dict[str, Any] = result.metrics or {}
    f1, epochs = metrics.get("val_f1", metrics.get(OBJECTIVE)), int(metrics.get("epoch", 0))
    status: Status = "failed" if result.error else "pruned"
    if result.error is None and epochs == sweep.space.epochs:
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

    def setup(self, *args: Any, **info: Any) -> None:
        """The sweep begins: the first trial has to start, and to train, before it is heard of."""
        self._show([])

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
