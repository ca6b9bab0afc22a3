"""Settings of import-reference."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import LocalPath, Target
from noise2map_core.settings.network import Task
from noise2map_core.settings.numbers import PositiveFloat, PositiveInt, Seed, SidePx
from noise2map_core.workflows.launch import Workflow


class ImportReferenceConfig(BaseModel):
    """Which weights, and what they do."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True,
        validate_by_name=True, validate_by_alias=False,
    )  # fmt: skip

    unet: str
    """Folder of the published UNet (config.json, diffusion_pytorch_model.safetensors), or its name
    on the Hugging Face hub: ali97/noise2map/aid-10k."""

    weights: LocalPath | None = None
    """Fine-tuned state dict (.pth). None: the UNet alone, with random layers around it, as a start
    for training."""

    task: Task
    """What the weights do: change (two dates) or segment (one)."""

    classes: PositiveInt = Field(default=2, ge=2)
    """Number of classes."""

    chip_px: Annotated[SidePx, Field(alias="chip_size")] = 256
    """Side of the chips, pixels; others than 256 are resized on the way in and out."""

    bands: tuple[str, ...] = Field(default=("red", "green", "blue"), min_length=1)
    """Bands of a date, in order."""

    resolution: Annotated[PositiveFloat, Field(alias="gsd")] = 1.0
    """Metres a pixel that it was trained on."""

    resolution_range: Annotated[tuple[PositiveFloat, PositiveFloat], Field(alias="gsd_range")] = (
        0.01,
        1000.0,
    )
    """Least and most metres a pixel that it accepts."""

    seed: Seed = 0
    """Seed of the layers that have no published weights."""

    output: Target
    """Checkpoint directory."""


WORKFLOW = Workflow(ImportReferenceConfig)
