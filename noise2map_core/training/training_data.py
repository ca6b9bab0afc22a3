"""What a chip store says about the model that can be trained on it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core import __version__
from noise2map_core.chips.order import Int64
from noise2map_core.chips.spread import band_spread, require_numbers
from noise2map_core.chips.store import LABEL_ARRAYS, ChipStore
from noise2map_core.diffusion.schedule import schedule_alpha_bars
from noise2map_core.diffusion.timesteps import inference_timesteps, timestep_weights
from noise2map_core.evaluation.batches import chips_with, labelled_chips, some_chips
from noise2map_core.imagery.moments import Moments
from noise2map_core.labels.splits import ROUNDING_PX, find_too_near
from noise2map_core.learning.losses import class_weights_of
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.models.encoder_weights import require_encoder_weights
from noise2map_core.models.presets import network_of
from noise2map_core.models.published import HALF_RANGE
from noise2map_core.models.spec import (
    CheckpointSpec,
    ClassSpec,
    Normalisation,
    TaskSpec,
    refused_as_settings,
)
from noise2map_core.runtime.errors import ChipStoreError, ConfigError
from noise2map_core.settings.diffusion import DiffusionConfig
from noise2map_core.settings.learning import TaskTrainingConfig, TrainingConfig
from noise2map_core.settings.network import ModelConfig, Scaling, Task
from noise2map_core.workflows.finetune_maps import TrialSettings

COLORS = ("#d9d9d9", "#d7301f", "#1f78b4", "#33a02c", "#ff7f00", "#6a3d9a", "#b15928", "#a6cee3")
"""Of the classes, by value; the first is what lies around the others."""

VALUE_SPREAD = 10.0
"""Values this many standard deviations from the mean are still expected."""


def require_trainable(store: ChipStore, tasks: Collection[Task]) -> None:
    """Raise ChipStoreError unless a model can be trained and judged on the store."""
    store.require(("train", "val"), tasks)
    for split in ("train", "val"):
        require_numbers(store, store.statistics(split), split)
    _require_apart(store)
    for task in tasks:
        _require_known_labels(store, task)
        for split in ("train", "val"):
            _require_all_classes(store, split, task)


def require_streamable(
    store: ChipStore, tasks: Collection[Task], training: TrainingConfig, seed: int
) -> None:
    """Raise ConfigError if Ray Data is to stream fewer chips than a batch has."""
    if training.loader == "sharded":
        return
    for task in tasks:
        count = len(task_chips(store, task, training, seed).train)
        if count < training.batch:
            raise ConfigError(
                f"{count} training chips of {store.path} have labels of task {task!r}; a batch has "
                f"{training.batch}. Lower training.batch, or set training.loader to "
                "sharded, which shows chips twice."
            )


@dataclass(frozen=True)
class TaskChips:
    """What a task is learnt from: numbers of chips."""

    train: Int64
    """With labels, or the share of those that is to be used."""
    rare: Int64
    """Of them, those with a pixel of the rarest class."""


def task_chips(store: ChipStore, task: Task, training: TrainingConfig, seed: int) -> TaskChips:
    """The training chips of a task."""
    labelled = labelled_chips(store, store.chips_of("train"), task)
    train = some_chips(labelled, training.labels_share, seed)
    rarest = int(np.argmin(class_counts(store, task)))
    value = store.attributes["classes"][task][rarest]["value"]
    return TaskChips(train, chips_with(store, train, task, value))


def plan_spec(
    store: ChipStore,
    model: ModelConfig,
    tasks: Mapping[Task, TaskTrainingConfig],
    gsd_range: tuple[float, float] | None,
    normalised: Scaling = "training",
) -> CheckpointSpec:
    """The spec of a model for the store's bands; normalised by its training part, or as it is told.

    Thresholds are 0.5 until validation chooses them. Raises ConfigError or ChipStoreError if chip
    size, labels, timesteps or bands cannot be used.
    """
    chip_px, gsd = int(store.attributes["chip_px"]), store.gsd
    network = network_of(
        model.preset, chip_px, model.fusion, model.tied, tell_timestep=model.tell_timestep
    )
    if model.tied and set(tasks) != {"change", "segment"}:
        raise ConfigError(
            f"model.tied wants both tasks, and {', '.join(tasks)} is learnt. Set tasks to change "
            "segment, or leave model.tied out."
        )
    if model.backbone is None:
        require_encoder_weights(network)
    if chip_px % network.stride:
        raise ChipStoreError(
            f"chip store {store.path} has chips of {chip_px} pixels; preset {model.preset} needs a "
            f"multiple of {network.stride}. Ingest it with another chips.chip_px."
        )
    moments = store.statistics("train")
    std = band_spread(store, moments)
    with refused_as_settings(f"a model of chip store {store.path}"):
        return CheckpointSpec(
            tasks={
                name: _plan_task(store, name, task.diffusion, normalised)
                for name, task in tasks.items()
            },
            bands=tuple(store.bands),
            gsd=gsd,
            gsd_range=gsd_range or (gsd / 2, gsd * 2),
            value_range=(0.0, 255.0)
            if normalised == "minus_one_one"
            else _value_range(store, moments, std),
            chip_px=chip_px,
            stride_px=max(1, chip_px // 2),
            preset=model.preset,
            network=network,
            code_version=__version__,
        )


def require_variates(settings: TrialSettings, store: ChipStore) -> None:
    """Raise unless a network can be trained on the MAD variates of all pairs that it will see.

    ConfigError for settings with which it cannot, ChipStoreError for a store without.
    """
    fusion = settings.model.by_variates
    if settings.normalisation.of != "scene":
        raise ConfigError(
            f"model.fusion {fusion} sees each pair of scenes by its own statistics. Set "
            "normalisation.of to scene."
        )
    drawn = settings.training.invariance
    if drawn.unchanged or drawn.pasted:
        raise ConfigError(
            "training.invariance.unchanged and .pasted make pairs of one date, of which MAD has no "
            f"variates; model.fusion is {fusion}. Leave them out."
        )
    if "change" in settings.of_tasks() and store.alterations(np.zeros(0, np.int64)) is None:
        raise ChipStoreError(
            f"chip store {store.path} does not say how its pairs differ where nothing changed, "
            f"which model.fusion {fusion} needs: it was written by an earlier noise2map. Ingest "
            "it anew."
        )


def _plan_task(
    store: ChipStore, task: Task, diffusion: DiffusionConfig, normalised: Scaling
) -> TaskSpec:
    store.require((), (task,))
    try:
        timesteps = inference_timesteps(diffusion)
        timestep_weights(diffusion, schedule_alpha_bars(diffusion.schedule))
    except ValueError as error:
        raise ConfigError(f"{task}.diffusion: {error}.") from error
    moments = store.statistics("train")
    if task == "segment":
        moments = moments.over_dates()
    classes = tuple(
        ClassSpec(value=entry["value"], name=entry["name"], color=COLORS[index % len(COLORS)])
        for index, entry in enumerate(store.attributes["classes"][task])
    )
    return TaskSpec(
        num_dates=1 if task == "segment" else store.num_dates,
        normalisation=_normalisation(store, moments, normalised),
        corruption=diffusion.corruption,
        schedule=diffusion.schedule,
        inference_timesteps=timesteps,
        classes=classes,
        threshold={classes[1].name: 0.5} if len(classes) == 2 else {},
    )


def _normalisation(store: ChipStore, moments: Moments, normalised: Scaling) -> Normalisation:
    if normalised != "minus_one_one":
        mean, std = _nested(moments.mean), _nested(band_spread(store, moments))
        return Normalisation(of=normalised, mean=mean, std=std)
    dtype = store.array("image").dtype
    if dtype != np.uint8:
        raise ConfigError(
            f"normalisation.of minus_one_one is of images of 8 bits; chip store {store.path} holds "
            f"{dtype}. Set it to training or scene."
        )
    halves = _nested(np.full_like(moments.mean, HALF_RANGE))
    return Normalisation(mean=halves, std=halves)


def _require_apart(store: ChipStore) -> None:
    """Splits must lie `buffer_px` apart, whoever made the store."""
    gsd, buffer_px = float(store.attributes["gsd"]), store.attributes["buffer_px"]
    buffer = (buffer_px - ROUNDING_PX) * gsd
    splits = store.splits
    found = find_too_near(store.read("footprint"), splits, store.read("crs"), buffer)
    if found is not None:
        one, other = found
        raise ChipStoreError(
            f"chip store {store.path} has chips of {splits[one]} and {splits[other]} "
            f"nearer than {buffer_px} pixels: training would see what it is judged on. Ingest it "
            "with places further apart."
        )


def _require_all_classes(store: ChipStore, split: str, task: Task) -> None:
    """Every class must occur in training; of many, two are enough for validation."""
    names = [entry["name"] for entry in store.attributes["classes"][task]]
    seen = store.label_counts[task][store.chips_of(split), :-1].any(axis=0)
    if seen.all() or (split == "val" and seen.sum() > 1):
        return
    missing = names[int(np.argmin(seen))]
    raise ChipStoreError(
        f"chip store {store.path}: split {split!r} has no observed pixel labelled {missing}. Move "
        "its boxes to where there are all classes."
    )


def _require_known_labels(store: ChipStore, task: Task) -> None:
    """Every label must be a class of the table, or 255."""
    names = {entry["value"]: entry["name"] for entry in store.attributes["classes"][task]}
    for chip in np.flatnonzero(store.label_counts[task][:, -1]).tolist():
        array = LABEL_ARRAYS[task]
        found = np.unique(store.read_chip(chip, [array])[array]).tolist()
        value = next(one for one in found if one not in {*names, IGNORE})
        raise ChipStoreError(
            f"chip store {store.path}: chip {chip} has pixels labelled {value}; the classes of "
            f"task {task!r} are {', '.join(f'{v} {n}' for v, n in names.items())}. Ingest it "
            "anew, with labels of these classes."
        )


def class_counts(store: ChipStore, task: Task) -> tuple[int, ...]:
    """Labelled, observed pixels of each class in the training part, each counted once."""
    counts = store.attributes["counts"]["train"]["label_px"][task]
    return tuple(counts[entry["name"]] for entry in store.attributes["classes"][task])


def class_weights(
    store: ChipStore, tasks: Mapping[Task, TaskTrainingConfig]
) -> dict[Task, tuple[float, ...]]:
    """Of every task, the weight of each class in the loss, from the training part."""
    return {
        name: class_weights_of(task.loss, class_counts(store, name)) for name, task in tasks.items()
    }


def _value_range(
    store: ChipStore, moments: Moments, std: NDArray[np.float64]
) -> tuple[float, float]:
    """Raw numbers that are within reach of the training part's and that the dtype can hold."""
    low = float((moments.mean - VALUE_SPREAD * std).min())
    high = float((moments.mean + VALUE_SPREAD * std).max())
    dtype = store.array("image").dtype
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        low, high = max(low, float(limits.min)), min(high, float(limits.max))
    return low, high


def _nested(values: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in date) for date in values)
