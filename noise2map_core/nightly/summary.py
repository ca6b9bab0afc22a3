"""The summary of a night: a page over all areas, and the same as JSON."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from noise2map_core.nightly.outcome import AreaOutcome, NightOutcome, SliceOutcome
from noise2map_core.report.pages import render
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.redact import redacted, redacted_document

MAX_SLICES = 10
"""Rows of a table; a long catch-up shows the newest."""
ORDER = ("failed", "mapped", "waiting", "current")
HEADER = (
    "area", "status", "newest slice", "slices made", "new items", "tiles predicted", "tiles kept",
    "objects", "alerts", "alarms", "error",
)  # fmt: skip
"""Columns of the table of areas."""


@dataclass(frozen=True)
class NightPage:
    """All that the page says. Plain text throughout."""

    title: str
    summary: str
    alarms: list[str]
    areas: list["AreaSection"]
    header: tuple[str, ...] = HEADER


@dataclass(frozen=True)
class AreaSection:
    """What became of an area. Paths are relative to the page."""

    number: int
    """On the page, from 1."""
    area: AreaOutcome
    cells: tuple[str, ...]
    """Its row in the table, by `HEADER`."""
    pictures: list[tuple[str, str]]
    """Path and what it shows; none, or one."""
    slices: list[tuple[str, list[str], str]]
    """Day, numbers, what became of objects."""
    links: list[tuple[str, str]]
    """Path of what there is of the newest slice, and what it is."""


def write_summary(night: NightOutcome) -> None:
    """Write summary.json and summary.html, each whole or not at all."""
    text = json.dumps(redacted_document(night.document()), indent=2) + "\n"
    write_atomically(night.output / "summary.json", text)
    page = render("night.html", page=_page(night))
    write_atomically(night.output / "summary.html", redacted(page))


def _page(night: NightOutcome) -> NightPage:
    areas = sorted(night.areas, key=lambda area: ORDER.index(area.status))
    return NightPage(
        f"Night of {night.started:%Y-%m-%d}",
        _counts(night),
        night.alarms,
        [_area(number, area, night.output) for number, area in enumerate(areas, 1)],
    )


def _counts(night: NightOutcome) -> str:
    count = len(night.areas)
    said = [f"{count} area{'' if count == 1 else 's'}"]
    for status in ORDER:
        if number := sum(area.status == status for area in night.areas):
            said.append(f"{number} {status}")
    return f"{', '.join(said)}; {night.seconds:,.0f} s, begun {night.started:%Y-%m-%d %H:%M %Z}."


def _area(number: int, area: AreaOutcome, root: Path) -> AreaSection:
    pictures = {f"slices/{area.newest}/quicklook.png": f"{area.id}, {area.newest}"}
    return AreaSection(
        number,
        area,
        _cells(area),
        _there(area, pictures, root),
        [_row(one) for one in area.slices[-MAX_SLICES:]],
        _links(area, root),
    )


def _cells(area: AreaOutcome) -> tuple[str, ...]:
    """Sums over the slices of this night; what was not counted is empty."""
    made = area.slices
    objects: Counter[str] = Counter()
    for one in made:
        objects.update(one.changes)
    counts = (
        len(made),
        *(sum(getattr(one, name) for one in made) for name in ("news", "predicted", "kept")),
    )
    return (
        area.id, area.status, str(area.newest or ""), *(f"{count:,}" for count in counts),
        _events(objects), _events(area.alerts), str(len(area.alarms)), area.error,
    )  # fmt: skip


def _events(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {event}" for event, count in counts.items() if count)


def _row(one: SliceOutcome) -> tuple[str, list[str], str]:
    numbers = [f"{number:,}" for number in (one.news, one.predicted, one.kept)]
    events = _events(one.changes) or "as before"
    return f"{one.day}{' (again)' if one.amended else ''}", numbers, events


def _links(area: AreaOutcome, root: Path) -> list[tuple[str, str]]:
    if area.newest is None:
        return []
    names = {
        f"slices/{area.newest}/report.html": "report",
        f"changes/{area.newest}.parquet": "changes",
        f"objects/{area.newest}.parquet": "objects",
        "collection.json": "collection",
    }
    return _there(area, names, root)


def _there(area: AreaOutcome, names: dict[str, str], root: Path) -> list[tuple[str, str]]:
    """Those files of an area that exist, as paths from the page."""
    if area.output is None:
        return []
    files = ((area.output / name, text) for name, text in names.items())
    return [
        (Path(os.path.relpath(file, root.resolve())).as_posix(), text)
        for file, text in files
        if file.is_file()
    ]
