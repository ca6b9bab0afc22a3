"""A message: what is told of some events of an area, in plain text, before it takes a form."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import geopandas as gpd
import pandas as pd
from pydantic import BaseModel, ConfigDict

from noise2map_core.delivery.events import Event
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.redact import redacted
from noise2map_core.settings.delivery import EventName

MOST_OBJECTS = 20
"""That a message lists, the largest first; the others are counted, and are in the feed."""
RANK: tuple[EventName, ...] = (
    "confirmed", "opened", "grew", "merged", "split", "downgraded", "withdrawn", "ended", "rejected"
)  # fmt: skip
"""In which order a title counts events."""
LONGEST = 200
"""Characters of a name or a note."""
HECTARE = 1e4


class Happened(BaseModel):
    """One event of an object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: EventName
    day: date
    area_m2: float
    area_confirmed_m2: float


class Subject(BaseModel):
    """An object and what happened to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    object_id: str
    events: tuple[Happened, ...]
    """In order."""
    status: str = ""
    """Empty: the object is no more."""
    area_m2: float = 0.0
    """Last known."""
    first_seen: date | None = None
    last_seen: date | None = None
    looks: int | None = None
    detections: int | None = None
    p_mean: float | None = None
    """Fraction."""
    latitude: float | None = None
    longitude: float | None = None
    review: str = ""
    note: str = ""
    """What a reviewer wrote."""

    def line(self) -> str:
        """All of it in one line, without the name."""
        happened = ", ".join(f"{one.event} {one.day}" for one in self.events)
        said = [f"{happened}: {area_text(self.area_m2)}"]
        if self.first_seen is not None:
            said.append(f"seen {self.first_seen} to {self.last_seen}")
        if self.detections is not None:
            said.append(f"{self.detections} of {self.looks} looks")
        if self.p_mean is not None:
            said.append(f"mean probability {self.p_mean:.0%}")
        if self.latitude is not None:
            said.append(f"at {self.latitude:.5f}, {self.longitude:.5f}")
        if self.review:
            said.append(f"reviewed: {self.review}{f' ({self.note})' if self.note else ''}")
        return "; ".join(said)


class Message(BaseModel):
    """What is told at once to one target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """The same for the same events: a receiver knows by it what came twice."""
    area: str
    made: datetime
    """UTC."""
    alarms: tuple[str, ...]
    """What does not look right of the night: it stands first."""
    counts: dict[EventName, int]
    objects: tuple[Subject, ...]
    """At most `MOST_OBJECTS`."""
    more: int
    """Objects that are not among these."""
    keys: tuple[str, ...]
    """Of all its events."""

    @property
    def title(self) -> str:
        """Area and counts in one line."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"{'Implausible night: ' if self.alarms else ''}{self.area}: {counts}"

    def rest_after(self, left_out: int) -> str:
        """A line on the objects that are not listed, and on further lines that had no room; empty
        if there are none."""
        number = self.more + left_out
        return f"and {number:,} more, in alerts.geojson" if number else ""


def compose(
    area: str, events: Sequence[Event], alerts: gpd.GeoDataFrame, alarms: Sequence[str],
    made: datetime,
) -> Message:  # fmt: skip
    """The message on some events, one at least; `alerts` are the objects as they are now."""
    keys = tuple(event.key(area) for event in events)
    counts = Counter(event.name for event in events)
    of: dict[str, list[Event]] = {}
    for event in events:
        of.setdefault(event.object_id, []).append(event)
    about = alerts.set_index("object_id", drop=False)
    sizes = {name: _area(of[name], about["area_m2"].get(name, 0.0)) for name in of}
    largest = sorted(of, key=lambda name: (-sizes[name], name))
    shown = largest[:MOST_OBJECTS]
    places = about.loc[about.index.intersection(shown)]
    points = places.geometry.representative_point().to_crs("EPSG:4326")
    return Message(
        id=digest_of(sorted(keys))[:32],
        area=area,
        made=made,
        alarms=tuple(plain(redacted(text), 1000) for text in alarms),
        counts={name: counts[name] for name in RANK if counts[name]},
        objects=tuple(_subject(name, of[name], places, points, sizes[name]) for name in shown),
        more=len(largest) - len(shown),
        keys=keys,
    )


def _area(events: Sequence[Event], known: float) -> float:
    """That of the newest event; one that ends an object has none."""
    return events[-1].area_m2 or float(known)


def _subject(
    name: str, events: Iterable[Event], places: gpd.GeoDataFrame, points: gpd.GeoSeries,
    area_m2: float,
) -> Subject:  # fmt: skip
    happened = tuple(
        Happened(
            event=one.name, day=one.day, area_m2=one.area_m2,
            area_confirmed_m2=one.area_confirmed_m2,
        )
        for one in events
    )  # fmt: skip
    if name not in places.index:
        return Subject(object_id=plain(name), events=happened, area_m2=area_m2)
    row, point = places.loc[name], points.loc[name]
    return Subject(
        object_id=plain(name), events=happened, status=row["status"], area_m2=area_m2,
        first_seen=_day(row["first_seen"]), last_seen=_day(row["last_seen"]),
        looks=int(row["looks"]), detections=int(row["detections"]), p_mean=float(row["p_mean"]),
        latitude=round(point.y, 6), longitude=round(point.x, 6),
        review=text_of(row["review"]), note=text_of(row["reject_reason"]),
    )  # fmt: skip


def area_text(m2: float) -> str:
    """An area for people."""
    return f"{m2 / HECTARE:,.2f} ha" if m2 >= HECTARE / 10 else f"{m2:,.0f} m²"


def plain(text: str, longest: int = LONGEST) -> str:
    """Text of one line without control characters, which would end a header or a document."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def text_of(value: Any) -> str:
    """What a cell of texts holds; empty for nothing."""
    return "" if pd.isna(value) else plain(redacted(str(value)))


def _day(value: Any) -> date | None:
    return None if pd.isna(value) else pd.Timestamp(value).date()
