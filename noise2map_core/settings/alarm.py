"""Settings of the alarm: when a night is implausible."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.settings.numbers import NonNegativeFloat, PositiveInt

Share = Annotated[float, Field(ge=0, le=1)]


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
