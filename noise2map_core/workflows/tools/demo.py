"""Settings of demo."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.workflows.launch import Workflow

WRITTEN_AT = "out/demo"
"""The output that the steps' configs name; another takes its place."""


class DemoConfig(BaseModel):
    """Where the demonstration goes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    output: LocalPath = Path(WRITTEN_AT)
    """Directory of the map; catalogue, chips and training lie in folders of it."""

    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    """The cluster."""


WORKFLOW = Workflow(DemoConfig)
