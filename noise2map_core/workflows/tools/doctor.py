"""Settings of doctor."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from noise2map_core.settings.places import PathText
from noise2map_core.workflows.launch import Workflow


class DoctorConfig(BaseModel):
    """What to check besides the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    catalog: PathText | None = None
    """STAC API or catalog.json that must answer."""


WORKFLOW = Workflow(DoctorConfig)
