"""Settings of draw-worlds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import Target
from noise2map_core.settings.numbers import FiniteFloat, PositiveInt, Seed
from noise2map_core.workflows.launch import Workflow

Metres = Annotated[FiniteFloat, Field(ge=0.05, le=60)]


class DrawWorldsConfig(BaseModel):
    """Invent places at two dates as training data: a chip store of pairs.

    Labels are of change and of what each date shows. Season, light, camera, cars, paint and water
    differ between the dates too, and are no change of buildings; a quarter of the pairs has none.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True,
        validate_by_name=True, validate_by_alias=False,
    )  # fmt: skip

    output: Target
    """The chip store to write."""

    family: Literal["buildings", "land"] = "buildings"
    """buildings: RGB, uint8, at 0.2 to 1 m; change is of buildings. land: blue, green, red, nir,
    swir16, swir22, reflectance x 10,000, at 10 to 30 m; change is of any cover but crops."""

    count: PositiveInt = 1000
    """Pairs; about 0.1 s each."""

    seed: Seed = 0
    """Another seed is other worlds."""

    chip_px: int = Field(default=256, ge=32, le=1024)
    """Side of a chip, pixels."""

    resolution: Annotated[Metres | None, Field(alias="gsd")] = None
    """Metres a pixel; None: 0.5 of buildings, 10 of land."""

    resolution_spread: Annotated[FiniteFloat, Field(ge=1, le=4, alias="gsd_spread")] = 1.5
    """A pair's pixels are up to so many times larger or smaller than resolution says."""

    val_share: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.1
    """Share of the pairs that are for validation."""

    classes: Literal["building", "all"] = "building"
    """What the labels of each date tell apart: building (of land: built-up) from the rest, or
    other, building, road, water, tree, field, bare and burnt."""


WORKFLOW = Workflow(DrawWorldsConfig)
