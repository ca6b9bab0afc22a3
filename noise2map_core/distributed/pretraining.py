"""Pretraining on Ray Train: as `training` does it, of images without labels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from ray.train.torch import get_device, prepare_model
from torch import Tensor

from noise2map_core.distributed.fitting import Score, fit, load_state, report
from noise2map_core.errors import Noise2MapError
from noise2map_core.inference.chip_batches import epoch_batches
from noise2map_core.inference.denoising import clean_batch, validation_error
from noise2map_core.inference.pretraining_data import ImageSource
from noise2map_core.learning.config import PretrainingConfig
from noise2map_core.learning.denoising import DenoisingLearner
from noise2map_core.learning.steps import Ranks
from noise2map_core.models.denoiser import Denoiser, DenoiserSpec
from noise2map_core.models.start import start_denoiser


@dataclass(frozen=True)
class PretrainingJob:
    """All that a worker needs; picklable."""

    source: ImageSource
    state: Path
    """Where Ray Train keeps checkpoints, absolute."""
    spec: DenoiserSpec
    backbone: Path | None
    """Weights that the backbone starts from, absolute."""
    training: PretrainingConfig
    seed: int


@dataclass(frozen=True)
class PretrainedWeights:
    """The end of a run."""

    weights: dict[str, Tensor]
    """State dict of the moving average."""
    val_loss: float
    """Mean squared error on the validation part; predicting nothing gives about 1."""
    history: list[dict[str, Any]]
    """Of every validated epoch: epoch, loss, val_loss."""


def pretrain_model(job: PretrainingJob) -> PretrainedWeights:
    """Train to the end, from the last checkpoint in `job.state` if there is one.

    Needs a connection to a cluster. Raises Noise2MapError if the loss stops being finite.
    """
    result = fit(_train_worker, job, job.training, job.state, Score("val_loss", highest=False))
    if result.return_value:
        epoch, step = result.return_value
        raise Noise2MapError(
            f"pretraining diverged: the loss is not finite at epoch {epoch}, step {step}. Lower "
            "training.learning_rate, check the images for absurd values, and use another output."
        )
    state = load_state(result.checkpoint)
    history = state["history"]
    return PretrainedWeights(state["average"], history[-1]["val_loss"], history)


def _train_worker(config: dict[str, Any]) -> Any:
    """What each worker runs. Returns (epoch, step) if the loss stopped being finite."""
    job: PretrainingJob = config["job"]
    torch.set_num_threads(max(1, math.floor(job.training.worker_cpus)))
    worker = _Worker(job)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        worker.restore(load_state(checkpoint))
    for epoch in range(worker.epoch, job.training.epochs):
        for step, loss in enumerate(worker.run_epoch(epoch)):
            if not math.isfinite(loss):
                return epoch + 1, step + 1
        if worker.is_due():
            worker.report(config["log"])
    return None


class _Worker:
    """One rank: its learner, its part of the images."""

    def __init__(self, job: PretrainingJob) -> None:
        context = ray.train.get_context()
        self.ranks = Ranks(context.get_world_rank(), context.get_world_size(), self._sum_over_ranks)
        self.job, self.images = job, job.source.open()
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self.losses: list[float] = []
        torch.manual_seed(job.seed)
        model = Denoiser(job.spec)
        if job.backbone is not None:
            start_denoiser(model, job.backbone)
        self.learner = DenoisingLearner(
            model.to(get_device()), job.training, job.seed, wrap=prepare_model
        )

    def run_epoch(self, epoch: int) -> Iterator[float]:
        """Train one epoch; yields the loss of every global batch."""
        images, seed = self.images, self.job.seed
        size = self.job.training.batch_size
        batches = epoch_batches(images.train, size, images.shards_held, seed, epoch)
        mine = slice(self.ranks.rank, None, self.ranks.world_size)
        self.losses = []
        for step, numbers in enumerate(batches):
            draws = _draws(seed, epoch, step, size)
            batch = clean_batch(self.learner.model, *images.read(numbers[mine], draws[mine]))
            loss = self.learner.step(batch, epoch, step, len(batches), self.ranks)
            self.losses.append(loss)
            yield loss
        self.epoch = epoch + 1

    def is_due(self) -> bool:
        """True if this epoch is to be validated and kept."""
        training = self.job.training
        return self.epoch % training.checkpoint_epochs == 0 or self.epoch == training.epochs

    def report(self, log: Any) -> None:
        """Validate, and hand metrics and state to Ray Train; all ranks call it together."""
        mine = self.images.val[self.ranks.rank :: self.ranks.world_size]
        sums = validation_error(
            self.learner.averaged, self.images, mine, self.job.training.batch_size
        )
        error, numbers = self._sum_over_ranks(sums).tolist()
        metrics = {
            "epoch": self.epoch,
            "loss": sum(self.losses) / len(self.losses),
            "val_loss": error / numbers,
        }
        self.history.append(metrics)
        state = self.learner.state() | {"epoch": self.epoch, "history": self.history}
        report(metrics, ("epoch", "loss", "val_loss"), state, self.ranks.rank, log)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `report` kept."""
        self.epoch, self.history = state["epoch"], state["history"]
        self.learner.restore(state)

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        if self.ranks.world_size > 1:
            dist.all_reduce(value)
        return value


def _draws(seed: int, epoch: int, step: int, count: int) -> NDArray[np.float64]:
    """Which part of each image of a global batch is shown, [count, 2]."""
    return np.random.default_rng((seed, epoch, step)).random((count, 2))
