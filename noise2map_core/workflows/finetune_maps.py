"""Settings of finetune-maps."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import Location, Target
from noise2map_core.settings.inference import CardConfig
from noise2map_core.settings.labels import PlacesConfig
from noise2map_core.settings.learning import (
    MlflowConfig,
    TaskTrainingConfig,
    TrainingConfig,
    segment_training,
)
from noise2map_core.settings.network import ModelConfig, NormalisationConfig, Task, Tasks
from noise2map_core.settings.numbers import PositiveFloat, Seed
from noise2map_core.settings.resources import ClusterConfig
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

    def of_tasks(self) -> dict[Task, TaskTrainingConfig]:
        """How each of its tasks is learnt."""
        both: dict[Task, TaskTrainingConfig] = {"change": self.change, "segment": self.segment}
        return {name: both[name] for name in self.task}


class FinetuneMapsConfig(TrialSettings):
    """Fine-tune a model on a chip store: change detection, segmentation, or both at once."""

    chips: Location
    """Chip store that ingest-region wrote, with labels and with train and val parts."""

    output: Target
    """Directory of the run: `checkpoint/` for inference, `report.html`, `state/` to continue
    from."""

    places: PlacesConfig = Field(default_factory=PlacesConfig)
    """Which whole places are for training, validation and testing."""

    seed: Seed = 0
    """Seed of weights, order, timesteps and augmentation."""

    resources: ClusterConfig = Field(default_factory=ClusterConfig)
    """The cluster."""

    card: CardConfig = Field(default_factory=CardConfig)
    """What the model card says besides."""

    mlflow: MlflowConfig | None = None
    """MLflow, to be told of metrics, settings, model card and report. None: it is not."""


WORKFLOW = Workflow(FinetuneMapsConfig)
