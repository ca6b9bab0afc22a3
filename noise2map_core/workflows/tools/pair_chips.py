"""Settings of pair-chips."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import Location, Target
from noise2map_core.settings.numbers import PositiveInt, Seed
from noise2map_core.workflows.launch import Workflow


class PairChipsConfig(BaseModel):
    """Make pairs of dates from chips of one date with masks.

    The new store has labels of change (where the masks differ) and of segment (of both dates):
    finetune-maps, evaluate-maps and all others take it like any other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chips: tuple[Location, ...] = Field(min_length=1)
    """Chip stores of one date with labels of segment, all with the same bands, classes and pixels.
    Both chips of a pair are of one store and one split."""

    pairs: tuple[Location, ...] = ()
    """Chip stores of pairs, with labels of change and segment, that are taken over as they are:
    those of draw-worlds."""

    output: Target
    """The chip store to write."""

    per_chip: PositiveInt = 4
    """Pairs that each chip is the first of, each with another partner."""

    paste: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the pairs that show one place, with objects of the other pasted in or removed; the
    others show two places."""

    seed: Seed = 0
    """Seed of partners, kinds and orders."""


WORKFLOW = Workflow(PairChipsConfig)
