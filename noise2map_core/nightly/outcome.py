"""What became of a night, area by area: for people, for programs, for a webhook."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from noise2map_core.review.precision import Precision

Status = Literal["mapped", "current", "waiting", "failed"]
"""waiting: there is no imagery since the area's first day yet."""


@dataclass(frozen=True)
class SliceOutcome:
    """A slice that was made, or made again; in a dry run, that would be."""

    day: date
    amended: bool
    news: int
    """Items that are new."""
    predicted: int
    """Tiles that went, or would go, through the network."""
    kept: int
    """Tiles that were taken over from the slice before, or, of one made again, left alone."""
    changes: dict[str, int] = field(default_factory=dict)
    """Objects by what became of them."""
    seconds: float = 0.0
    alarms: tuple[str, ...] = ()
    """What does not look right of the night."""


@dataclass
class AreaOutcome:
    """What became of one area."""

    id: str
    output: Path | None = None
    """None: its entry could not be read."""
    slices: list[SliceOutcome] = field(default_factory=list)
    """In order; those before a failure are done."""
    newest: date | None = None
    """Day of the newest slice."""
    waiting: bool = False
    notices: list[str] = field(default_factory=list)
    alerts: dict[str, int] = field(default_factory=dict)
    """Events of its alerts that were not known before, by name."""
    undelivered: int = 0
    """Events that somebody was to be told of and could not be."""
    precision: Precision | None = None
    """What people said of its alerts; None: nothing."""
    error: str = ""
    exit_code: int = 0

    @property
    def alarms(self) -> list[str]:
        """What does not look right of its nights, a line each."""
        return [f"{one.day}: {text}" for one in self.slices for text in one.alarms]

    @property
    def status(self) -> Status:
        """In one word."""
        if self.error:
            return "failed"
        return "waiting" if self.waiting else "mapped" if self.slices else "current"


@dataclass(frozen=True)
class NightOutcome:
    """What a run came to."""

    output: Path
    areas: list[AreaOutcome]
    started: datetime
    seconds: float
    dry_run: bool = False
    webhook: str = ""
    """What became of the message; empty: nobody was to be told."""

    @property
    def failed(self) -> list[AreaOutcome]:
        """Areas that have to be looked at."""
        return [area for area in self.areas if area.error]

    @property
    def alarms(self) -> list[str]:
        """What does not look right, a line each, with area and day."""
        return [f"{area.id}, {text}" for area in self.areas for text in area.alarms]

    @property
    def undelivered(self) -> list[AreaOutcome]:
        """Areas of which somebody could not be told."""
        return [area for area in self.areas if area.undelivered]

    @property
    def exit_code(self) -> int:
        """That of the command."""
        return 3 if self.failed else 5 if self.undelivered else 0

    def document(self) -> dict[str, Any]:
        """As JSON: the summary that programs read and the webhook sends."""
        return {
            "format_version": 1,
            "started": self.started.astimezone(UTC).isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "exit_code": self.exit_code,
            "alarms": self.alarms,
            "areas": [_area(area) for area in self.areas],
        }

    def summary(self) -> list[str]:
        """Lines for people."""
        lines = [f"ALARM: {text}" for text in self.alarms]
        lines += [line for area in self.areas for line in _lines(area, self.dry_run)]
        if self.dry_run:
            return lines
        told = [self.webhook] if self.webhook else []
        return [*lines, *told, f"summary  {self.output / 'summary.html'}"]


def _area(area: AreaOutcome) -> dict[str, Any]:
    body = {**asdict(area), "status": area.status}
    del body["waiting"]
    body["output"] = str(area.output) if area.output else None
    body["newest"] = str(area.newest) if area.newest else None
    body["precision"] = area.precision.document() if area.precision else None
    body["slices"] = [
        {**asdict(one), "day": str(one.day), "seconds": round(one.seconds, 1)}
        for one in area.slices
    ]
    return body


def _lines(area: AreaOutcome, planned: bool) -> list[str]:
    made = [f"{area.id}: {_slice_line(one, planned)}" for one in area.slices]
    judged = [area.precision.line()] if area.precision and area.precision.line() else []
    notices = [f"{area.id}: {notice}" for notice in (*area.notices, *judged)]
    if area.error:
        return [*made, *notices, f"{area.id}: FAILED: {area.error}"]
    if area.slices:
        return [*made, *notices]
    nothing = "no imagery yet" if area.waiting else f"nothing new since {area.newest}"
    return [*notices, f"{area.id}: {nothing}"]


def new_items(count: int) -> str:
    """How many, in words."""
    return "1 new item" if count == 1 else f"{count} new items"


def _slice_line(one: SliceOutcome, planned: bool) -> str:
    again = " again" if one.amended else ""
    tiles = f"{one.predicted} tiles {'to predict' if planned else 'predicted'}, {one.kept} kept"
    events = ", ".join(f"{count} {event}" for event, count in one.changes.items())
    return f"{one.day}{again}: {new_items(one.news)}, {tiles}" + (f"; {events}" if events else "")
