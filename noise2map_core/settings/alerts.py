"""Settings of alerts, when change that comes again over several looks is believed, and of the
alarm, when a night is implausible."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from noise2map_core.settings.numbers import Count8, Days, NonNegativeFloat, PositiveInt

Share = Annotated[float, Field(ge=0, le=1)]

MOST_LOOKS = 254
"""Looks are counted up to 255: within n of them a decision has to be possible."""


class AlertsConfig(BaseModel):
    """Follow each pixel over the days. Change is an alert at its first look, is confirmed by
    further ones, and ends. A look is what a pixel was found to be on one day; what a cloud hid is
    none, and changes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    k: Count8 = 2
    """Confirmed by so many further detections ... 0: by the first."""

    n: Annotated[int, Field(ge=0, le=MOST_LOOKS)] = 4
    """... among so many looks after the first; with fewer the alert is taken back. Not less than
    k. One look of 100 false, 2 of 4 confirm 0.06 % of false alerts, 1 of 3 confirm 3 %."""

    m: Count8 = 3
    """A confirmed alert has ended after so many looks in a row without it. 0: it never ends."""

    t_days: Days = 180
    """An alert that is not confirmed so many days after its first look begins anew."""

    minimum_m2: NonNegativeFloat = 400.0
    """Smaller alerts are kept in the rasters, and are no objects: 400 is four pixels of
    Sentinel-2. Confirmed is an object of which as much is confirmed. 0: each pixel counts."""

    @model_validator(mode="after")
    def _can_confirm(self) -> Self:
        if self.k > self.n:
            raise ValueError(
                f"k = {self.k} detections among the next n = {self.n} looks are more than there "
                "are: set k to n or less"
            )
        return self


class AlarmConfig(BaseModel):
    """When a night does not look right: it is said at the top of the summary and of messages. The
    map is made and followed all the same."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    changed_share: Share = 0.5
    """If more of the decided pixels are changed: hardly any area changes by half, and haze, a lost
    mask or a shifted scene does that. 1: never."""

    hidden_share: Share = 0.95
    """If more of what was recorded at the later date is hidden: a night of cloud, or a mask gone
    wrong. Nights that are overcast to 80 % are common in many places. 1: never."""

    drift: NonNegativeFloat = 0.25
    """If the probabilities of change are spread unlike those of the last nights: population
    stability index, of which 0.1 is taken for some shift and 0.25 for a large one. Large: never."""

    drift_times: NonNegativeFloat = 3.0
    """... and by so many times more than the last nights differ among themselves: where nights see
    different parts of an area, they differ by themselves."""

    nights: PositiveInt = 10
    """Nights before that are looked at; with fewer than 3 the drift is not judged."""

    least_pixels: PositiveInt = 1000
    """Nights with fewer decided pixels are neither judged by their probabilities nor compared
    with."""
