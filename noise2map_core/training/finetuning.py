"""What a fine-tuning trains, what comes of it, and what is kept of that."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from noise2map_core.chips.places import CHOSEN_ON, FOLD_FOLDER, dealt, folds_of, places_of_fold
from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.storage import absolute
from noise2map_core.settings.labels import PlacesConfig
from noise2map_core.settings.learning import (
    SelectionConfig,
    TaskTrainingConfig,
    TrainingConfig,
)
from noise2map_core.settings.network import Task
from noise2map_core.settings.resources import ClusterConfig
from noise2map_core.training.model_card import write_card
from noise2map_core.training.run import STATE_FOLDER, TrainingRun, learnt_settings
from noise2map_core.training.training_data import (
    TaskChips,
    class_weights,
    plan_spec,
    require_variates,
    task_chips,
)
from noise2map_core.training.validation import TaskValidation, with_validation
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig, TrialSettings


@dataclass(frozen=True)
class TrainingJob:
    """All that a worker needs; picklable."""

    chips: Path
    """Chip store, absolute."""
    state: Path
    """Where Ray Train keeps checkpoints, absolute."""
    spec: CheckpointSpec
    """Of the model to come; its thresholds are not chosen yet."""
    tasks: dict[Task, TaskTrainingConfig]
    """How each of its tasks is learnt."""
    class_weights: dict[Task, tuple[float, ...]]
    """Weight of each class in the losses of a task."""
    chosen: dict[Task, TaskChips]
    """What each task is learnt from, chosen once for all workers."""
    backbone: Path | None
    """Published UNet that the backbone starts from, absolute."""
    training: TrainingConfig
    seed: int
    resources: ClusterConfig = field(default_factory=ClusterConfig)
    """Of each reading task, where Ray Data streams the chips."""
    places: PlacesConfig = field(default_factory=PlacesConfig)
    """Which whole places are train and val, if the store is not to say."""
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    """Which epoch is taken."""

    def open_store(self) -> ChipStore:
        """The chips, with the parts that are to be trained on."""
        return dealt(open_store(self.chips), self.places)


@dataclass(frozen=True)
class TrainedWeights:
    """The chosen epoch of a run."""

    weights: dict[str, Tensor]
    """State dict of the moving average."""
    epoch: int
    """Epochs that it had been trained for."""
    tasks: dict[Task, TaskValidation]
    """What validation says of each task: thresholds, temperature."""
    val_f1: float
    """Validation F1 of the classes that are sought, mean over the tasks."""
    history: list[dict[str, Any]]
    """Of every validated epoch: epoch, loss, train_s, resources, val_f1, val_score, val_error,
    tasks."""


def plan_job(settings: TrialSettings, store: ChipStore, state: Path, seed: int) -> TrainingJob:
    """What these settings train on a store, in a fine-tuning or in a trial of a sweep.

    Raises ConfigError or ChipStoreError where settings do not fit.
    """
    tasks, backbone = settings.of_tasks(), settings.model.backbone
    if settings.model.by_variates:
        require_variates(settings, store)
    return TrainingJob(
        chips=absolute(store.path),
        state=state,
        spec=plan_spec(
            store, settings.model, tasks, settings.resolution_range, settings.normalisation.of
        ),
        tasks=tasks,
        class_weights=class_weights(store, tasks),
        chosen={name: task_chips(store, name, settings.training, seed) for name in tasks},
        backbone=checkpoint_folder(backbone) if backbone else None,
        training=settings.training,
        seed=seed,
    )


def plan_training(config: FinetuneMapsConfig, store: ChipStore) -> TrainingJob:
    """What finetune-maps trains, for those who train it by other means, too."""
    state = absolute(config.output) / STATE_FOLDER
    job = plan_job(config, store, state, config.seed)
    return replace(
        job, places=config.places, resources=config.resources, selection=config.selection
    )


def require_timestep(config: FinetuneMapsConfig) -> None:
    """Raise ConfigError if epochs are to be chosen at a timestep that a task does not have."""
    chosen = config.selection.timestep
    for name, task in config.of_tasks().items():
        last = task.diffusion.schedule.num_timesteps - 1
        if chosen is not None and chosen > last:
            raise ConfigError(
                f"selection.timestep {chosen} is not below {last + 1}, the number of timesteps of "
                f"{name}. Set a lower one."
            )


def plan_folds(config: FinetuneMapsConfig, store: ChipStore) -> list[FinetuneMapsConfig]:
    """One training of each fold of places. Raises ChipStoreError."""
    assert config.places.folds is not None
    store.require((), config.task)
    folds = folds_of(store, config.places.folds, config.task[0])
    return [
        config.model_copy(
            update={
                "output": config.output / f"{FOLD_FOLDER}{number}",
                "places": places_of_fold(folds, number),
            }
        )
        for number in range(len(folds))
    ]


def finetuning_run(config: FinetuneMapsConfig, store: ChipStore) -> TrainingRun:
    """The run of a config: its weights depend on the settings and on every byte of the chips."""
    unused = {"change", "segment"} - set(config.task)
    settings = learnt_settings(config, {"chips", "output", "resources", "card", "mlflow"} | unused)
    digest = digest_of({"settings": settings, "chips": store.objects})
    return TrainingRun(config.output, config, digest)


def save_trained(
    trained: TrainedWeights,
    spec: CheckpointSpec,
    store: ChipStore,
    training_run: TrainingRun,
    config: FinetuneMapsConfig,
) -> None:
    """Write the checkpoint, then the note that the run is finished."""
    spec = with_validation(spec, trained.tasks)
    model = Noise2Map(spec)
    model.load_state_dict(trained.weights)
    card = write_card(
        spec, store, trained.tasks, trained.val_f1, trained.epoch, trained.history, config.seed,
        config.card, config.selection,
    )  # fmt: skip
    save_checkpoint(model, spec, training_run.checkpoint, card)
    flattering = {name: store.attributes[name] for name in (CHOSEN_ON,) if name in store.attributes}
    training_run.finish(
        epoch=trained.epoch, val_f1=trained.val_f1, history=trained.history, **flattering
    )
