"""The report: one HTML page that needs no network."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from noise2map_core.atomic import write_atomically

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 1rem auto; padding: 0 1rem; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
td, th { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top; }
td { overflow-wrap: anywhere; }
th { font-weight: 600; }
</style>
</head>
<body>
<h1>$title</h1>
<p><img src="data:image/png;base64,$picture" alt="Before, after and change, north up"></p>
<h2>Figures</h2>
$figures
<h2>Model</h2>
$model
<h2>Sources</h2>
$sources
<p>$attribution</p>
<h2>Files</h2>
<ul>
$files
</ul>
</body>
</html>
""")


@dataclass(frozen=True)
class ReportFacts:
    """What the page says. Plain text; the page escapes it."""

    title: str
    figures: dict[str, str]
    model: dict[str, str]
    sources: list[tuple[str, str, str]]
    """Item id, acquisition time, where the item lies."""
    attribution: list[str]
    files: list[str]
    """Products beside the report, by relative path."""


def write_report(path: Path, facts: ReportFacts, picture: Path) -> None:
    """Write the page with `picture` (PNG) inside it."""
    text = PAGE.substitute(
        title=escape(facts.title),
        picture=base64.b64encode(picture.read_bytes()).decode(),
        figures=_table(facts.figures.items()),
        model=_table(facts.model.items()),
        sources=_table(facts.sources, header=("item", "acquired", "document")),
        attribution=escape("; ".join(facts.attribution)),
        files="\n".join(f'<li><a href="{escape(f)}">{escape(f)}</a></li>' for f in facts.files),
    )
    write_atomically(path, text)


def _table(rows: Iterable[tuple[str, ...]], header: tuple[str, ...] = ()) -> str:
    head = _row(header, "th") if header else ""
    body = "\n".join(_row(row, "td") for row in rows)
    return f"<table>\n{head}\n{body}\n</table>"


def _row(cells: tuple[str, ...], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
