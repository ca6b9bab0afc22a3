"""Settings of the network."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class ModelConfig(BaseModel):
    """Which network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    preset: Literal["tiny"] = "tiny"
    """Size of the network. tiny: for CPUs; under 1 GFLOP a chip of 64 x 64 pixels."""
