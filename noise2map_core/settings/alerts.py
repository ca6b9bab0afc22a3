"""Settings of alerts: when change that comes again over several looks is believed."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from noise2map_core.settings.numbers import Count8, Days, NonNegativeFloat

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
