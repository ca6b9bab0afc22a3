"""The page put together. Whatever it is given is text: all of it is escaped here."""

import json
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from noise2map_core.products.report.html import Table, framed, links, part, table, tables
from noise2map_core.runtime.atomic import write_atomically


@dataclass(frozen=True, slots=True)
class Layer:
    """A map that is laid over the images."""

    id: str
    title: str
    url: str
    """`data:` URL."""
    legend: list[tuple[str, str]]
    """CSS colour and text."""
    shown: bool
    """Switched on at first."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bins."""

    title: str
    labels: list[str]
    """Lower edge of each bin."""
    counts: list[int]
    unit: str


@dataclass(frozen=True, slots=True)
class Area:
    """A polygon that can be opened. Coordinates are pixels of the preview."""

    id: str
    class_name: str
    color: str
    area_m2: float
    pixels: int
    probability: float
    centre: str
    box: tuple[float, float, float, float]
    """Left, top, right, bottom."""
    path: str
    """SVG path data."""


@dataclass(frozen=True)
class ReportPage:
    """All that the page says. Plain text throughout."""

    title: str
    summary: str
    width: int
    """Pixels of the preview."""
    height: int
    metres_per_px: float
    photos: list[tuple[str, str, str]]
    """Earlier first: "before" or "after", its caption, `data:` URL. A map of one date has one."""
    layers: list[Layer]
    areas: list[Area]
    """Largest first."""
    areas_note: str
    several_classes: bool
    dates: dict[str, str]
    """What an opened polygon says of time."""
    histograms: list[Histogram]
    disputed: str
    """A chip over timesteps and orders, `data:` URL; empty if passes were not compared."""
    figures: dict[str, Table]
    """Tables by caption."""
    provenance: dict[str, Table]
    sources: Table
    """Item id, date, acquisition time, where the item lies."""
    attribution: list[str]
    files: list[tuple[str, str]]
    """Products beside the report: relative path, what it is."""


def write_page(path: Path, page: ReportPage) -> None:
    """Write the page, whole or not at all."""
    script = part("page.js")
    captions = [caption for _, caption, _ in page.photos]
    body = Template(part("page.html")).substitute(
        script=script,
        images=_images(page),
        before=escape(captions[0]),
        after=escape(captions[-1]),
        areas=escape(page.areas_note),
        figures=tables(page.figures),
        disputed=_disputed(page.disputed),
        provenance=tables(page.provenance),
        sources=table(page.sources, header=("item", "date", "acquired", "document")),
        attribution=escape("; ".join(page.attribution)),
        files=links(page.files),
        data=_json(_data(page)),
    )
    write_atomically(path, framed(body, page.title, page.summary, part("page.css"), script))


def _json(value: Any) -> str:
    """JSON that can stand inside a script element: it cannot end the element or open a comment."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _data(page: ReportPage) -> dict[str, Any]:
    """What the script draws."""
    layers = [{k: v for k, v in asdict(layer).items() if k != "url"} for layer in page.layers]
    return {
        "width": page.width, "height": page.height, "metres_per_px": page.metres_per_px,
        "layers": layers, "areas": [asdict(area) for area in page.areas],
        "several_classes": page.several_classes, "dates": page.dates,
        "histograms": [asdict(histogram) for histogram in page.histograms],
    }  # fmt: skip


def _images(page: ReportPage) -> str:
    images = [
        *((f"image-{name}", caption, url) for name, caption, url in page.photos),
        *((f"layer-{layer.id}", layer.title, layer.url) for layer in page.layers),
    ]
    return "\n".join(
        f'<img id="{escape(name)}" alt="{escape(text)}" src="{url}">' for name, text, url in images
    )


def _disputed(url: str) -> str:
    if not url:
        return ""
    text = "The chip on which the model changes its mind most, over timesteps and orders"
    return (
        f'<figure class="scroll"><figcaption>{text}</figcaption>'
        f'<img class="drawn" alt="{text}" src="{url}"></figure>'
    )
