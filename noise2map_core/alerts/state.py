"""What is known of each pixel over the days: eleven arrays, 17 bytes a pixel.

Days are counted from 1970-01-01, 0 is none. Probabilities are whole percent, floored.
"""

from dataclasses import dataclass, fields
from datetime import date, timedelta
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.mapping.mosaic import NO_DECISION, PROBABILITY_SCALE

EPOCH = date(1970, 1, 1)
MOST = 255
"""Where counts in a byte end."""
NO_LOOK = 255
"""In `Look.found`: this pixel was not decided."""


class Status(IntEnum):
    """What a pixel is: the codes of the `status` array."""

    NONE = 0
    PROVISIONAL = 1
    CONFIRMED = 2
    ENDED = 3


ARRAYS: dict[str, str] = {
    "status": "uint8",
    "looks": "uint8",
    "hits": "uint8",
    "quiet": "uint8",
    "p_max": "uint8",
    "p_sum": "uint16",
    "prior": "uint16",
    "first": "uint16",
    "last": "uint16",
    "confirmed": "uint16",
    "seen": "uint16",
}
"""Type of each array of the state by name. All zero: never looked at."""


@dataclass(frozen=True, slots=True)
class PixelState:
    """The state of some pixels, arrays of one shape."""

    status: NDArray[np.uint8]
    looks: NDArray[np.uint8]
    """Decided looks since `first`, that one included; ends at 255."""
    hits: NDArray[np.uint8]
    """Detections among these; ends at 255."""
    quiet: NDArray[np.uint8]
    """Looks without one since the latest; ends at 255."""
    p_max: NDArray[np.uint8]
    """Largest probability of a detection, %."""
    p_sum: NDArray[np.uint16]
    """Sum over the detections that `hits` counts, %."""
    prior: NDArray[np.uint16]
    """Day of the latest look before `first`."""
    first: NDArray[np.uint16]
    """Day of the first detection, of the latest one, and of confirmation."""
    last: NDArray[np.uint16]
    confirmed: NDArray[np.uint16]
    seen: NDArray[np.uint16]
    """Day of the latest look."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, in the order of ARRAYS."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Look:
    """What some pixels were found to be on one day."""

    day: int
    """Since EPOCH."""
    found: NDArray[np.uint8]
    """0 unchanged, 1 changed, NO_LOOK not decided."""
    percent: NDArray[np.uint8]
    """Probability of change, floored; counts where it is changed."""


def nothing_known(shape: tuple[int, ...]) -> PixelState:
    """The state of pixels that were never looked at."""
    return PixelState(**{name: np.zeros(shape, kind) for name, kind in ARRAYS.items()})


def look_of(classes: NDArray[np.uint8], probability: NDArray[np.uint16], day: int) -> Look:
    """The look that a map of change is: its classes, and its probabilities as a mosaic has them.

    Every class but 0 and NO_DECISION is change.
    """
    found = np.where(classes == NO_DECISION, NO_LOOK, classes != 0).astype(np.uint8)
    percent = np.minimum(probability // (PROBABILITY_SCALE // 100), 100).astype(np.uint8)
    return Look(day, found, percent)


def day_number(day: date) -> int:
    """A date as the state has it."""
    return (day - EPOCH).days


def date_of(number: int) -> date | None:
    """A day of the state as a date; None where there is none."""
    return EPOCH + timedelta(days=number) if number else None
