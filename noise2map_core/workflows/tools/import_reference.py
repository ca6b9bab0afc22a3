"""Settings of import-reference."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import LocalPath, Target
from noise2map_core.settings.network import Task
from noise2map_core.settings.numbers import PositiveFloat, PositiveInt, Seed, SidePx
from noise2map_core.workflows.launch import Workflow


class ImportReferenceConfig(BaseModel):
    """Which weights, and what they do."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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

    chip_size: SidePx = 256
    """Side of the chips, pixels; others than 256 are resized on the way in and out."""

    bands: tuple[str, ...] = Field(default=("red", "green", "blue"), min_length=1)
    """Bands of a date, in order."""

    gsd: PositiveFloat = 1.0
    """Ground sample distance that it was trained on, metres."""

    gsd_range: tuple[PositiveFloat, PositiveFloat] = (0.01, 1000.0)
    """Ground sample distances that it accepts, metres."""

    seed: Seed = 0
    """Seed of the layers that have no published weights."""

    output: Target
    """Checkpoint directory."""


WORKFLOW = Workflow(ImportReferenceConfig)
