"""Fine-tuning on Ray Train: every worker trains on its part of every batch.

All randomness is drawn for the global batch from (seed, epoch, step), the learning rate follows
from the step, and weights, optimiser and moving average are in the checkpoints: a run that was
killed and started again ends with the weights of one that was not, to the bit (on CPUs).
"""

import math
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import torch.distributed as dist
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device, prepare_model
from torch import Tensor

from noise2map_core.diffusion.config import TrainingTimesteps
from noise2map_core.errors import Noise2MapError
from noise2map_core.imagery.chip_store import CHIPS_PER_SHARD, open_store
from noise2map_core.inference.chip_batches import ChipReader, epoch_batches, labelled_chips
from noise2map_core.inference.evaluation import SplitPixels, model_scorer, score_histogram
from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.config import TrainingConfig
from noise2map_core.learning.metrics import NUM_BINS, ScoreHistogram
from noise2map_core.learning.trainer import Learner
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.progress import progress

RUN_NAME = "train"
STATE_NAME = "state.pt"
MAX_WORKER_FAILURES = 3
"""Times that a run goes on from the last checkpoint after a worker died."""


@dataclass(frozen=True)
class TrainingJob:
    """All that a worker needs; picklable."""

    chips: Path
    """Chip store, absolute."""
    state: Path
    """Where Ray Train keeps checkpoints, absolute."""
    spec: CheckpointSpec
    """Of the model to come; its threshold is not chosen yet."""
    timesteps: TrainingTimesteps
    """Which timesteps are trained on."""
    training: TrainingConfig
    seed: int


@dataclass(frozen=True)
class TrainedWeights:
    """The chosen epoch of a run."""

    weights: dict[str, Tensor]
    """State dict of the moving average."""
    epoch: int
    """Epochs that it had been trained for."""
    threshold: float
    """Probability of change from which a pixel counts as changed; chosen on validation."""
    val_f1: float
    """Its highest validation F1 of the changed class at any threshold."""
    history: list[dict[str, float]]
    """Of every validated epoch: epoch, loss, val_f1, val_error, threshold."""


def train_model(job: TrainingJob) -> TrainedWeights:
    """Train to the end, from the last checkpoint in `job.state` if there is one.

    Needs a connection to a cluster. Raises Noise2MapError if the loss stops being finite.
    """
    log: Any = ray.remote(num_cpus=0)(_EpochLog).remote()
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={"job": job, "log": log},
        scaling_config=_scaling(job.training),
        run_config=RunConfig(
            name=RUN_NAME,
            storage_path=str(job.state),
            failure_config=FailureConfig(max_failures=MAX_WORKER_FAILURES),
            # Ray keeps the best one and, besides, always the last.
            checkpoint_config=CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute="val_f1", checkpoint_score_order="max"
            ),
        ),
    )
    with _showing(log, job.training.epochs), _own_interrupt():
        result: Any = trainer.fit()
    if result.return_value:
        epoch, step = result.return_value
        raise Noise2MapError(
            f"training diverged: the loss is not finite at epoch {epoch}, step {step}. Lower "
            "training.learning_rate, check the chips for absurd values, and use another output."
        )
    return _chosen(result)


def _scaling(training: TrainingConfig) -> ScalingConfig:
    resources = {"CPU": training.worker_cpus}
    if training.worker_gpus:
        resources["GPU"] = training.worker_gpus
    return ScalingConfig(
        num_workers=training.num_workers,
        use_gpu=training.worker_gpus > 0,
        resources_per_worker=resources,
    )


def _chosen(result: Any) -> TrainedWeights:
    """The last epoch, unless validation says with more than one standard error that one was better.

    The last has the lowest learning rate and the longest average; an easy validation part cannot
    tell epochs apart, and its highest score is then chance.
    """
    last = _load_state(result.checkpoint)
    checkpoint, metrics = result.checkpoint, last["history"][-1]
    best = max(result.best_checkpoints, key=lambda one: one[1]["val_f1"])
    if metrics["val_f1"] < best[1]["val_f1"] - best[1]["val_error"]:
        checkpoint, metrics = best
    return TrainedWeights(
        weights=_load_state(checkpoint)["average"],
        epoch=int(metrics["epoch"]),
        threshold=float(metrics["threshold"]),
        val_f1=float(metrics["val_f1"]),
        history=last["history"],
    )


