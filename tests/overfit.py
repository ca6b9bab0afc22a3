"""Can a network learn eight real chips by heart?

Change from DSIFN pairs, buildings from Inria crops.
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.metrics import NUM_BINS, ScoreHistogram
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.models.presets import REFERENCE_PX, network_of
from noise2map_core.models.spec import Normalisation
from noise2map_core.settings.diffusion import DiffusionConfig, SelfCorruption, SwappedPairCorruption
from noise2map_core.settings.learning import TaskTrainingConfig, TrainingConfig
from noise2map_core.settings.network import Preset, Task
from tests.factories import checkpoint_spec, samples, task_spec

NUM_CHIPS = 8
RGB = ("red", "green", "blue")


def read_chips(data: Path, task: Task, px: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Eight chips of real imagery [chip, date·band, y, x] and labels [chip, y, x].

    Each is the `px` x `px` part of its image with the most even share of the two classes.
    """
    folder = data / ("change/dsifn" if task == "change" else "buildings/inria")
    labels = sorted((folder / ("label" if task == "change" else "mask")).iterdir())
    chips = []
    for path in labels:
        label = (read(path)[0] > 0).astype(np.int64)
        shares = {
            (row, col): abs(label[row : row + px, col : col + px].mean() - 0.5)
            for row in range(0, label.shape[0] - px + 1, 16)
            for col in range(0, label.shape[1] - px + 1, 16)
        }
        row, col = min(shares, key=lambda corner: (shares[corner], corner))
        window = (..., slice(row, row + px), slice(col, col + px))
        images = ("A", "B") if task == "change" else ("image",)
        found = np.concatenate([read(like(folder / name, path))[:3] for name in images])
        chips.append((shares[row, col], path.name, found[window], label[window]))
    chosen = sorted(chips, key=lambda chip: chip[:2])[:NUM_CHIPS]
    return np.stack([chip[2] for chip in chosen]), np.stack([chip[3] for chip in chosen])


def like(folder: Path, path: Path) -> Path:
    """The file in `folder` of the same stem."""
    return next(found for found in sorted(folder.iterdir()) if found.stem == path.stem)


def read(path: Path) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # these are plain pictures
        with rasterio.open(path) as raster:
            return np.asarray(raster.read())


def overfit(
    preset: Preset, tasks: tuple[Task, ...], data: Path, *, px: int, steps: int, rate: float
) -> Mapping[Task, float]:
    """F1 of the sought class of each task on the chips that were learnt, at its best threshold."""
    noise = {"change": SwappedPairCorruption(), "segment": SelfCorruption()}
    chips = {task: read_chips(data, task, px) for task in tasks}
    network = network_of(preset, REFERENCE_PX if preset == "reference" else px)
    spec = checkpoint_spec(
        bands=RGB, chip_px=px, network=network, preset=preset,
        tasks={
            task: task_spec(
                task, 3, corruption=noise[task],
                normalisation=Normalisation(
                    mean=((127.5,) * 3,) * (2 if task == "change" else 1),
                    std=((63.75,) * 3,) * (2 if task == "change" else 1),
                ),
            )
            for task in tasks
        },
    )  # fmt: skip
    config = TrainingConfig(
        epochs=1, learning_rate=rate, ema_decay=0.9, jitter=0.0, flips=False, context_dropout=0.0
    )
    training: dict[Task, TaskTrainingConfig] = {
        task: TaskTrainingConfig(diffusion=DiffusionConfig(corruption=noise[task]))
        for task in tasks
    }
    model = new_model(spec, 0, torch.device("cpu"))
    learner = Learner(model, config, training, dict.fromkeys(tasks, (1.0, 1.0)), seed=0)
    batches = {task: batch_of(learner, task, *chips[task]) for task in tasks}
    for step in range(steps):
        shown = {
            task: replace(batch, draws_of=samples(len(batch), step))
            for task, batch in batches.items()
        }
        learner.step(shown, 0, step, steps, Ranks())
    return {task: best_f1(learner, task, *chips[task]) for task in tasks}


def batch_of(
    learner: Learner, task: Task, image: NDArray[np.uint8], label: NDArray[np.int64]
) -> TrainingBatch:
    x_0 = learner.model.normalise(torch.from_numpy(image), task=task)
    valid = torch.ones(label.shape, dtype=torch.bool)
    return TrainingBatch(x_0, torch.from_numpy(label), valid, samples(len(label)))


def best_f1(
    learner: Learner, task: Task, image: NDArray[np.uint8], label: NDArray[np.int64]
) -> float:
    with torch.inference_mode():
        logits = learner.averaged.logits(torch.from_numpy(image), 999, task=task)
    return ScoreHistogram.of(logits.softmax(dim=1)[:, 1].numpy(), label, NUM_BINS).best_f1()
