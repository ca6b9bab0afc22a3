"""Settings of presets."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from noise2map_core.workflows.launch import Workflow


class PresetsConfig(BaseModel):
    """List the configs that ship."""

    model_config = ConfigDict(frozen=True, extra="forbid")


WORKFLOW = Workflow(PresetsConfig)
