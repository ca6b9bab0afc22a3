"""Rasters of the state of alerts: status, days, counts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.alert_products.source import AlertState
from noise2map_core.alerts.state import EPOCH, Status, date_of, day_number
from noise2map_core.geo.window import Window
from noise2map_core.products.rasters import RasterSpec, Read
from noise2map_core.products.styles.legend import amount_legend, number_legend
from noise2map_core.products.styles.palette import CLEAR, opaque, unseen

Pixels = NDArray[Any]

STATUS_FILE = "alert_status.tif"
NOT_SEEN = 255
"""Of the status: no look at all yet. Of the mean probability: no detection."""
STATUS_NAMES = {
    int(Status.NONE): "no alert",
    int(Status.PROVISIONAL): "provisional",
    int(Status.CONFIRMED): "confirmed",
    int(Status.ENDED): "ended",
}
STATUS_COLORS = {
    "provisional": "#fdae61", "confirmed": "#d7191c", "ended": "#8d91ad", "rejected": "#2b83ba",
}  # fmt: skip
"""Of objects and, as far as they have them, of pixels."""
QUIET_COLOR = "#eeeeee"
"""Of pixels without an alert, where a program knows no transparency."""
DAYS = f"days since {EPOCH}"


@dataclass(frozen=True)
class AlertRaster:
    """A raster, from which arrays of the state it is made, and how."""

    spec: RasterSpec
    inputs: tuple[str, ...]
    make: Callable[..., Pixels]
    """Takes the inputs [H, W] in their order."""

    def reader(self, state: AlertState) -> Read:
        """What gives its pixels [H, W] in a window; picklable."""
        return partial(self._read, state)

    def _read(self, state: AlertState, window: Window) -> Pixels:
        pixels = self.make(*(state.read(name, window) for name in self.inputs))
        return pixels.astype(self.spec.dtype, copy=False)


def alert_rasters(state: AlertState) -> list[AlertRaster]:
    """All rasters of a state, in the order in which they are listed."""
    facts = {"epoch": state.facts["epoch"], "as_of": state.facts["as_of"]}
    return [
        AlertRaster(status_spec(facts), ("status", "seen"), seen_status),
        _days("first", "First detection", facts, state),
        _days("last", "Latest detection", facts, state),
        _counts("hits", "Detections since the first, it included", facts, state),
        _counts("looks", "Looks since the first detection, it included", facts, state),
        AlertRaster(_mean_spec(facts), ("p_sum", "hits"), mean_percent),
    ]


def seen_status(status: Pixels, seen: Pixels) -> Pixels:
    """The status, and NOT_SEEN where no look ever was."""
    return np.where(seen == 0, NOT_SEEN, status)


def mean_percent(p_sum: Pixels, hits: Pixels) -> Pixels:
    """Mean probability of the detections in whole percent, halves upwards; NOT_SEEN without one."""
    count = np.maximum(hits.astype(np.uint32), 1)
    mean = (2 * p_sum.astype(np.uint32) + count) // (2 * count)
    return np.where(hits == 0, NOT_SEEN, mean)


def _same(pixels: Pixels) -> Pixels:
    return pixels


def status_spec(facts: dict[str, str], file: str = STATUS_FILE) -> RasterSpec:
    """The raster of the status, under a name of its own if it has one."""
    colors = {0: unseen(QUIET_COLOR), NOT_SEEN: CLEAR}
    colors |= {code: opaque(STATUS_COLORS[name]) for code, name in STATUS_NAMES.items() if code}
    return RasterSpec(
        "alert_status", file, "Status of alerts", "mode", NOT_SEEN,
        STATUS_NAMES, colors, tags={**facts, "units": "code"},
    )  # fmt: skip


def _days(name: str, title: str, facts: dict[str, str], state: AlertState) -> AlertRaster:
    title = f"{title}, {DAYS}"
    first, last = (day_number(day) for day in (state.about.looks[0].day, state.as_of))
    ramp = number_legend(first, last, lambda number: str(date_of(number)))
    spec = RasterSpec(f"alert_{name}", f"alert_{name}.tif", title, "mode", 0, dtype="uint16",
                      tags={**facts, "units": DAYS}, ramp=ramp)  # fmt: skip
    return AlertRaster(spec, (name,), _same)


def _counts(name: str, title: str, facts: dict[str, str], state: AlertState) -> AlertRaster:
    spec = RasterSpec(f"alert_{name}", f"alert_{name}.tif", title, "mode", 0,
                      tags={**facts, "units": "looks"},
                      ramp=number_legend(1, len(state.about.looks)))  # fmt: skip
    return AlertRaster(spec, (name,), _same)


def _mean_spec(facts: dict[str, str]) -> RasterSpec:
    title = "Mean probability of the detections, percent"
    return RasterSpec("alert_p_mean", "alert_p_mean.tif", title, "average", NOT_SEEN,
                      tags={**facts, "units": "percent"}, ramp=amount_legend(100.0))  # fmt: skip
