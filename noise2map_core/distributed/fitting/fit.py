"""A training run on Ray Train: workers, failures, checkpoints, and what is shown meanwhile."""

import errno
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.data import DataIterator, Dataset
from ray.train import (
    CheckpointConfig,
    CheckpointUploadMode,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
)
from ray.train.torch import TorchTrainer, get_device, prepare_model
from torch import nn

from noise2map_core.distributed.board import Board, Point
from noise2map_core.runtime.errors import Noise2MapError, OutputError, explained
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.storage import files_in, is_local
from noise2map_core.settings.learning import OptimisationConfig
from noise2map_core.settings.resources import gpus_held

RUN_NAME = "train"
STATE_NAME = "state.pt"
LOG_FOLDER = "tensorboard"
"""Curves, beside the folder of states."""
MAX_WORKER_FAILURES = 3
"""Times that a run goes on from the last checkpoint after a worker died."""
SPARE_BYTES = 2**20
"""Left on a disk beside a new state, for Ray Train's list of states and the curves."""

Log = Callable[[list[Point]], None]


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
    log: Log | None = None,
    streams: Mapping[str, Dataset] | None = None,
) -> Any:
    """Run `train_worker({"job": job, "board": board})` on every worker; Ray Train's result.

    Goes on from the last checkpoint in `state` if there is one. Needs a connection to a cluster.
    `log` is handed the new points of rank 0's curves, every second, in a thread of this process.
    Raises what a worker raised for people, else Ray Train's TrainingFailedError.
    Workers share `streams`, each of which `TrainLink.stream` gives them their part of.
    """
    board: Any = ray.remote(num_cpus=0)(Board).remote()
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job, "board": board},
        scaling_config=_scaling(training),
        datasets=dict(streams or {}),
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
    with _showing(board, training.epochs, log), _own_interrupt():
        try:
            return trainer.fit()
        except TrainingFailedError as error:
            raise _raised_for_people(error) or error from None


def _raised_for_people(error: TrainingFailedError) -> Noise2MapError | None:
    """What a worker raised, behind Ray Train's own error, whose text is its traceback."""
    failures = getattr(error, "worker_failures", {}).values()
    raised = [getattr(failure, "_base_exc", failure) for failure in failures]
    return next((one for one in raised if isinstance(one, Noise2MapError)), None)


class TrainLink:
    """What ties a rank to Ray Train: its place, its device, the last state, the way back."""

    def __init__(self, states: Path) -> None:
        """`states` is where `fit` keeps them."""
        self._states = states
        context = ray.train.get_context()
        self.rank, self.world_size = context.get_world_rank(), context.get_world_size()

    def device(self) -> torch.device:
        """Where this rank computes."""
        return get_device()

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose gradients are averaged over the ranks."""
        wrapped: nn.Module = prepare_model(model)
        return wrapped

    def stream(self, name: str) -> DataIterator:
        """This rank's part of a stream."""
        return ray.train.get_dataset_shard(name)

    def last_checkpoint(self) -> ray.train.Checkpoint | None:
        """Where to go on from."""
        return ray.train.get_checkpoint()

    def report(self, metrics: dict[str, Any], state: Any) -> None:
        """Hand over metrics and state; all ranks call it together, rank 0's are kept.

        The state is copied to where it is kept while steps go on; a run that is killed meanwhile
        goes on from the one before it. Raises OutputError if the state cannot be kept, at once or
        through Ray Train; the one before it is whole then.
        """
        with self._said_for_people():
            checkpoint = save_state(state, tempfile.mkdtemp()) if self.rank == 0 else None
        ray.train.report(
            metrics,
            checkpoint=checkpoint,
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            # Else Ray leaves it there when it could not be kept.
            delete_local_checkpoint_after_upload=False,
            checkpoint_upload_fn=self._keep,
        )

    def _keep(self, local: ray.train.Checkpoint, name: str) -> ray.train.Checkpoint:
        """Copy a state to the others, under a name, and delete it here."""
        folder = Path(local.path)
        try:
            with self._said_for_people():
                _require_space(self._states, folder)
                storage = ray.train.get_context().get_storage()
                return storage.persist_current_checkpoint(local, name)
        finally:
            shutil.rmtree(folder)

    @contextmanager
    def _said_for_people(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot keep a state in {self._states}: {explained(error)} The one before it is "
                "whole: then run the same command again."
            ) from error


def _require_space(states: Path, folder: Path) -> None:
    """Raise OSError if there is no space for a copy of `folder` on a disk.

    Where it runs out within a copy, half a state is left, and Ray Train's list of states is lost.
    """
    if not is_local(states):
        return
    needed = sum(file.stat().st_size for file in files_in(folder))
    if needed and shutil.disk_usage(states).free < needed + SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save_state(state: Any, folder: str) -> ray.train.Checkpoint:
    """A checkpoint in an empty folder."""
    torch.save(state, Path(folder) / STATE_NAME)
    return ray.train.Checkpoint.from_directory(folder)


def load_state(checkpoint: ray.train.Checkpoint) -> dict[str, Any]:
    """What `save_state` kept."""
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / STATE_NAME, map_location="cpu")
    return state


def _scaling(training: OptimisationConfig) -> ScalingConfig:
    resources = {"CPU": training.worker_cpus}
    if gpus := gpus_held(training.worker_gpus):
        resources["GPU"] = gpus
    most, fewest = training.num_workers, training.min_workers
    return ScalingConfig(
        num_workers=most if fewest is None else (fewest, most),  # type: ignore[arg-type]
        use_gpu=gpus > 0,
        resources_per_worker=resources,
    )


@contextmanager
def _showing(board: Any, epochs: int, log: Log | None) -> Iterator[None]:
    """Show and log how far training is, from a thread: `fit` holds the main one."""
    done = threading.Event()

    def show() -> None:
        with progress(epochs, "train", "epoch") as bar:
            last = False
            while not last:
                last = done.wait(1.0)
                figures, points = ray.get(board.take.remote())
                if log is not None and points:
                    log(points)
                if figures:
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
