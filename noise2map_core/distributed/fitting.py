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

from noise2map_core.distributed.train_log import Board
from noise2map_core.learning.config import OptimisationConfig
from noise2map_core.progress import progress

RUN_NAME = "train"
STATE_NAME = "state.pt"
LOG_FOLDER = "tensorboard"
"""Curves, beside the folder of states."""
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
    """Run `train_worker({"job": job, "board": board})` on every worker; Ray Train's result.

    Goes on from the last checkpoint in `state` if there is one. Needs a connection to a cluster.
    """
    board: Any = ray.remote(num_cpus=0)(Board).remote()
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job, "board": board},
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
    with _showing(board, training.epochs), _own_interrupt():
        return trainer.fit()


def report(metrics: dict[str, Any], state: Any, rank: int) -> None:
    """Hand metrics and state to Ray Train; all ranks call it together, rank 0's are kept."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            torch.save(state, Path(folder) / STATE_NAME)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
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
    most, fewest = training.num_workers, training.min_workers
    return ScalingConfig(
        num_workers=most if fewest is None else (fewest, most),  # type: ignore[arg-type]
        use_gpu=training.worker_gpus > 0,
        resources_per_worker=resources,
    )


@contextmanager
def _showing(board: Any, epochs: int) -> Iterator[None]:
    """Show how far training is, from a thread: `fit` holds the main one."""
    done = threading.Event()

    def show() -> None:
        with progress(epochs, "train", "epoch") as bar:
            last = False
            while not last:
                last = done.wait(1.0)
                if figures := ray.get(board.take.remote()):
                    epoch = int(figures.pop("epoch", bar.done))
                    bar.update(epoch - bar.done, **figures)

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
