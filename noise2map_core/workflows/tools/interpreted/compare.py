"""Settings of compare."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.workflows.launch import Workflow


class CompareConfig(BaseModel):
    """Two maps, and a sample that people filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    first: LocalPath
    """GeoTIFF of classes, or the output directory of a map; the first argument, too."""

    second: LocalPath
    """The other map, on any grid; the second argument, too."""

    sample: LocalPath
    """GeoPackage or GeoJSON of a sample of either map, or of a third of the same classes, with its
    column `reference` filled in."""

    strata: LocalPath | None = None
    """The strata.json that was written with the sample; by default the one beside it."""

    output: LocalPath | None = None
    """JSON file for the result."""


WORKFLOW = Workflow(CompareConfig, operands=("first", "second"))
