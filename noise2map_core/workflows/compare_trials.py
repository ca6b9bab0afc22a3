"""Settings of compare-trials."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.workflows.launch import Workflow


class CompareTrialsConfig(BaseModel):
    """Compare the trials of a finished sweep; writes `comparison/` and `winner.yaml` into it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sweep: LocalPath
    """Output of search-schedules."""


WORKFLOW = Workflow(CompareTrialsConfig, operands=("sweep",))
