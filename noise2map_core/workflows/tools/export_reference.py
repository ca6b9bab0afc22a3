"""Settings of export-reference."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.network import Checkpoint
from noise2map_core.workflows.launch import Workflow


class ExportReferenceConfig(BaseModel):
    """What to write, and where to."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    checkpoint: Checkpoint
    """Checkpoint directory with a network of preset reference; the first argument, too."""

    output: LocalPath
    """Directory to be made: unet/ for diffusers, weights.pth for the authors' code."""


WORKFLOW = Workflow(ExportReferenceConfig, operands=("checkpoint",))
