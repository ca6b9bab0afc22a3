"""Events of alerts, and which of them are told."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import get_args

import pandas as pd

from noise2map_core.settings.delivery import HERALDS, EventName

ORDER: tuple[EventName, ...] = (
    *HERALDS, *(name for name in get_args(EventName) if name not in HERALDS)
)  # fmt: skip
"""Of events of one object on one day: what follows comes after what it follows."""
COLUMNS = ("object_id", "day", "event", "area_m2", "area_confirmed_m2")


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the history of an area's alerts."""

    object_id: str
    day: date
    name: EventName
    area_m2: float
    area_confirmed_m2: float

    def key(self, area: str) -> str:
        """What it is known by, however often a night is run again."""
        return f"{area}/{self.object_id}/{self.day}/{self.name}"


def events_of(*histories: pd.DataFrame) -> list[Event]:
    """All rows of some histories, each event once, by day and object."""
    found: dict[tuple[str, date, EventName], Event] = {}
    for history in histories:
        rows = zip(*(history[name].tolist() for name in COLUMNS), strict=True)
        for name, day, happened, area_m2, certain_m2 in rows:
            event = Event(name, pd.Timestamp(day).date(), happened, area_m2, certain_m2)
            found.setdefault((event.object_id, event.day, event.name), event)
    return sorted(found.values(), key=lambda one: (one.day, one.object_id, ORDER.index(one.name)))


def told_events(
    events: Iterable[Event], wanted: Collection[EventName], heard: Mapping[str, date],
    silenced: Collection[str],
) -> list[Event]:  # fmt: skip
    """Of events in order, those that are to be told, or were.

    `heard`: objects that were told of before, whatever the history says now, and of which day that
    was first; what happened to them earlier is of no interest any more. `silenced`: objects that a
    reviewer rejected; of them it is told, if at all, that they are rejected.
    """
    since, told = dict(heard), []
    for event in events:
        name, silent = event.object_id, event.object_id in silenced
        if event.name in HERALDS and event.name in wanted and not silent:
            since.setdefault(name, event.day)
        follows = name in since and event.day >= since[name]
        if event.name in wanted and follows and (not silent or event.name == "rejected"):
            told.append(event)
    return told
