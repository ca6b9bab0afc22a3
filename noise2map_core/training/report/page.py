"""The page put together. Whatever it is given is text: all of it is escaped here."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from noise2map_core.products.report.html import Table, framed, links, part, table, tables
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.training.report.charts import Chart, draw, legend, swatch
from noise2map_core.training.report.pictures import ChipPicture


@dataclass(frozen=True)
class TaskSection:
    """A task on the validation part."""

    title: str
    summary: str
    classes: list[tuple[str, str]]
    """CSS colour and name."""
    scores: Table
    """A row a class, under `SCORES`."""
    curve: Chart
    """Precision over recall."""
    confusion: list[list[int]]
    """Pixels by true (row) and predicted (column) class."""
    figures: Table
    worst: list[ChipPicture]
    best: list[ChipPicture]
    amounts: list[tuple[str, str]]
    """Legend of the probability: CSS colour and text."""
    timesteps: str
    """`data:` URL, or empty."""


SCORES = ("class", "F1", "95 % interval", "IoU", "precision", "recall", "av. precision", "pixels")
SOURCES = ("item", "acquired", "document")


@dataclass(frozen=True)
class TrainingPage:
    """All that the page says. Plain text throughout."""

    title: str
    summary: str
    curves: list[Chart]
    training: dict[str, Table]
    """Tables by caption."""
    settings: Table
    tasks: list[TaskSection]
    data: dict[str, Table]
    class_header: tuple[str, ...]
    class_pixels: Table
    """Pixels of each class by split, under `class_header`."""
    sources_note: str
    sources: Table
    attribution: list[str]
    files: list[tuple[str, str]]
    """Beside the report: relative path, what it is."""


def write_page(path: Path, page: TrainingPage) -> None:
    """Write the page, whole or not at all."""
    body = Template(part("page.html", __package__)).substitute(
        curves="\n".join(draw(chart) for chart in page.curves),
        training=tables(page.training),
        settings=table(page.settings),
        tasks="\n".join(_section(task) for task in page.tasks),
        data=tables(page.data),
        classes=_numbers(page.class_pixels, page.class_header),
        sources_note=escape(page.sources_note),
        sources=table(page.sources, header=SOURCES),
        attribution=escape("; ".join(page.attribution)),
        files=links(page.files),
    )
    style = part("page.css", __package__)
    write_atomically(path, framed(body, page.title, page.summary, style))


def _numbers(rows: Table, header: tuple[str, ...]) -> str:
    return f'<div class="scroll numbers">{table(rows, header=header)}</div>'


def _section(task: TaskSection) -> str:
    return f"""<section>
<h2>{escape(task.title)}</h2>
<p>{escape(task.summary)}</p>
{_numbers(task.scores, SCORES)}
<div class="columns">{draw(task.curve)}
<div>{_matrix(task)}<div class="scroll">{table(task.figures)}</div></div></div>
{_gallery("The worst chips", task.worst, task)}
{_gallery("The best chips", task.best, task)}
{_timesteps(task.timesteps)}
</section>"""


def _matrix(task: TaskSection) -> str:
    """The confusion matrix, its cells shaded by their share of the row."""
    names = [escape(name) for _, name in task.classes]
    head = "".join(f"<th scope=col>{name}</th>" for name in names)
    rows = "".join(
        f"<tr><th scope=row>{name}</th>{_cells(row)}</tr>"
        for name, row in zip(names, task.confusion, strict=True)
    )
    return (
        '<div class="scroll numbers matrix"><table><caption>Confusion: pixels by true class (row) '
        f"and predicted class (column)</caption><tr><td></td>{head}</tr>{rows}</table></div>"
    )


def _cells(row: Sequence[int]) -> str:
    total = max(sum(row), 1)
    return "".join(_cell(count, count / total) for count in row)


def _cell(count: int, share: float) -> str:
    return f'<td class="share-{_shade(share)}">{count:,}<small>{share:.1%}</small></td>'


def _shade(share: float) -> int:
    """0 to 4."""
    return sum(share >= step for step in (0.05, 0.25, 0.5, 0.75))


def _gallery(title: str, chips: Sequence[ChipPicture], task: TaskSection) -> str:
    if not chips:
        return ""
    colors = [swatch(color, name) for color, name in (*task.classes, *task.amounts)]
    pictures = "\n".join(_picture(chip) for chip in chips)
    note = "<span>Hatched: no label, or not observed</span>"
    return f'<h3>{title}</h3>{legend([*colors, note])}<div class="chips">{pictures}</div>'


def _picture(chip: ChipPicture) -> str:
    panels = "".join(
        f'<div><span>{escape(name)}</span><img alt="{escape(name)}" src="{url}"></div>'
        for name, url in chip.panels
    )
    return (
        f"<figure><figcaption>{escape(chip.caption)}</figcaption>"
        f'<div class="panels">{panels}</div></figure>'
    )


def _timesteps(url: str) -> str:
    if not url:
        return ""
    text = "The chip with the most of what is sought, over timesteps"
    return (
        f'<figure class="scroll"><figcaption>{text}</figcaption>'
        f'<img class="drawn" alt="{text}" src="{url}"></figure>'
    )
