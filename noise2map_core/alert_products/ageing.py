"""Alerts as they are on a later day without any further look: a view, never a change of state."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.alert_products.source import AlertState
from noise2map_core.alerts.state import Status, day_number
from noise2map_core.geo.window import Window
from noise2map_core.runtime.errors import ConfigError


@dataclass(frozen=True)
class AgedState:
    """A state seen from a day on which provisional alerts older than T days count no more."""

    state: AlertState
    later: date | None
    """None: as the state itself has it, without ageing."""

    @property
    def day(self) -> date:
        """The day that is shown."""
        return self.later or self.state.as_of

    def status(self, window: Window) -> NDArray[np.uint8]:
        """The status [H, W] in a window."""
        status = self.state.read("status", window)
        if self.later is None:
            return status
        first = self.state.read("first", window)
        return aged(status, first, day_number(self.later), self.state.about.rules.t)


def view_on(state: AlertState, day: date | None) -> AgedState:
    """The state on `day`; None: as it is. Raises ConfigError for a day before its own."""
    if day is not None and day < state.as_of:
        raise ConfigError(
            f"as_of {day} lies before {state.as_of}, up to which the state in {state.folder} goes: "
            "what it was earlier is not in it. Set as_of to that day or a later one."
        )
    return AgedState(state, day)


def aged(status: NDArray[Any], first: NDArray[Any], day: int, t_days: int) -> NDArray[np.uint8]:
    """The status [H, W] of a day: none where a provisional alert began more than `t_days` before.

    `first` and `day` in days since 1970-01-01.
    """
    over = (status == Status.PROVISIONAL) & (day - first.astype(np.int64) > t_days)
    return np.where(over, 0, status).astype(np.uint8)
