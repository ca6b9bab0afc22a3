"""Settings of verify."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from noise2map_core.runtime.storage import Location
from noise2map_core.settings.resources import ClusterConfig
from noise2map_core.workflows.launch import Workflow


class VerifyConfig(BaseModel):
    """Which output is checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    output: Location
    """Directory that infer-region wrote."""

    repair: bool = False
    """First make again what is missing or damaged, by the settings in the manifest."""

    resources: ClusterConfig = ClusterConfig()
    """The cluster that looks at the tiles of a large output."""


WORKFLOW = Workflow(VerifyConfig, operands=("output",))
