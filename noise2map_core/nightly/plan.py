"""What an area needs: which slices, of which dates, from the catalogue and the area's cursor.

Deciding is a function of the imagery alone. Many nights one by one and one night that catches up
therefore come to the same slices.
"""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from noise2map_core.catalog.interval import Interval, parse_intervals
from noise2map_core.catalog.scene import Scene
from noise2map_core.nightly.cursor import Cursor, fingerprint
from noise2map_core.nightly.past import Past
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import CatalogError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.imagery import NO_DETECTOR
from noise2map_core.workflows.run_nightly import AreaConfig, FixedPair, RollingPair

MAX_SHOWN = 5
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Days:
    """A range of days, both ends included."""

    first: date
    last: date

    def interval(self, zone: ZoneInfo) -> str:
        """As a search takes it: whole days of a time zone."""
        start = datetime.combine(self.first, time(), zone)
        end = datetime.combine(self.last + DAY, time(), zone) - timedelta(seconds=1)
        return f"{start.isoformat()}/{end.isoformat()}"


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """One slice that is to be made, or made again."""

    day: date
    before: str
    """Interval of the earlier date; of several years, their intervals with commas between."""
    after: str
    items: dict[str, str]
    """Items behind it, both dates: id and fingerprint."""
    news: tuple[str, ...]
    """Ids of those that the slice before, or the slice as it was, does not have."""
    amended: bool = False
    """The slice is there already: items came late, were replaced or withdrawn."""
    gone: bool = False
    """The slice is there already, and nothing that it shows is in the catalogue any more."""


@dataclass(frozen=True, slots=True)
class AreaPlan:
    """The slices of one area, in order."""

    slices: tuple[SlicePlan, ...]
    notices: tuple[str, ...] = ()
    through: date | None = None
    """Newest day of imagery; None: there is none."""


def search_interval(
    area: AreaConfig, cursor: Cursor | None, until: date | None, past: Past | None = None
) -> str:
    """The dates of all imagery that can matter now."""
    zone, day = ZoneInfo(area.time_zone), _earliest(area, cursor, past)
    starts = [one.start for text in _intervals(area, day) for one in parse_intervals(text)]
    known = [start for start in starts if start is not None]
    first = min(known).isoformat() if len(known) == len(starts) else ".."
    if until is None:
        return f"{first}/.." if first != ".." else "../9000-01-01"
    return f"{first}/{Days(until, until).interval(zone).split('/')[1]}"


def rule_of(area: AreaConfig, search: SearchConfig, day: date) -> str:
    """Changes with the settings that choose the items of a day's slice."""
    return digest_of([_intervals(area, day), _choice(search)])[:16]


def _choice(search: SearchConfig) -> dict[str, Any]:
    """The settings that say which items are found; not how long a server is waited for."""
    return search.model_dump(mode="json", exclude={"patience_s"})


def plan_area(
    area: AreaConfig, search: SearchConfig, cursor: Cursor | None, scenes: Sequence[Scene],
    past: Past | None = None,
) -> AreaPlan:  # fmt: skip
    """The slices that `scenes`, all that the catalogue has for `search_interval`, call for.

    The newest slice is made again if its items are not what they were; with `past`, each is, and
    days whose imagery came late get theirs. Then comes a slice for every later day with imagery, in
    order. Raises CatalogError for items that were withdrawn.
    """
    slices: list[SlicePlan] = []
    notices: list[str] = []
    known = dict(cursor.items) if cursor else {}
    if cursor and past:
        slices, notices = _plan_past(area, search, cursor, scenes, past)
    elif cursor and cursor.slice:
        now = _plan(area, cursor.slice, scenes, known, amended=True)
        gone = sorted(set(known) - set(now.items))
        if gone and cursor.rule == rule_of(area, search, cursor.slice):
            _require_accepted(area, cursor.slice, gone)
            notices.append(f"without {_listed(gone)}, which the catalogue has withdrawn")
        if now.items != known:
            slices.append(now)
        known = now.items
    days = sorted({day for scene in scenes if (day := _day(area, scene)) >= area.since})
    for day in days:
        if cursor and day <= cursor.through:
            continue
        planned = _plan(area, day, scenes, known)
        if not _has_before(planned, scenes):
            notices.append(f"no slice of {day}: nothing to compare with in {planned.before}")
            continue
        slices.append(planned)
        known = planned.items
    return AreaPlan(tuple(slices), tuple(notices), days[-1] if days else None)


