"""Events of alerts, and which of them are told."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import get_args

import pandas as pd

from noise2map_core.settings.delivery import HERALDS, EventName

ORDER: tuple[EventName, ...] = get_args(EventName)
"""Of events of one object on one day."""


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


def events_of(history: pd.DataFrame) -> list[Event]:
    """All rows of a history, each once, by day and object."""
    columns = ("object_id", "day", "event", "area_m2", "area_confirmed_m2")
    rows = zip(*(history[name].tolist() for name in columns), strict=True)
    found = {
        Event(str(object_id), pd.Timestamp(day).date(), name, float(area), float(confirmed))
        for object_id, day, name, area, confirmed in rows
    }
    return sorted(found, key=lambda one: (one.day, one.object_id, ORDER.index(one.name)))


def told_events(
    events: Iterable[Event], wanted: Collection[EventName], known: Collection[str],
    silenced: Collection[str],
) -> list[Event]:  # fmt: skip
    """Of events in order, those that are to be told, or were.

    `known`: objects that were told of before, whatever the history says now. `silenced`: objects
    that a reviewer rejected; of them it is told, if at all, that they are rejected.
    """
    known, told = set(known), []
    for event in events:
        if event.name in HERALDS and event.name in wanted and event.object_id not in silenced:
            known.add(event.object_id)
        if event.name not in wanted or event.object_id not in known:
            continue
        if event.object_id not in silenced or event.name == "rejected":
            told.append(event)
    return told
