"""Settings of chips."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from noise2map_core.settings.numbers import SidePx


class ChipsConfig(BaseModel):
    """The lattice of chips, and how pixels come onto it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chip_px: SidePx = 64
    """Side of a chip, pixels."""

    stride_px: SidePx = 32
    """Distance between neighbouring chips, pixels."""

    resampling: Literal["nearest", "bilinear", "cubic", "average"] = "bilinear"
    """How a scene on another grid is resampled; one on the same grid is read as it is. Where pixels
    are at least twice as large as the scene's, all but nearest take the mean of what lies under
    them."""

    @model_validator(mode="after")
    def _without_gaps(self) -> "ChipsConfig":
        if self.stride_px > self.chip_px:
            raise ValueError(f"stride_px {self.stride_px} leaves gaps: chip_px is {self.chip_px}")
        return self
