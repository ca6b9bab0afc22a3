"""Settings of chips, labels and splits."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from noise2map_core.settings.numbers import PositiveFloat
from noise2map_core.settings.unused import require_unset


class CompositeConfig(BaseModel):
    """How the scenes of one date range become one picture."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["first", "least_cloud", "median"] = "first"
    """first: of the scenes that show a pixel, the latest. least_cloud: the one with the least cloud
    in the whole scene. median: of all of them, per band."""


class MaskConfig(BaseModel):
    """Pixels that are not to be used: cloud, its shadow, defects."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    use: Literal["auto", "on", "off"] = "auto"
    """auto: the sensor's mask (SCL of Sentinel-2, QA_PIXEL of Landsat) where scenes have one. on:
    that too, and an error where they have none."""

    scl_classes: tuple[Annotated[int, Field(ge=0, le=11)], ...] = (1, 3, 8, 9, 10)
    """Scene classes that are masked: 1 defective, 2 dark, 3 cloud shadow, 7 unclassified, 8 and 9
    cloud, 10 cirrus, 11 snow."""

    qa_bits: tuple[Annotated[int, Field(ge=1, le=7)], ...] = (1, 2, 3, 4)
    """Bits of QA_PIXEL that mask: 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow, 5 snow, 7
    water."""

    dilate_px: Annotated[int, Field(ge=0, le=64)] = 2
    """How far masked pixels grow, pixels of the grid."""

    @model_validator(mode="after")
    def _all_used(self) -> "MaskConfig":
        if self.use == "off":
            require_unset(self, ("scl_classes", "qa_bits", "dilate_px"), "with use off")
        return self


class MapMaskConfig(MaskConfig):
    """Pixels that no map decides: what masks hide and, without masks, what looks like cloud."""

    suspect: bool = True
    """Without a mask that is known, suspect clouds: what is bright, white, smooth and 240 m wide at
    one date and not at the other has no decision. For pixels of 3 to 40 m with blue, green and
    red."""

    @property
    def of_scenes(self) -> MaskConfig:
        """What concerns the scenes' own masks."""
        return MaskConfig(**self.model_dump(exclude={"suspect"}))


class PairQualityConfig(BaseModel):
    """Whether two dates can be compared: shift, radiometry, overlap, sun, season, grids."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    action: Literal["off", "report", "reject"] = "report"
    """report: measure, warn and go on. reject: end with the numbers if a limit of rejection is
    passed."""

    windows: Annotated[int, Field(ge=1, le=8)] = 3
    """Rows and columns of windows in the region that are read."""

    window_px: Annotated[int, Field(ge=64, le=1024)] = 192
    """Side of a window, pixels."""

    warn_shift_px: PositiveFloat = 0.5
    """Shift between the dates, pixels of the grid."""

    reject_shift_px: PositiveFloat = 3.0

    warn_radiometry: PositiveFloat = 0.5
    """Difference of unchanged ground, standard deviations of the picture."""

    warn_overlap: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the pixels that is observed at both dates."""

    reject_overlap: Annotated[float, Field(ge=0, le=1)] = 0.01

    warn_sun_deg: PositiveFloat = 20.0
    """Angle between the two directions to the sun, degrees."""

    warn_season_days: PositiveFloat = 45.0
    """Distance of the days in the year."""


class RadiometryConfig(BaseModel):
    """Bringing the second date to the numbers, and the place, of the first."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    use: Literal["off", "on", "auto"] = "off"
    """auto: only where pair_quality warns of the radiometry."""

    method: Literal["irmad", "histogram"] = "irmad"
    """irmad: gain and offset per band from pixels that did not change. histogram: the same
    distribution of numbers, whatever changed."""

    correct_shift: Literal["off", "on", "auto"] = "off"
    """Read the second date where it lies, by the measured shift. auto: only where pair_quality
    warns of it."""

    @model_validator(mode="after")
    def _all_used(self) -> "RadiometryConfig":
        if self.use == "off":
            require_unset(self, ("method",), "with use off")
        return self
