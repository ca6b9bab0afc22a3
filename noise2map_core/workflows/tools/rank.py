"""Settings of rank."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.workflows.launch import Workflow


class RankConfig(BaseModel):
    """Which scores to rank."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tables: tuple[LocalPath, ...] = Field(min_length=1)
    """JSON that evaluate-maps wrote, or CSV with columns model, dataset, task, f1, iou and, if it
    is said, protocol. Each task is ranked by itself. The first arguments, too."""

    output: LocalPath | None = None
    """JSON file for the ranks."""


WORKFLOW = Workflow(RankConfig, operands=("tables",))
