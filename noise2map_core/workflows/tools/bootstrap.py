"""Settings of bootstrap."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import Location, Target
from noise2map_core.settings.detector import DetectorConfig, Kind
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.settings.network import ModelConfig
from noise2map_core.settings.numbers import NonNegativeInt, Seed, SidePx
from noise2map_core.settings.resources import ClusterConfig
from noise2map_core.workflows.launch import Workflow

Noise = Literal["paper", "none"]


class BootstrapConfig(BaseModel):
    """Chips of pairs, who teaches, and how the student learns."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chips: Location
    """Chip store of two dates that ingest-region wrote, all its parts; the first argument, too.
    Labels of change, if it has any, are scored against and never learnt from."""

    output: Target
    """Directory: `bootstrap.json`, a folder for each training, and `student/checkpoint` where a
    student is better than its teacher."""

    teacher: Kind | None = None
    """Detector whose sure pixels become labels. None: the one that suits the bands."""

    detector: DetectorConfig = Field(default_factory=DetectorConfig)
    """How the teacher's own map, which the student is compared with, is decided."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    """Probability of change from which the teacher is sure; up to 1 less this it is sure of none.
    What lies between is not learnt from."""

    margin_px: NonNegativeInt = 0
    """Pixels as near as this to one of which it is not sure to be of the same kind are not learnt
    from. What is narrow is not learnt then."""

    block_px: SidePx | None = None
    """Side of the blocks of a chessboard, pixels: who learnt from its black blocks maps the white
    ones, and the other way round. None: two chips."""

    noise: tuple[Noise, ...] = Field(default=("paper", "none"), min_length=1)
    """Students: with the paper's noise, the pair with its dates swapped, and without any."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    """The network."""

    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """How each student is trained."""

    seed: Seed = 0
    """Seed of the trainings."""

    resources: ClusterConfig = Field(default_factory=ClusterConfig)
    """The cluster."""


WORKFLOW = Workflow(BootstrapConfig, operands=("chips",))
