"""Date ranges as STAC writes them."""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from noise2map_core.runtime.errors import ConfigError

_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_LEAP_SECOND = re.compile(r"(?<=\d:\d\d:)60(\.\d+)?")
_WAY_OUT = 'Write one date ("2000-03-17") or a range ("2000-03-01/2000-03-31").'


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed range of time, UTC; None: open at that end."""

    start: datetime | None
    end: datetime | None

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """True if [start, end] shares a moment with this range."""
        return (self.end is None or start <= self.end) and (self.start is None or end >= self.start)

    def __str__(self) -> str:
        """As a STAC API takes it."""
        ends = (self.start, self.end)
        return "/".join(as_written(end) if end else ".." for end in ends)


def parse_interval(text: str) -> Interval:
    """The range of "A/B", or of one date; a date stands for all of its day, month or year.

    Ends may be dates, RFC 3339 times or "..". Raises ConfigError if malformed or reversed.
    """
    ends = text.split("/")
    if len(ends) > 2 or all(end.strip() in ("", "..") for end in ends):
        raise ConfigError(f"date range {text!r} cannot be read. {_WAY_OUT}")
    start, end = _parse_end(ends[0], text)[0], _parse_end(ends[-1], text)[1]
    if start and end and start > end:
        raise ConfigError(f"date range {text!r} is reversed: it begins after its end. {_WAY_OUT}")
    return Interval(start, end)


def parse_intervals(text: str) -> list[Interval]:
    """Ranges with commas between, in their order, each as `parse_interval` reads it."""
    return [parse_interval(part) for part in text.split(",")]


def as_written(time: datetime) -> str:
    """A time in UTC as RFC 3339 has it, with its fraction of a second."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"


def parse_time(text: str) -> datetime:
    """An RFC 3339 time; without a zone it is UTC. A leap second is the end of the second before.

    Raises ValueError.
    """
    time = datetime.fromisoformat(_LEAP_SECOND.sub("59.999999", text))
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _parse_end(text: str, whole: str) -> tuple[datetime | None, datetime | None]:
    """First and last moment that `text` stands for."""
    text = text.strip()
    if text in ("", ".."):
        return None, None
    try:
        if match := _DATE.fullmatch(text):
            return _span(*(int(part) if part else None for part in match.groups()))
        time = parse_time(text)
    except ValueError as error:
        raise ConfigError(f"date range {whole!r} cannot be read: {error}. {_WAY_OUT}") from error
    return time, time


def _span(year: int | None, month: int | None, day: int | None) -> tuple[datetime, datetime]:
    assert year is not None
    first = datetime(year, month or 1, day or 1, tzinfo=UTC)
    last_month = month or 12
    last_day = day or calendar.monthrange(year, last_month)[1]
    last = datetime(year, last_month, last_day, tzinfo=UTC) + timedelta(days=1, microseconds=-1)
    return first, last
