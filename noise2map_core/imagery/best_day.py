"""Dates that are left to the imagery: of "best 2023-06-01/2023-08-31", one day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TypeVar

from pydantic import BaseModel

from noise2map_core.catalog.interval import parse_intervals
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.imagery.days import CoarseArea, Day, find_days
from noise2map_core.settings.catalog import BEST, SearchConfig
from noise2map_core.settings.imagery import MaskConfig

ConfigT = TypeVar("ConfigT", bound=BaseModel)

SAME_COVERAGE = 0.01
"""Of the area: days that show as much as any other, to within this, are candidates."""
SAME_CLOUD = 0.05
"""Days with no more than this above the least cloud may be taken for their season."""
DAYS_OF_YEAR = 365.25


@dataclass(frozen=True)
class ChosenDate:
    """A day that was chosen."""

    name: str
    """The setting: before or after."""
    day: Day
    candidates: int
    """Days of the range with imagery."""

    @property
    def line(self) -> str:
        """For people."""
        days = "date" if self.candidates == 1 else "dates"
        cloud = "cloud not known" if self.day.cloud is None else f"{self.day.cloud_text} cloud"
        if self.day.cloud_of == "scene":
            cloud = f"{100 * (self.day.cloud or 0):.0f} % cloud in the whole scene"
        return f"{self.name}: {self.day.day}, {cloud}, of {self.candidates} {days}"


def choose_dates(
    search: SearchConfig,
    aoi: AreaOfInterest,
    before: str | None,
    after: str,
    bands: Sequence[str],
    mask: MaskConfig,
) -> list[ChosenDate]:
    """The days that stand for `before` and `after` where these are "best …"; empty if none is.

    Raises as `find_days` does.
    """
    chosen: list[ChosenDate] = []
    choose = partial(_choose, search=search, aoi=aoi, bands=bands, mask=mask)
    if before is not None and is_best(before):
        chosen.append(choose("before", before))
    if is_best(after):
        season = chosen[0].day.day if chosen else _middle(before)
        chosen.append(choose("after", after, season=season))
    return chosen


def chosen_facts(chosen: Sequence[ChosenDate]) -> dict[str, dict[str, str]]:
    """What a manifest says of them, beside the settings as they were given; nothing of none."""
    return {"chosen_dates": {one.name: str(one.day.day) for one in chosen}} if chosen else {}


def with_chosen(config: ConfigT, chosen: Sequence[ChosenDate]) -> ConfigT:
    """Settings whose `before` and `after` are the days that were chosen."""
    return config.model_copy(update={one.name: str(one.day.day) for one in chosen})


def is_best(dates: str) -> bool:
    """True if a day is to be chosen."""
    return dates.strip().startswith(BEST)


def best_day(days: Sequence[Day], season: date | None = None) -> Day:
    """The day with the least cloud among those that show the most of the area.

    With a `season`, the nearest to it in the year among those with about as little. Days whose
    cloud is not known come last; of equals, the later.
    """
    most = max(day.coverage for day in days)
    candidates = [day for day in days if day.coverage >= most - SAME_COVERAGE]
    if season is None:
        return min(candidates, key=lambda day: (_cloud(day), -day.day.toordinal()))
    least = min(map(_cloud, candidates))
    clear = [day for day in candidates if _cloud(day) <= least + SAME_CLOUD]
    return min(
        clear,
        key=lambda day: (season_days(day.day, season), _cloud(day), -day.day.toordinal()),
    )


def season_days(one: date, other: date) -> float:
    """How far two days lie apart in the year."""
    apart = abs((one - other).days) % DAYS_OF_YEAR
    return min(apart, DAYS_OF_YEAR - apart)


def _choose(
    name: str,
    dates: str,
    *,
    search: SearchConfig,
    aoi: AreaOfInterest,
    bands: Sequence[str],
    mask: MaskConfig,
    season: date | None = None,
) -> ChosenDate:
    asked = dates.strip().removeprefix(BEST)
    days = find_days(search, aoi, asked, bands, mask, CoarseArea.of(aoi))
    return ChosenDate(name, best_day(days, season), len(days))


def _cloud(day: Day) -> float:
    return float("inf") if day.cloud is None else day.cloud


def _middle(dates: str | None) -> date | None:
    """The day in the middle of a range, of several of the last; None if it has no middle."""
    interval = parse_intervals(dates)[-1] if dates else None
    if interval is None or interval.start is None or interval.end is None:
        return None
    return (interval.start + (interval.end - interval.start) / 2).date()
