"""Settings of finetune-maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from noise2map_core.runtime.storage import Location, Target
from noise2map_core.settings.datasets import Protocol
from noise2map_core.settings.inference import CardConfig
from noise2map_core.settings.labels import PlacesConfig
from noise2map_core.settings.learning import (
    MlflowConfig,
    SelectionConfig,
    TaskTrainingConfig,
    TrainingConfig,
    segment_training,
)
from noise2map_core.settings.network import (
    WITHOUT_NOISE,
    ModelConfig,
    NormalisationConfig,
    Task,
    Tasks,
)
from noise2map_core.settings.numbers import PositiveFloat, Seed
from noise2map_core.settings.resources import ClusterConfig
from noise2map_core.settings.unused import changed
from noise2map_core.workflows.launch import Workflow


class TrialSettings(BaseModel):
    """What is learnt and how: of one training, or of what all trials of a sweep share."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True,
        validate_by_name=True, validate_by_alias=False,
    )  # fmt: skip

    resolution_range: Annotated[
        tuple[PositiveFloat, PositiveFloat] | None, Field(alias="gsd_range")
    ] = None
    """Least and most metres a pixel that the model accepts. None: half to twice the chips'."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    """The network."""

    normalisation: NormalisationConfig = Field(default_factory=NormalisationConfig)
    """How numbers are brought to one scale."""

    task: Annotated[Tasks, Field(alias="tasks")] = ("change",)
    """What it learns: change, segment, or both at once with one shared backbone."""

    change: TaskTrainingConfig = Field(default_factory=TaskTrainingConfig)
    """How change is learnt."""

    segment: TaskTrainingConfig = Field(default_factory=segment_training)
    """How segmentation is learnt."""

    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """How it is trained. In a sweep, epochs, validations and patience are the search's, and a trial
    is one worker, which takes `worker_cpus` and `worker_gpus`."""

    @model_validator(mode="before")
    @classmethod
    def _clean_where_nothing_is_said(cls, given: Any) -> Any:
        """Networks without noise see clean input, unless a corruption is set."""
        if not isinstance(given, Mapping) or _said(given, "model", "preset") not in WITHOUT_NOISE:
            return given
        return {**given, **{task: _without_noise(given.get(task)) for task in get_args(Task)}}

    def of_tasks(self) -> dict[Task, TaskTrainingConfig]:
        """How each of its tasks is learnt."""
        both: dict[Task, TaskTrainingConfig] = {"change": self.change, "segment": self.segment}
        return {name: both[name] for name in self.task}


def _said(given: Any, *names: str) -> Any:
    """What was set of a setting, in mappings or in sections; None: nothing."""
    for name in names:
        if isinstance(given, BaseModel):
            given = getattr(given, name) if name in given.model_fields_set else None
        else:
            given = given.get(name) if isinstance(given, Mapping) else None
    return given


def _without_noise(task: Any) -> Any:
    """How a task is learnt, without noise unless a corruption was set."""
    if _said(task, "diffusion", "corruption") is not None:
        return task
    if isinstance(task, BaseModel):
        task = task.model_dump(exclude_unset=True)
    if not isinstance(task, Mapping | None):
        return task  # and is refused
    diffusion = (task or {}).get("diffusion") or {}
    if not isinstance(diffusion, Mapping):
        return task
    return {**(task or {}), "diffusion": {**diffusion, "corruption": {"kind": "none"}}}


class FinetuneMapsConfig(TrialSettings):
    """Fine-tune a model on a chip store: change detection, segmentation, or both at once."""

    chips: Location
    """Chip store that ingest-region wrote, with labels and with train and val parts."""

    output: Target
    """Directory of the run: `checkpoint/` for inference, `report.html`, `state/` to continue
    from."""

    places: PlacesConfig = Field(default_factory=PlacesConfig)
    """Which whole places are for training, validation and testing."""

    selection: Annotated[SelectionConfig, Field(exclude_if=lambda chosen: not changed(chosen))] = (
        SelectionConfig()
    )
    """Which epoch is taken."""

    protocol: Annotated[Protocol | None, Field(exclude_if=lambda protocol: protocol is None)] = None
    """The protocol that the chips must be of; a store that was made under another one is refused.
    None: whichever it was made under. Either way epochs are chosen on the part that it says: under
    paper, where the authors do, on the test part, whose scores then flatter."""

    seed: Seed = 0
    """Seed of weights, order, timesteps and augmentation."""

    resources: ClusterConfig = Field(default_factory=ClusterConfig)
    """The cluster."""

    card: CardConfig = Field(default_factory=CardConfig)
    """What the model card says besides."""

    mlflow: MlflowConfig | None = None
    """MLflow, to be told of metrics, settings, model card and report. None: it is not."""

    @model_validator(mode="after")
    def _stops_by_what_chooses(self) -> FinetuneMapsConfig:
        if self.selection.by == "last" and self.training.patience is not None:
            raise ValueError(
                "training.patience is not used where selection.by is last: leave it out"
            )
        return self


WORKFLOW = Workflow(FinetuneMapsConfig)
