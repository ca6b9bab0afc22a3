"""Settings of chips, labels and splits."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

SplitName = Literal["train", "val", "test"]

Box = tuple[float, float, float, float]
"""West, south, east, north in units of the grid's CRS."""


class ChipsConfig(BaseModel):
    """The lattice of chips, and how pixels come onto it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chip_px: PositiveInt = 64
    """Side of a chip, pixels."""

    stride_px: PositiveInt = 32
    """Distance between neighbouring chips, pixels."""

    resampling: Literal["nearest", "bilinear", "cubic", "average"] = "bilinear"
    """How a scene on another grid is resampled; one on the same grid is read as it is."""

    @model_validator(mode="after")
    def _without_gaps(self) -> "ChipsConfig":
        if self.stride_px > self.chip_px:
            raise ValueError(f"stride_px {self.stride_px} leaves gaps: chip_px is {self.chip_px}")
        return self


class RasterLabels(BaseModel):
    """Labels of change from a raster; its nodata, and values not named here, are not labelled."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["raster"] = "raster"

    asset: str | None = None
    """Asset key of label items in the searched collection."""

    path: str | None = None
    """Or the path or URL of one GeoTIFF."""

    changed: tuple[int, ...] = (1,)
    """Values that mean changed."""

    unchanged: tuple[int, ...] = (0,)
    """Values that mean unchanged."""

    @model_validator(mode="after")
    def _one_source(self) -> "RasterLabels":
        if (self.asset is None) == (self.path is None):
            raise ValueError("set either asset or path")
        if set(self.changed) & set(self.unchanged):
            raise ValueError("a value cannot mean both changed and unchanged")
        return self


class PolygonLabels(BaseModel):
    """Labels of change from polygons: inside changed, outside unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["polygons"] = "polygons"

    path: Path
    """GeoJSON, GeoParquet or another file of polygons, in any CRS that it states."""


class NoLabels(BaseModel):
    """Imagery alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none"] = "none"


LabelsConfig = Annotated[RasterLabels | PolygonLabels | NoLabels, Discriminator("kind")]


class SplitConfig(BaseModel):
    """Which places are for training, validation and testing: never chosen at random."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    buffer_px: NonNegativeInt = 16
    """Least distance between boxes of different splits, pixels."""

    boxes: dict[SplitName, tuple[Box, ...]] = Field(default_factory=dict)
    """Boxes (west, south, east, north; grid CRS) of train, val and test. None at all: everything
    is train."""
