"""Line charts as inline SVG, in the colours of the page around them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any
from xml.etree import ElementTree as Xml

import matplotlib
import numpy as np
from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 480, 300
"""Of the drawing, in units of its own; the page scales it."""
PLOT = (68 / WIDTH, 44 / HEIGHT, 400 / WIDTH, 246 / HEIGHT)
"""Left, bottom, width, height: what surrounds it is for the labels."""
MAX_POINTS = 400
"""Of a line; longer ones are averaged."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "path.simplify": False, "text.parse_math": False, "font.size": 13,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """A line."""

    name: str
    color: str
    """CSS colour."""
    points: Points
    """x ascending, or along the line where x turns."""
    errors: Sequence[float] = ()
    """Half the length of each point's error bar; none: no bars."""
    dots: bool = False
    """Each point is marked, and listed in numbers."""
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that is pointed out."""

    name: str
    """In the legend once, whatever the number of marks."""
    color: str
    x: float
    y: float


@dataclass(frozen=True)
class Chart:
    """Lines over one pair of axes."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    marks: Sequence[Mark] = ()
    y_range: tuple[float, float] | None = None
    """None: what the lines need."""
    x_range: tuple[float, float] | None = None

    def svg(self) -> str:
        """The drawing, an element for a page; the same bytes each time."""
        file = StringIO()
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": self.title}):
            _drawn(self).savefig(file, format="svg", metadata={"Date": None})
        return _inline(file.getvalue(), self.title)

    def legend(self) -> Iterator[tuple[str, str, bool]]:
        """CSS colour, what it means, and whether it is of marks."""
        yield from ((one.color, one.name, False) for one in self.series)
        marks = {mark.name: mark.color for mark in self.marks}
        yield from ((color, name, True) for name, color in marks.items())

    def header(self) -> tuple[str, ...]:
        """Of the columns of `numbers`."""
        return self.x_label, *(one.name for one in self._dotted)

    def numbers(self) -> list[tuple[str, ...]]:
        """What the dots say, by x."""
        columns = [_numbers(one) for one in self._dotted]
        places = sorted({x for column in columns for x in column})
        return [(f"{x:g}", *(column.get(x, "") for column in columns)) for x in places]

    @property
    def _dotted(self) -> list[Series]:
        return [one for one in self.series if one.dots]


def thinned(points: Points) -> Points:
    """As many neighbours averaged as it takes to have no more than `MAX_POINTS`."""
    every = -(-len(points) // MAX_POINTS)
    if every <= 1:
        return points
    groups = (points[start : start + every] for start in range(0, len(points), every))
    return [(group[-1][0], float(np.mean([y for _, y in group]))) for group in groups]


def _numbers(series: Series) -> dict[float, str]:
    errors = [f" ± {error:.4f}" for error in series.errors] or [""] * len(series.points)
    return {x: f"{y:.4f}{error}" for (x, y), error in zip(series.points, errors, strict=True)}


def _drawn(chart: Chart) -> Figure:
    """Group ids become classes, by which the page's style knows its elements."""
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
    figure.patch.set_visible(False)
    axes = figure.add_axes(PLOT, frameon=False)
    for series in chart.series:
        _draw_line(axes, series)
    for mark in chart.marks:
        axes.plot(
            mark.x, mark.y, "o", color=mark.color, markersize=12, markeredgewidth=2.5,
            fillstyle="none", clip_on=False, gid="mark",
        )  # fmt: skip
    _draw_axes(axes, chart)
    return figure


def _draw_line(axes: Any, series: Series) -> None:
    x, y = np.transpose(series.points)
    axes.plot(
        x, y, "o-" if series.dots else "-", color=series.color, markersize=6, markeredgewidth=0,
        linewidth=1 if series.faint else 2, clip_on=False,
        gid="line faint" if series.faint else "line",
    )  # fmt: skip
    if series.errors:
        low, high = y - series.errors, y + series.errors
        axes.vlines(x, low, high, color=series.color, linewidth=1.5, clip_on=False, gid="bar")


def _draw_axes(axes: Any, chart: Chart) -> None:
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label, xlim=chart.x_range, ylim=chart.y_range)
    axes.locator_params(nbins=5)
    axes.xaxis.set_major_formatter("{x:.6g}")
    axes.yaxis.set_major_formatter("{x:.4g}")
    axes.yaxis.labelpad = 8
    axes.tick_params(length=0, pad=7)
    axes.grid(True, gid="grid")


def _inline(text: str, title: str) -> str:
    """Matplotlib's SVG as a part of a page.

    The policy of pages forbids styles at elements, so they become attributes, which the page's own
    style overrides, and fonts go; an id may be on a page once, so those of groups become classes.
    """
    root = Xml.fromstring(text)
    drawing = next(one for one in root if one.tag.endswith("}g"))
    for element in drawing.iter():
        element.tag = element.tag.partition("}")[2]
        element.attrib = dict(_attributes(element))
    svg = Xml.Element("svg", viewBox=root.get("viewBox", ""), role="img")
    svg.set("aria-label", title)
    svg.append(drawing)
    return Xml.tostring(svg, encoding="unicode")


def _attributes(element: Xml.Element) -> Iterator[tuple[str, str]]:
    for name, value in element.items():
        if name == "style":
            rules = (rule.partition(":") for rule in value.split(";"))
            words = ((key.strip(), said.strip()) for key, _, said in rules)
            yield from ((key, said) for key, said in words if not key.startswith("font"))
        elif name == "id" and element.tag == "g":
            yield "class", value
        elif name != "clip-path":
            yield name.rpartition("}")[2], value