def _plan_past(
    area: AreaConfig, search: SearchConfig, cursor: Cursor, scenes: Sequence[Scene], past: Past
) -> tuple[list[SlicePlan], list[str]]:
    """What is to be made, or made again, of the days that the cursor has passed. A catalogue that
    shows nothing at all is taken for one that is out of order."""
    slices: list[SlicePlan] = []
    notices: list[str] = []
    shown = {_day(area, scene) for scene in scenes}
    days = {day for day in shown if day <= cursor.through} | past.slices if scenes else set()
    first = _earliest(area, cursor, past)
    for day in sorted(day for day in days - past.pruned if day >= first):
        record = past.records.get(day)
        known = record.items if record else {}
        planned = _plan(area, day, scenes, known, amended=day in past.slices)
        rule = rule_of(area, search, day)
        gone = sorted(set(known) - set(planned.items))
        if record and gone and record.rule == rule:
            _require_accepted(area, day, gone)
            notices.append(f"{day}: without {_listed(gone)}, which the catalogue has withdrawn")
        if day not in shown or not _has_before(planned, scenes):
            # A fixed baseline that is gone is one of all slices: that is for people to see to.
            gone_too = day not in shown or not isinstance(area.pair, FixedPair)
            slices += [replace(planned, gone=True)] if day in past.slices and gone_too else []
        elif record is None or record.rule != rule or record.items != planned.items:
            slices.append(planned)
    return slices, notices


def _earliest(area: AreaConfig, cursor: Cursor | None, past: Past | None) -> date:
    if cursor is None:
        return area.since
    if past is not None:
        return max(area.since, past.settled + DAY) if past.settled else area.since
    return cursor.slice or area.since


def _plan(
    area: AreaConfig, day: date, scenes: Sequence[Scene], known: dict[str, str],
    amended: bool = False,
) -> SlicePlan:  # fmt: skip
    before, after = _intervals(area, day)
    detecting = area.mask.detector != NO_DETECTOR
    items = {scene.id: fingerprint(scene, detecting=detecting) for text in (before, after)
             for scene in _within(text, scenes)}  # fmt: skip
    news = tuple(sorted(name for name, print_ in items.items() if known.get(name) != print_))
    return SlicePlan(day, before, after, items, news, amended)


def _intervals(area: AreaConfig, day: date) -> tuple[str, str]:
    """The dates that are compared on a day, earlier first."""
    zone = ZoneInfo(area.time_zone)
    first = area.since if area.window_days is None else day - DAY * (area.window_days - 1)
    after = Days(max(first, area.since), day)
    if isinstance(area.pair, FixedPair):
        return area.pair.baseline, after.interval(zone)
    if isinstance(area.pair, RollingPair):
        gap = DAY * area.pair.gap_days
        return Days(first - gap, day - gap).interval(zone), after.interval(zone)
    around = DAY * area.pair.around_days
    seasons = (
        Days(_years_before(first, years) - around, _years_before(day, years) + around)
        for years in range(area.pair.years, 0, -1)
    )
    return ",".join(one.interval(zone) for one in seasons), after.interval(zone)


def _years_before(day: date, years: int) -> date:
    """The same day of an earlier year; of a 29 February, the 28th where there is none."""
    year = day.year - years
    return day.replace(year=year, day=min(day.day, monthrange(year, day.month)[1]))


def _day(area: AreaConfig, scene: Scene) -> date:
    return scene.datetime.astimezone(ZoneInfo(area.time_zone)).date()


def _within(text: str, scenes: Sequence[Scene]) -> list[Scene]:
    ranges = parse_intervals(text)
    return [scene for scene in scenes if _meets(scene, ranges)]


def _meets(scene: Scene, ranges: Sequence[Interval]) -> bool:
    return any(one.overlaps(scene.datetime, scene.datetime) for one in ranges)


def _has_before(planned: SlicePlan, scenes: Sequence[Scene]) -> bool:
    return bool(_within(planned.before, scenes))


def _require_accepted(area: AreaConfig, day: date, gone: list[str]) -> None:
    if area.withdrawn == "refuse":
        raise CatalogError(
            f"the catalogue went back in time: {_listed(gone)}, from which the slice of {day} was "
            "made, can no longer be found. Wait until the catalogue is mended, or set withdrawn to "
            "accept, and the slice is made again without."
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return f"{'items' if len(names) > 1 else 'item'} {', '.join(names[:MAX_SHOWN])}{more}"
