"""Settings of draw-town."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.numbers import Seed
from noise2map_core.workflows.launch import Workflow


class DrawTownConfig(BaseModel):
    """Invent a town: RGB, 0.3 m, two dates."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    output: LocalPath
    """Directory for the catalogue, catalog.json, and the area, aoi.geojson."""

    size_px: int = Field(default=1024, ge=64, le=8192)
    """Side of the town, pixels."""

    seed: Seed = 0
    """Another seed is another town."""


WORKFLOW = Workflow(DrawTownConfig)
