"""Settings of the corruption, the noise schedule and the timesteps."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

TrainingTimesteps = Literal["distinguishable", "uniform"]


class LinearSchedule(BaseModel):
    """Betas that rise evenly from `beta_start` to `beta_end` (Ho et al. 2020)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["linear"] = "linear"
    """Linear in beta."""

    num_timesteps: PositiveInt = 1000
    """T; timesteps are 0 … T − 1."""

    beta_start: float = Field(default=1e-4, gt=0, lt=1)
    """Beta at timestep 0."""

    beta_end: float = Field(default=0.02, gt=0, lt=1)
    """Beta at timestep T − 1."""


class SwappedPairCorruption(BaseModel):
    """The pair (before, after) is mixed with its swap (after, before)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["swapped_pair"] = "swapped_pair"
    """Swapped pair."""


class DiffusionConfig(BaseModel):
    """What stands in front of the network: corruption, schedule, timesteps."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    corruption: SwappedPairCorruption = SwappedPairCorruption()
    """What the input is mixed with."""

    schedule: LinearSchedule = LinearSchedule()
    """How much of it at each timestep."""

    training_timesteps: TrainingTimesteps = "distinguishable"
    """uniform: all timesteps alike, as in the paper. distinguishable: without the tenth of them
    where the mixture is nearly the same for both dates, so that change cannot be seen; training
    there only adds noise to the gradient."""

    inference_timestep: int | None = Field(default=None, ge=0)
    """The timestep of the one pass at inference, and of validation. None: T − 1."""
