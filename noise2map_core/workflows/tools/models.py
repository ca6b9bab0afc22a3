"""Settings of models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from noise2map_core.workflows.launch import Workflow


class ModelsConfig(BaseModel):
    """List what maps can be made by."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    hub: str | None = None
    """Repository on the Hugging Face hub whose published UNets are listed, too: ali97/noise2map."""


WORKFLOW = Workflow(ModelsConfig, operands=("hub",))
