"""Pretraining on Ray Train: as `training` does it, of images without labels."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.data import Dataset

from noise2map_core.chips.store import open_store
from noise2map_core.distributed.fitting.fit import (
    Log,
    Score,
    TrainLink,
    fit,
    load_state,
)
from noise2map_core.distributed.fitting.streams import ChipStream, stream_chips
from noise2map_core.distributed.fitting.worker import TrainWorker
from noise2map_core.evaluation.batches import epoch_batches
from noise2map_core.learning.denoising import CleanBatch, DenoisingLearner
from noise2map_core.models.denoiser import Denoiser
from noise2map_core.models.start import start_denoiser
from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.training.denoising import clean_batch, validation_error
from noise2map_core.training.pretraining import PretrainedWeights, PretrainingJob
from noise2map_core.training.pretraining_data import shown

SCORE = Score("val_loss", highest=False)
IMAGES = "images"
"""The stream."""


def pretrain_model(job: PretrainingJob, log: Log | None = None) -> PretrainedWeights:
    """Train to the end, from the last checkpoint in `job.state` if there is one.

    `log` is handed the points of curves meanwhile; see `fit`. Needs a connection to a cluster.
    Raises Noise2MapError if training diverges.
    """
    result = fit(_train_worker, job, job.training, job.state, SCORE, log, _streams(job))
    if result.return_value:
        raise Noise2MapError(
            f"pretraining diverged: {result.return_value}. Lower training.learning_rate, check the "
            "images for absurd values, and use another output."
        )
    state = load_state(result.checkpoint)
    history = state["history"]
    return PretrainedWeights(state["average"], history[-1]["val_loss"], history)


def _streams(job: PretrainingJob) -> dict[str, Dataset]:
    """The chips, where Ray Data is to read them."""
    if job.training.loader == "sharded":
        return {}
    assert job.source.chips is not None
    store, chips = open_store(job.source.chips), job.source.open().train
    return {IMAGES: stream_chips(store, ("image", "valid"), chips, job.seed, job.resources)}


def _train_worker(config: dict[str, Any]) -> str | None:
    """What each worker runs. Returns where and how, if training diverged."""
    job = config["job"]
    return _Worker(job, TrainLink(job.state)).run(config["board"])


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
        batch_size, streamed = job.training.batch_size, job.training.loader == "ray_data"
        self.stream = (
            ChipStream(link.stream(IMAGES), batch_size, job.seed, self.ranks) if streamed else None
        )
        self.num_steps = len(self.images.train) // batch_size if streamed else len(self._batches(0))

    def begin_epoch(self, epoch: int) -> None:
        if self.stream is not None:
            self.stream.begin_epoch(epoch)
        else:
            self.batches = self._batches(epoch)

    def load(self, epoch: int, step: int) -> CleanBatch:
        mine = slice(self.ranks.rank, None, self.ranks.world_size)
        draws = _draws(self.job.seed, epoch, step, self.training.batch_size)[mine]
        if self.stream is not None:
            rows = self.stream.read()
            self.numbers, read = rows["chip"], shown(rows["image"], rows["valid"], draws)
        else:
            self.numbers = self.batches[step]
            read = self.images.read(self.numbers[mine], draws)
        return clean_batch(self.learner.model, *read)

    def learn(self, batch: CleanBatch, epoch: int, step: int) -> float:
        return self.learner.step(batch, epoch, step, self.num_steps, self.ranks)

    def chips_of(self, step: int) -> str:
        numbers = ", ".join(str(number) for number in sorted(self.numbers))
        return f"images {numbers} of {self.job.source.where}"

    def validate(self) -> dict[str, Any]:
        mine = self.images.val[self.ranks.rank :: self.ranks.world_size]
        sums = validation_error(self.learner.averaged, self.images, mine, self.training.batch_size)
        error, numbers = self.ranks.sum_over(sums).tolist()
        return {"val_loss": error / numbers}

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        images, size = self.images, self.training.batch_size
        return epoch_batches(images.train, size, images.shards_held, self.job.seed, epoch)


def _draws(seed: int, epoch: int, step: int, count: int) -> NDArray[np.float64]:
    """Which part of each image of a global batch is shown, [count, 2]."""
    return np.random.default_rng((seed, epoch, step)).random((count, 2))
