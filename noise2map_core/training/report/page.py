"""What the report of a training says, and its page."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from noise2map_core.report.charts import Chart
from noise2map_core.report.pages import Table, render
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.training.report.pictures import ChipPicture


@dataclass(frozen=True)
class TaskSection:
    """A task on the validation part."""

    title: str
    summary: str
    classes: list[tuple[str, str]]
    """CSS colour and name."""
    scores: Table
    """A row a class."""
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

    def matrix(self) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
        """The confusion matrix for people: a class, and of its cells count, share of the row and
        shade (0 to 4)."""
        for (_, name), row in zip(self.classes, self.confusion, strict=True):
            yield name, [_cell(count, count / max(sum(row), 1)) for count in row]


def _cell(count: int, share: float) -> tuple[str, str, int]:
    return f"{count:,}", f"{share:.1%}", sum(share >= step for step in (0.05, 0.25, 0.5, 0.75))


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
    write_atomically(path, render("training.html", page=page))
