"""Settings of teach-chips."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import Location, Target
from noise2map_core.settings.detector import Kind
from noise2map_core.settings.numbers import NonNegativeInt, SidePx
from noise2map_core.workflows.launch import Workflow


class TeachChipsConfig(BaseModel):
    """Label pairs of dates by a detector of change, without people.

    The new store has the same pixels and labels of change; finetune-maps and all others take it
    like any other. Its labels are what is statistically unlike the rest, whatever the reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chips: Location
    """Chip store of two dates that ingest-region wrote, all its parts; the first argument, too.
    Its own labels are not read."""

    output: Target
    """The chip store to write."""

    teacher: Kind | None = None
    """Detector that labels. None: the one that suits the bands."""

    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.5
    """Probability of change from which a pixel is labelled changed; up to 1 less this, unchanged.
    What lies between has no label."""

    margin_px: NonNegativeInt = 0
    """Pixels as near as this to one of another label, or of none, get none."""

    block_px: SidePx | None = None
    """Side of the blocks of which every fourth is for validation, pixels. None: two chips."""


WORKFLOW = Workflow(TeachChipsConfig, operands=("chips",))
