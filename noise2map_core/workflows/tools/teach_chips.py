"""Settings of teach-chips."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import Location, Target
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

    teacher: Literal["mad", "irmad"] = "mad"
    """Detector that labels, by how long the variates around a pixel are."""

    false_alarms: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Share of unchanged pixels whose variates are as long as those that are labelled changed, by
    theory: squares of MAD variates that vary by 1 where nothing changed add up to a chi-squared
    number. The limit is the same for all pairs, and so can be learnt."""

    margin_px: NonNegativeInt = 0
    """Pixels as near as this to one of another label get none."""

    block_px: SidePx | None = None
    """Side of the blocks of which every fourth is for validation, pixels. None: two chips."""


WORKFLOW = Workflow(TeachChipsConfig, operands=("chips",))
