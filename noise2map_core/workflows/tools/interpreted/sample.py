"""Settings of sample."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.numbers import MAX_COUNT, PositiveFloat, Seed
from noise2map_core.workflows.launch import Workflow

Accuracy = Annotated[float, Field(gt=0, lt=1)]


class SampleConfig(BaseModel):
    """What to sample, and how closely."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    map: LocalPath
    """GeoTIFF of classes, or the output directory of a map; the first argument, too."""

    output: LocalPath
    """Directory of the sample. A sample that is filled in is never overwritten."""

    target_error: PositiveFloat = 0.01
    """Standard error of overall accuracy to aim at; half of a 95 % interval is about twice that."""

    expected_accuracy: Accuracy | dict[int, Accuracy] = 0.85
    """User's accuracy to expect of every class, or of each: `{0: 0.95, 1: 0.7}`. It decides the
    sample's size, not the result."""

    minimum: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 50
    """Least sample units of a class; the rest is shared in proportion to area."""

    seed: Seed = 0
    """Another seed draws another sample."""


WORKFLOW = Workflow(SampleConfig, operands=("map",))
