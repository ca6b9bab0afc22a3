"""Dates and status of alerts as other systems write them, pixel by pixel.

Days are counted from 1970-01-01 in the state of alerts; 0 is none. Only alerts that are open, that
is provisional or confirmed, are handed on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.alerts.state import EPOCH, Status, date_of, day_number
from noise2map_core.products.styles.legend import Entry, Legend, number_legend
from noise2map_core.runtime.errors import ConfigError

Codes = NDArray[np.uint8]
Days = NDArray[np.uint16]
Encoded = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a pixel's status and first day become one number; 0 is no alert."""

    name: str
    title: str
    dtype: str
    first: date
    """The first day that can be written …"""
    last: date
    """… and the last."""
    tags: dict[str, str]
    encode: Callable[[Codes, Days], Encoded]
    """Of open pixels whose days can be written; all others are 0."""
    shown: tuple[Status, ...] = (Status.CONFIRMED,)
    """Of which status a legend has the days: several where numbers differ by it."""

    def of(self, status: Codes, first: Days) -> Encoded:
        """The numbers [H, W]. Raises ConfigError if a day cannot be written."""
        is_open = (status == Status.PROVISIONAL) | (status == Status.CONFIRMED)
        self._require_days(first[is_open])
        return np.where(is_open, self.encode(status, first), 0).astype(self.dtype)

    def legend(self, first: date, last: date) -> Legend:
        """Colours and names of the days from `first` to `last`, as far as they can be written."""
        low, high = day_number(max(first, self.first)), day_number(min(last, self.last))
        days = number_legend(min(low, high), high).entries
        return Legend(tuple(self._entry(*one) for one in product(self.shown, days)), is_ramp=True)

    def _entry(self, status: Status, entry: Entry) -> Entry:
        written = self.encode(np.array([status], np.uint8), np.array([entry.value], np.uint16))
        name = f" {status.name.lower()}" if len(self.shown) > 1 else ""
        return replace(entry, value=float(written[0]), label=f"{date_of(int(entry.value))}{name}")

    def _require_days(self, days: Days) -> None:
        if not len(days):
            return
        for number in (days.min(), days.max()):
            day = EPOCH + timedelta(days=int(number))
            if not self.first <= day <= self.last:
                raise ConfigError(
                    f"encoding {self.name} has days from {self.first} to {self.last}, and an alert "
                    f"begins on {day}. Take another encoding, or alert_first.tif, which has all."
                )


GFW_ZERO = date(2014, 12, 31)
DIST_ZERO = date(2020, 12, 31)


def _gfw(status: Codes, first: Days) -> Encoded:
    """Digit × 10,000 + days since 2014-12-31."""
    digit = np.where(status == Status.CONFIRMED, 3, 2)
    return digit * 10_000 + first.astype(np.int64) - day_number(GFW_ZERO)


def _radd(status: Codes, first: Days) -> Encoded:
    """YY × 1,000 + day of the year; 366 on 31 December of leap years."""
    days = first.astype("datetime64[D]")
    years = days.astype("datetime64[Y]")
    of_year = (days - years.astype("datetime64[D]")).astype(np.int64) + 1
    return (years.astype(np.int64) + 1970 - 2000) * 1_000 + of_year


def _dist(status: Codes, first: Days) -> Encoded:
    """Days since 2020-12-31."""
    return first.astype(np.int64) - day_number(DIST_ZERO)


ENCODINGS = {
    "gfw": Encoding(
        "gfw", "Alerts as Global Forest Watch integrates them", "uint16",
        GFW_ZERO, GFW_ZERO + timedelta(days=9_999),
        {"units": "confidence digit * 10000 + days since 2014-12-31", "epoch": "2014-12-31",
         "digits": "2 provisional, 3 confirmed"},
        _gfw, (Status.PROVISIONAL, Status.CONFIRMED),
    ),
    "radd": Encoding(
        "radd", "Dates of alerts as RADD writes them", "uint16",
        date(2000, 1, 1), date(2065, 12, 31),
        {"units": "YYDOY: years since 2000 * 1000 + day of the year (1-366)",
         "epoch": "2000-01-01"},
        _radd,
    ),
    "dist": Encoding(
        "dist", "Dates of alerts as DIST-ALERT writes them", "int16",
        DIST_ZERO + timedelta(days=1), DIST_ZERO + timedelta(days=32_767),
        {"units": "days since 2020-12-31", "epoch": "2020-12-31"},
        _dist,
    ),
}  # fmt: skip
"""By name."""
