"""Settings of assess."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.workflows.launch import Workflow


class AssessConfig(BaseModel):
    """A filled sample."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sample: LocalPath
    """GeoPackage or GeoJSON with its column `reference` filled in; the first argument, too."""

    strata: LocalPath | None = None
    """The strata.json that was written with the sample; by default the one beside it."""

    output: LocalPath | None = None
    """JSON file for the result."""


WORKFLOW = Workflow(AssessConfig, operands=("sample",))