def _load_state(checkpoint: ray.train.Checkpoint) -> dict[str, Any]:
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / STATE_NAME, map_location="cpu")
    return state


def _train_worker(config: dict[str, Any]) -> Any:
    """What each worker runs. Returns (epoch, step) if the loss stopped being finite."""
    job: TrainingJob = config["job"]
    torch.set_num_threads(max(1, math.floor(job.training.worker_cpus)))
    worker = _Worker(job)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        worker.restore(_load_state(checkpoint))
    for epoch in range(worker.epoch, job.training.epochs):
        for step, loss in enumerate(worker.run_epoch(epoch)):
            if not math.isfinite(loss):
                return epoch + 1, step + 1
        if worker.is_due():
            worker.report(config["log"])
    return None


class _Worker:
    """One rank: its learner, its part of the data."""

    def __init__(self, job: TrainingJob) -> None:
        context = ray.train.get_context()
        self.rank, self.world_size = context.get_world_rank(), context.get_world_size()
        self.job = job
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.device = get_device()
        self.learner = Learner(
            job.spec, job.training, job.timesteps, job.seed, self.device, wrap=prepare_model
        )
        store = open_store(job.chips)
        self.reader = ChipReader(store)
        self.chips = labelled_chips(self.reader, store.chips_of("train"))
        self.shards_held = self.reader.shards_held(int(self.chips[0]) // CHIPS_PER_SHARD)
        validation = SplitPixels.of(store, "val", job.training.batch_size)
        self.validation = validation.part(self.rank, self.world_size)

    def run_epoch(self, epoch: int) -> Iterator[float]:
        """Train one epoch; yields the loss of every global batch."""
        batches = epoch_batches(
            self.chips, self.job.training.batch_size, self.shards_held, self.job.seed, epoch
        )
        self.losses = []
        for step, chips in enumerate(batches):
            loss = self.learner.step(
                self._load(chips[self.rank :: self.world_size]),
                epoch, step, len(batches), self.rank, self.world_size, self._sum_over_ranks,
            )  # fmt: skip
            self.losses.append(loss)
            yield loss
        self.epoch = epoch + 1

    def is_due(self) -> bool:
        """True if this epoch is to be validated and kept."""
        training = self.job.training
        return self.epoch % training.checkpoint_epochs == 0 or self.epoch == training.epochs

    def report(self, log: Any) -> None:
        """Validate, and hand metrics and state to Ray Train; all ranks call it together."""
        histogram = self._validate()
        metrics = {
            "epoch": float(self.epoch),
            "loss": sum(self.losses) / len(self.losses),
            "val_f1": histogram.best_f1(),
            "val_error": histogram.best_f1_error(),
            "threshold": histogram.robust_threshold(),
        }
        self.history.append(metrics)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if self.rank == 0:
                state = self.learner.state() | {"epoch": self.epoch, "history": self.history}
                torch.save(state, Path(folder) / STATE_NAME)
                checkpoint = ray.train.Checkpoint.from_directory(folder)
                log.add.remote(metrics)
            ray.train.report(metrics, checkpoint=checkpoint)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `report` kept."""
        self.epoch, self.history = state["epoch"], state["history"]
        self.learner.restore(state)

    def _load(self, chips: Any) -> TrainingBatch:
        batch = self.reader.read(chips)
        image, valid = batch.pair(self.device)
        return TrainingBatch(
            pair=self.learner.model.normalise(image, valid),
            label=torch.from_numpy(batch.label).to(self.device).long(),
            valid=valid.all(dim=1),
        )

    def _validate(self) -> ScoreHistogram:
        """Scores of the moving average on the validation part, at inference's timesteps."""
        scorer = model_scorer(self.learner.averaged, self.job.spec.inference_timesteps)
        counts = score_histogram(self.validation, scorer, NUM_BINS).counts
        total = self._sum_over_ranks(torch.from_numpy(counts).to(self.device))
        return ScoreHistogram(total.cpu().numpy())

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        if self.world_size > 1:
            dist.all_reduce(value)
        return value


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
                    epoch = int(metrics["epoch"])
                    bar.update(epoch - bar.done, loss=metrics["loss"], val_f1=metrics["val_f1"])

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
