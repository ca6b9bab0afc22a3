"""Settings of spaces."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from noise2map_core.workflows.launch import Workflow


class SpacesConfig(BaseModel):
    """List the spaces of sweeps that ship."""

    model_config = ConfigDict(frozen=True, extra="forbid")


WORKFLOW = Workflow(SpacesConfig)
