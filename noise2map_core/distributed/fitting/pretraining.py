"""Pretraining on Ray Train: as `training` does it, of images without labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.data import Dataset

from noise2map_core.chips.order import ChipOrder, EpochPart, Int64
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
from noise2map_core.learning.denoising import DenoisingLearner
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.learning.steps import Ranks, StepOutcome
from noise2map_core.models.denoiser import Denoiser
from noise2map_core.models.start import start_denoiser
from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.training.denoising import clean_batch, validation_error
from noise2map_core.training.pretraining import PretrainedWeights, PretrainingJob
from noise2map_core.training.pretraining_data import UnlabelledImages, shown

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


@dataclass(frozen=True)
class ImageBatch:
    """Raw images."""

    samples: Int64
    """[B, 2] number, and how often it was shown before in the epoch."""
    image: NDArray[Any]
    """[B, band, y, x], raw numbers."""
    valid: NDArray[np.bool_]
    """[B, y, x], True = observed."""


class _Read:
    """Images that a rank reads by itself; as `ShardedLoader` does."""

    def __init__(
        self, job: PretrainingJob, images: UnlabelledImages, link: TrainLink, ranks: Ranks
    ) -> None:
        size, order = job.training.batch, job.training.order
        self._images, self._seed, self._ranks = images, job.seed, ranks
        self._order = ChipOrder.of(images.train, images.shard_bytes, size, job.seed, order)
        images.keep(self._order.cache_bytes(images.shard_bytes, ranks.world_size))
        self.num_steps = -(-len(images.train) // size)

    def begin_epoch(self, epoch: int) -> None:
        batches, ranks = self._order.batches(self._images.train, epoch), self._ranks
        self._begun, self._part = epoch, EpochPart.of(batches, ranks.rank, ranks.world_size)

    def load(self, step: int) -> ImageBatch:
        numbers, showing = self._part.chips[step], self._part.showing[step]
        samples = np.column_stack([numbers, showing])
        pixels = self._images.read(numbers, _places(self._seed, self._begun, samples))
        self._images.release(self._part.leaving[step])
        return ImageBatch(samples, *pixels)


class _Streamed:
    """Images as Ray Data's tasks have read them; see `ChipStream`."""

    def __init__(
        self, job: PretrainingJob, images: UnlabelledImages, link: TrainLink, ranks: Ranks
    ) -> None:
        size, self._seed = job.training.batch, job.seed
        self._stream = ChipStream(link.stream(IMAGES), size, job.seed, ranks)
        self.num_steps = len(images.train) // size

    def begin_epoch(self, epoch: int) -> None:
        self._begun = epoch
        self._stream.begin_epoch(epoch)

    def load(self, step: int) -> ImageBatch:
        rows = self._stream.read()
        samples = np.column_stack([rows["chip"], rows["showing"]])
        places = _places(self._seed, self._begun, samples)
        return ImageBatch(samples, *shown(rows["image"], rows["valid"], places))


def _places(seed: int, epoch: int, samples: Int64) -> NDArray[np.float64]:
    """Which part of each image is shown, [B, 2]."""
    drawn: NDArray[np.float64] = ChipRandom(seed, epoch, "place", samples).rand(2).double().numpy()
    return drawn


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
        streamed = job.training.loader == "ray_data"
        self.reader = (_Streamed if streamed else _Read)(job, self.images, link, self.ranks)
        self.num_steps = self.reader.num_steps
        # Its own: the others are read by a thread meanwhile, for the epoch to come.
        self.judged = job.source.open()
        self.judged.keep(0)

    def begin_epoch(self, epoch: int) -> None:
        self.reader.begin_epoch(epoch)

    def load(self, step: int) -> ImageBatch:
        return self.reader.load(step)

    def learn(self, batch: ImageBatch, epoch: int, step: int) -> StepOutcome:
        clean = clean_batch(self.learner.model, batch.samples, batch.image, batch.valid)
        return self.learner.step(clean, epoch, step, self.num_steps, self.ranks)

    def chips_in(self, batch: ImageBatch) -> list[int]:
        return [int(number) for number in batch.samples[:, 0]]

    def named(self, chips: list[int]) -> str:
        return f"images {', '.join(map(str, chips))} of {self.job.source.where}"

    def validate(self) -> dict[str, Any]:
        mine = self.judged.val[self.ranks.rank :: self.ranks.world_size]
        sums = validation_error(self.learner.averaged, self.judged, mine, self.training.batch)
        error, numbers = self.ranks.sum_over(sums).tolist()
        return {"val_loss": error / numbers}
