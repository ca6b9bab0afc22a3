"""Settings of study-timesteps."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.labels import SplitName
from noise2map_core.settings.network import Checkpoint, Task
from noise2map_core.settings.numbers import NonNegativeInt, PositiveInt
from noise2map_core.workflows.launch import Workflow


class StudyTimestepsConfig(BaseModel):
    """Which chips of which store, and at which timesteps."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chips: LocalPath
    """Chip store; the first argument, too."""

    checkpoint: Checkpoint
    """Checkpoint directory, or the name of a checkpoint that ships."""

    task: Task | None = None
    """What is studied: change or segment. None: the checkpoint's only task."""

    split: SplitName = "test"
    """Part of the store that chips are taken from."""

    num_chips: PositiveInt = 4
    """Chips: those with the most labelled pixels; of two classes, of the second."""

    timesteps: tuple[NonNegativeInt, ...] | None = Field(default=None, min_length=1)
    """Timesteps. None: eight from 0 to T - 1, without those that cannot tell the dates apart."""

    wrong: bool = False
    """Tell the network each of these timesteps for what was mixed at each other, too: how much of
    what it says comes from the timestep that it is told."""

    output: LocalPath
    """Directory for a picture a chip, and study.json."""


WORKFLOW = Workflow(StudyTimestepsConfig, operands=("chips",))
