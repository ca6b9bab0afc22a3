"""Settings of chips, labels and splits."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from noise2map_core.settings.numbers import PositiveFloat
from noise2map_core.settings.unused import require_unset

NO_DETECTOR = "none"
CompositeKind = Literal["first", "least_cloud", "median"]


class CompositeConfig(BaseModel):
    """How the scenes of one date range become one picture."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: CompositeKind = "first"
    """first: of the scenes that show a pixel, the latest. least_cloud: the one with the least cloud
    in the whole scene. median: of all of them, per band."""

    before: CompositeKind | None = None
    """How those of the earlier of two dates become one picture: a median of years, against which
    the latest scene is held. None: as `kind`."""

    def of(self, last: bool) -> CompositeKind:
        """The kind of the last date, or of an earlier one."""
        return self.kind if last or self.before is None else self.before


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
        for names, why in self._unused():
            require_unset(self, names, why)
        return self

    def _unused(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Fields that the others leave without use, and why."""
        if self.use == "off":
            yield ("scl_classes", "qa_bits", "dilate_px"), "with use off"


class SceneMaskConfig(MaskConfig):
    """Pixels that are not to be used: what masks say, and what is detected."""

    detector: Annotated[str, Field(pattern=r"^([\w-]+|[\w.]+:[\w.]+)$")] = NO_DETECTOR
    """What detects clouds, beside masks or in their place (`use off`): ukis-csmask, for reflectance
    of Sentinel-2 and Landsat, another one by its name, or one of your own as module:object."""

    detector_level: Literal["auto", "l1c", "l2a"] = "auto"
    """What the reflectance is: at the top of the atmosphere (l1c) or at the surface (l2a). auto: as
    items say. Another value vouches for items that say neither that nor their sensor."""

    detector_scale: PositiveFloat | None = None
    """Reflectance of the number 1, for items that do not state it. Default: theirs."""

    @property
    def of_scenes(self) -> MaskConfig:
        """What concerns the scenes' own masks."""
        names = ("use",) if self.use == "off" else MaskConfig.model_fields
        return MaskConfig(**{name: getattr(self, name) for name in names})

    def _unused(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.detector == NO_DETECTOR:
            yield from super()._unused()
            yield ("detector_level", "detector_scale"), "without a detector"
        elif self.use == "off":
            yield ("scl_classes", "qa_bits"), "with use off"


class MapMaskConfig(SceneMaskConfig):
    """Pixels that no map decides: what masks hide and, without masks, what looks like cloud."""

    suspect: bool = True
    """Without a mask that is known or a detector, suspect clouds: what is bright, white, smooth and
    240 m wide at one date and not at the other has no decision. For pixels of 3 to 40 m with blue,
    green and red."""


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
