"""A training run on Ray Train: workers, failures, checkpoints, and what is shown meanwhile."""

import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from noise2map_core.learning.config import OptimisationConfig
from noise2map_core.progress import progress

RUN_NAME = "train"
STATE_NAME = "state.pt"
MAX_WORKER_FAILURES = 3
"""Times that a run goes on from the last checkpoint after a worker died."""


@dataclass(frozen=True)
class Score:
    """The figure by which the best checkpoint is kept."""

    name: str
    highest: bool
    """True: the higher the better."""


def fit(
    train_worker: Callable[[dict[str, Any]], Any],
    job: Any,
    training: OptimisationConfig,
    state: Path,
    score: Score,
) -> Any:
    """Run `train_worker({"job": job, "log": log})` on every worker; Ray Train's result.

    Goes on from the last checkpoint in `state` if there is one. Needs a connection to a cluster.
    """
    log: Any = ray.remote(num_cpus=0)(_EpochLog).remote()
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job, "log": log},
        scaling_config=_scaling(training),
        run_config=RunConfig(
            name=RUN_NAME,
            storage_path=str(state),
            failure_config=FailureConfig(max_failures=MAX_WORKER_FAILURES),
            # Ray keeps the best one and, besides, always the last.
            checkpoint_config=CheckpointConfig(
                num_to_keep=1,
                checkpoint_score_attribute=score.name,
                checkpoint_score_order="max" if score.highest else "min",
            ),
        ),
    )
    with _showing(log, training.epochs), _own_interrupt():
        return trainer.fit()


def report(
    metrics: dict[str, Any], shown: tuple[str, ...], state: Any, rank: int, log: Any
) -> None:
    """Hand metrics and state to Ray Train; all ranks call it together.

    Of `state` rank 0's is kept. `shown` are the metrics that people see; `epoch` is one of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            torch.save(state, Path(folder) / STATE_NAME)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
            log.add.remote({name: metrics[name] for name in shown})
        ray.train.report(metrics, checkpoint=checkpoint)


def load_state(checkpoint: ray.train.Checkpoint) -> dict[str, Any]:
    """What `report` kept."""
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / STATE_NAME, map_location="cpu")
    return state


def _scaling(training: OptimisationConfig) -> ScalingConfig:
    resources = {"CPU": training.worker_cpus}
    if training.worker_gpus:
        resources["GPU"] = training.worker_gpus
    return ScalingConfig(
        num_workers=training.num_workers,
        use_gpu=training.worker_gpus > 0,
        resources_per_worker=resources,
    )


class _EpochLog:
    """Carries figures from the workers to the driver, who shows them."""

    def __init__(self) -> None:
        self._metrics: list[dict[str, float]] = []

    def add(self, metrics: dict[str, float]) -> None:
        self._metrics.append(metrics)

    def take(self) -> list[dict[str, float]]:
        taken, self._metrics = self._metrics, []
        return taken


@contextmanager
def _showing(log: Any, epochs: int) -> Iterator[None]:
    """Show how far training is, from a thread: `fit` holds the main one."""
    done = threading.Event()

    def show() -> None:
        with progress(epochs, "train", "epoch") as bar:
            last = False
            while not last:
                last = done.wait(1.0)
                for metrics in ray.get(log.take.remote()):
                    epoch = int(metrics.pop("epoch"))
                    bar.update(epoch - bar.done, **metrics)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=10)


@contextmanager
def _own_interrupt() -> Iterator[None]:
    """Put back the SIGINT handler that Ray Train replaces for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
