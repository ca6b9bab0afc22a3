"""Settings of search-schedules."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import LocalPath, Location
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.numbers import PositiveInt, Seed
from noise2map_core.settings.places import IsPath
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.workflows.finetune_maps import TrialSettings
from noise2map_core.workflows.launch import Workflow


class SearchSchedulesConfig(BaseModel):
    """Train many models on one chip store, each with other settings, and keep the best settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chips: Location
    """Chip store that ingest-region wrote, with labels and with train and val parts."""

    output: LocalPath
    """Directory of the sweep: `sweep.json`, `winner.yaml` for finetune-maps, `trials/` to go on
    from. The same command goes on where an earlier one ended."""

    space: Annotated[str, IsPath(or_name=True)] = "quick"
    """What is tried: quick, full, ablation_schedules, or the path of a YAML file like theirs."""

    trials: PositiveInt | None = None
    """Trials, in place of the space's."""

    epochs: PositiveInt | None = None
    """Full budget of a trial, in place of the space's."""

    concurrency: PositiveInt = 2
    """Trials that train at once, where there are the CPUs for it."""

    seed: Seed = 0
    """Seed of the search, and of every trial's weights, order and noise."""

    finetune: TrialSettings = Field(default_factory=TrialSettings)
    """Settings of finetune-maps that all trials share, where the space does not name them."""

    inference: InferenceConfig = Field(default_factory=InferenceConfig)
    """How chips are timed after the sweep, one trial at a time."""

    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    """The cluster."""


WORKFLOW = Workflow(SearchSchedulesConfig)
