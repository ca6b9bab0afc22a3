"""What all pages have in common. Whatever is given as text is escaped here."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import quote

Table = Sequence[tuple[str, ...]]


def part(name: str, package: str = __package__) -> str:
    """A file of a package, as text."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def framed(
    body: str, title: str, summary: str, style: str, script: str = "", images: str = "data:"
) -> str:
    """A page around `body`, which is markup; `style` goes behind the one that all pages share.

    Nothing is loaded but `images`, as a Content-Security-Policy names them, and nothing runs but
    `script`, which `body` holds.
    """
    whole_style = part("base.css") + style
    return Template(part("frame.html")).substitute(
        policy=escape(_policy(whole_style, script, images)),
        title=escape(title),
        summary=escape(summary),
        style=whole_style,
        body=body,
    )


def _policy(style: str, script: str, images: str) -> str:
    scripts = f"; script-src {_hash(script)}" if script else ""
    return (
        f"default-src 'none'; img-src {images}; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}{scripts}"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def tables(found: dict[str, Table]) -> str:
    """Tables by caption, each of which scrolls by itself if it is wide."""
    return "\n".join(
        f'<div class="scroll">{table(rows, caption)}</div>' for caption, rows in found.items()
    )


def table(rows: Table, caption: str = "", header: tuple[str, ...] = ()) -> str:
    """A table. Without a `header`, the first cell of each row is the row's heading."""
    top = f"<caption>{escape(caption)}</caption>" if caption else ""
    if header:
        top += "<tr>" + "".join(f"<th scope=col>{escape(cell)}</th>" for cell in header) + "</tr>"
    return f"<table>{top}{''.join(_row(row, heading=not header) for row in rows)}</table>"


def _row(cells: Iterable[str], heading: bool) -> str:
    first, *rest = (_cell(cell) for cell in cells)
    head = f"<th scope=row>{first}</th>" if heading else f"<td>{first}</td>"
    return f"<tr>{head}{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>"


def _cell(text: str) -> str:
    """A link if it is a web address, and of no other scheme."""
    if text.startswith(("https://", "http://")):
        return f'<a href="{escape(text)}" rel="noreferrer">{escape(text)}</a>'
    return escape(text)


def links(names: Iterable[tuple[str, str]]) -> str:
    """Files beside the page: relative path, what it is."""
    entries = (
        (f'<a href="./{quote(name)}">{escape(name)}</a>', escape(text)) for name, text in names
    )
    rows = "".join(f"<tr><td>{link}</td><td>{text}</td></tr>" for link, text in entries)
    return f"<table>{rows}</table>"
