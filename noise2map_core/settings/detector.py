"""Settings of detectors: change by statistics of the pair, without a checkpoint."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["mad", "irmad", "cva"]
"""mad: multivariate alteration detection with weights of a t distribution; irmad: with weights of
no-change probabilities (Nielsen 2007); cva: change vector analysis, z-scored per date."""


class DetectorConfig(BaseModel):
    """How a detector decides."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    false_alarms: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Share of the unchanged pixels that may be called changed: it sets the threshold."""
