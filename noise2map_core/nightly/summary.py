"""The summary of a night: a page over all areas, and the same as JSON.

All that the page says is escaped here: names of items and errors come from catalogues.
"""

import json
import os
from html import escape
from pathlib import Path
from urllib.parse import quote

from noise2map_core.nightly.outcome import AreaOutcome, NightOutcome, SliceOutcome
from noise2map_core.products.report.html import framed, part
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.redact import redacted, redacted_document

MAX_SLICES = 10
"""Rows of a table; a long catch-up shows the newest."""
ORDER = ("failed", "mapped", "waiting", "current")
HEADER = "<tr><th>slice<th>new items<th>predicted<th>kept<th>objects</tr>"


def write_summary(night: NightOutcome) -> None:
    """Write summary.json and summary.html, each whole or not at all."""
    text = json.dumps(redacted_document(night.document()), indent=2) + "\n"
    write_atomically(night.output / "summary.json", text)
    write_atomically(night.output / "summary.html", redacted(_page(night)))


def _page(night: NightOutcome) -> str:
    areas = sorted(night.areas, key=lambda area: ORDER.index(area.status))
    articles = "\n".join(_area(area, night.output) for area in areas)
    return framed(
        f"<main>\n{articles}\n</main>",
        title=f"Night of {night.started:%Y-%m-%d}",
        summary=_counts(night),
        style=part("summary.css", __package__),
        images="'self' file:",
    )


def _counts(night: NightOutcome) -> str:
    count = len(night.areas)
    said = [f"{count} area{'' if count == 1 else 's'}"]
    for status in ORDER:
        if number := sum(area.status == status for area in night.areas):
            said.append(f"{number} {status}")
    return f"{', '.join(said)}; {night.seconds:,.0f} s, begun {night.started:%Y-%m-%d %H:%M %Z}."


def _area(area: AreaOutcome, root: Path) -> str:
    newest = f"newest slice {area.newest}" if area.newest else "no slice yet"
    lines = [
        f'<article class="{area.status}">',
        f"<h2>{escape(area.id)} <span>{area.status}</span></h2>",
        f'<p class="note">{escape(newest)}</p>',
        *(f'<p class="error">{escape(text)}</p>' for text in [area.error] if text),
        *(f'<p class="note">{escape(text)}</p>' for text in area.notices),
        _picture(area, root),
        _table(area.slices[-MAX_SLICES:]),
        _links(area, root),
        "</article>",
    ]
    return "\n".join(line for line in lines if line)


def _picture(area: AreaOutcome, root: Path) -> str:
    name = f"slices/{area.newest}/quicklook.png"
    if area.output is None or not (area.output / name).is_file():
        return ""
    return f'<img alt="{escape(area.id)}, {area.newest}" src="{_href(area.output / name, root)}">'


def _table(slices: list[SliceOutcome]) -> str:
    return f"<table>{HEADER}{''.join(map(_row, slices))}</table>" if slices else ""


def _row(one: SliceOutcome) -> str:
    numbers = "".join(f'<td class="number">{n:,}</td>' for n in (one.news, one.predicted, one.kept))
    events = ", ".join(f"{count:,} {event}" for event, count in one.changes.items()) or "as before"
    again = " (again)" if one.amended else ""
    return f"<tr><th scope=row>{one.day}{again}</th>{numbers}<td>{escape(events)}</td></tr>"


def _links(area: AreaOutcome, root: Path) -> str:
    """To what there is of the newest slice."""
    if area.output is None or area.newest is None:
        return ""
    names = {
        f"slices/{area.newest}/report.html": "report",
        f"changes/{area.newest}.parquet": "changes",
        f"objects/{area.newest}.parquet": "objects",
        "collection.json": "collection",
    }
    links = [
        f'<a href="{_href(area.output / name, root)}">{text}</a>'
        for name, text in names.items()
        if (area.output / name).is_file()
    ]
    return f"<p>{' · '.join(links)}</p>" if links else ""


def _href(file: Path, root: Path) -> str:
    return quote(Path(os.path.relpath(file, root.resolve())).as_posix())
