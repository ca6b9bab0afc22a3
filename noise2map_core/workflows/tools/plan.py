"""Settings of plan."""

from __future__ import annotations

from typing import ClassVar

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.numbers import NonNegativeFloat
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.launch import Workflow


class PlanConfig(InferRegionConfig):
    """Those of infer-region, and what a machine costs."""

    moved: ClassVar[dict[str, str]] = {}

    price_per_hour: NonNegativeFloat | None = None
    """What an hour of the machine or cluster costs; with it, the costs of the run."""

    previews: LocalPath | None = None
    """PNG file for a sheet of small pictures of the days that would be taken; their folder is made.
    None: none is drawn."""


WORKFLOW = Workflow(PlanConfig, unseen=("overwrite", "allow_incomplete"))
