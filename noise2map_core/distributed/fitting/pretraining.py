"""Pretraining on Ray Train: as `training` does it, of images without labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noise2map_core.chips.order import ChipOrder, EpochPart, Int64
from noise2map_core.distributed.fitting.fit import (
    Log,
    Score,
    TrainLink,
    fit,
    load_state,
)
from noise2map_core.distributed.fitting.worker import TrainWorker
from noise2map_core.learning.denoising import DenoisingLearner
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.learning.steps import StepOutcome
from noise2map_core.models.denoiser import Denoiser
from noise2map_core.models.start import start_denoiser
from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.training.denoising import clean_batch, validation_error
from noise2map_core.training.pretraining import PretrainedWeights, PretrainingJob

SCORE = Score("val_loss", highest=False)


def pretrain_model(job: PretrainingJob, log: Log | None = None) -> PretrainedWeights:
    """Train to the end, from the last checkpoint in `job.state` if there is one.

    `log` is handed the points of curves meanwhile; see `fit`. Needs a connection to a cluster.
    Raises Noise2MapError if training diverges.
    """
    result = fit(_train_worker, job, job.training, job.state, SCORE, log)
    if result.return_value:
        raise Noise2MapError(
            f"pretraining diverged: {result.return_value}. Lower training.learning_rate, check the "
            "images for absurd values, and use another output."
        )
    state = load_state(result.checkpoint)
    history = state["history"]
    return PretrainedWeights(state["average"], history[-1]["val_loss"], history)


def _train_worker(config: dict[str, Any]) -> str | None:
    """What each worker runs. Returns where and how, if training diverged."""
    job = config["job"]
    return _Worker(job, TrainLink(job.state)).run(config["board"])


@dataclass(frozen=True)
class ImageBatch:
    """Raw images."""

    samples: Int64
    """[B, 2] number, and how often it was shown before in the epoch."""
    image: NDArray[Any]
    """[B, band, y, x], raw numbers."""
    valid: NDArray[np.bool_]
    """[B, y, x], True = observed."""


class _Worker(TrainWorker):
    """One rank: its learner, its part of the images."""

    score = SCORE

    def __init__(self, job: PretrainingJob, link: TrainLink) -> None:
        super().__init__(job.training, job.state, link)
        self.job, self.images = job, job.source.open()
        torch.manual_seed(job.seed)
        model = Denoiser(job.spec)
        if job.backbone is not None:
            start_denoiser(model, job.backbone)
        self.learner = DenoisingLearner(
            model.to(link.device()), job.training, job.seed, wrap=link.wrap
        )
        size, images, training = job.training.batch_size, self.images, job.training
        self.order = ChipOrder.of(images.train, images.shard_bytes, size, job.seed, training.order)
        images.keep(self.order.cache_bytes(images.shard_bytes, self.ranks.world_size))
        self.num_steps = -(-len(images.train) // size)
        # Its own: the others are read by a thread meanwhile, for the epoch to come.
        self.judged = job.source.open()
        self.judged.keep(0)

    def begin_epoch(self, epoch: int) -> None:
        batches = self.order.batches(self.images.train, epoch)
        self.begun, self.part = epoch, EpochPart.of(batches, self.ranks.rank, self.ranks.world_size)

    def load(self, step: int) -> ImageBatch:
        numbers, showing = self.part.chips[step], self.part.showing[step]
        samples = np.column_stack([numbers, showing])
        places = ChipRandom(self.job.seed, self.begun, "place", samples).rand(2).double().numpy()
        image, valid = self.images.read(numbers, places)
        self.images.release(self.part.leaving[step])
        return ImageBatch(samples, image, valid)

    def learn(self, batch: ImageBatch, epoch: int, step: int) -> StepOutcome:
        clean = clean_batch(self.learner.model, batch.samples, batch.image, batch.valid)
        return self.learner.step(clean, epoch, step, self.num_steps, self.ranks)

    def chips_in(self, batch: ImageBatch) -> list[int]:
        return [int(number) for number in batch.samples[:, 0]]

    def named(self, chips: list[int]) -> str:
        return f"images {', '.join(map(str, chips))} of {self.job.source.where}"

    def validate(self) -> dict[str, Any]:
        mine = self.judged.val[self.ranks.rank :: self.ranks.world_size]
        sums = validation_error(self.learner.averaged, self.judged, mine, self.training.batch_size)
        error, numbers = self.ranks.sum_over(sums).tolist()
        return {"val_loss": error / numbers}
