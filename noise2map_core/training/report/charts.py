"""Line charts as inline SVG. Whatever they are given is text: all of it is escaped here."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 480.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 68.0, 12.0, 10.0, 44.0
"""Margins around the plot, where the labels stand."""
MAX_POINTS = 400
"""Of a line; longer ones are averaged."""


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


def draw(chart: Chart) -> str:
    """A figure element."""
    scale = _Scale(chart)
    inner = "".join(
        [
            *_axes(chart, scale),
            *(_line(series, scale) for series in chart.series),
            *(_mark(mark, scale) for mark in chart.marks),
        ]
    )
    title = escape(chart.title)
    return (
        f'<figure class="chart"><figcaption>{title}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{title}">{inner}</svg>'
        f"{_legend(chart)}</figure>"
    )


def thinned(points: Points) -> Points:
    """As many neighbours averaged as it takes to have no more than `MAX_POINTS`."""
    every = -(-len(points) // MAX_POINTS)
    if every <= 1:
        return points
    groups = (points[start : start + every] for start in range(0, len(points), every))
    return [(group[-1][0], float(np.mean([y for _, y in group]))) for group in groups]


class _Scale:
    """From numbers to places in the picture."""

    def __init__(self, chart: Chart) -> None:
        x, y = zip(*(place for one in chart.series for place in _ends(one)), strict=True)
        self.x_low, self.x_high = _widened(chart.x_range or (min(x), max(x)))
        self.y_low, self.y_high = _widened(chart.y_range or (min(y), max(y)))

    def x(self, value: float) -> float:
        share = (value - self.x_low) / (self.x_high - self.x_low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (min(max(value, self.y_low), self.y_high) - self.y_low) / (self.y_high - self.y_low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _ends(series: Series) -> Iterator[tuple[float, float]]:
    """The points, and the ends of their error bars."""
    yield from series.points
    if series.errors:
        for (x, y), error in zip(series.points, series.errors, strict=True):
            yield from ((x, y - error), (x, y + error))


def _widened(ends: tuple[float, float]) -> tuple[float, float]:
    """A range of more than one number."""
    low, high = ends
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> NDArray[np.float64]:
    values = np.asarray(MaxNLocator(5).tick_values(low, high), np.float64)
    return values[(values >= low - 1e-9) & (values <= high + 1e-9)]


def _axes(chart: Chart, scale: _Scale) -> Iterator[str]:
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    for value in _ticks(scale.y_low, scale.y_high):
        y = scale.y(value)
        yield f'<path class="grid" d="M{left:g} {y:g}H{right:g}"/>'
        yield f'<text x="{left - 6:g}" y="{y + 4:g}" text-anchor="end">{value:.4g}</text>'
    for value in _ticks(scale.x_low, scale.x_high):
        x = scale.x(value)
        yield f'<path class="grid" d="M{x:g} {top:g}V{bottom:g}"/>'
        yield f'<text x="{x:g}" y="{bottom + 17:g}" text-anchor="middle">{value:.6g}</text>'
    yield from _axis_labels(chart)


def _axis_labels(chart: Chart) -> Iterator[str]:
    x, y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    for place, label in (
        (f"translate({x:g} {HEIGHT - 6:g})", chart.x_label),
        (f"translate(13 {y:g}) rotate(-90)", chart.y_label),
    ):
        yield f'<text transform="{place}" text-anchor="middle">{escape(label)}</text>'


def _line(series: Series, scale: _Scale) -> str:
    color, places = escape(series.color), [(scale.x(x), scale.y(y)) for x, y in series.points]
    kind = "line faint" if series.faint else "line"
    path = "L".join(f"{x:g} {y:g}" for x, y in places)
    return f'<path class="{kind}" stroke="{color}" d="M{path}"/>' + "".join(
        [*_error_bars(series, scale), *(_dots(series, places) if series.dots else ())]
    )


def _dots(series: Series, places: Sequence[tuple[float, float]]) -> Iterator[str]:
    for (x, y), (at, value) in zip(places, series.points, strict=True):
        yield (
            f'<circle cx="{x:g}" cy="{y:g}" r="3" fill="{escape(series.color)}">'
            f"<title>{escape(series.name)}, {at:g}: {value:.4f}</title></circle>"
        )


def _error_bars(series: Series, scale: _Scale) -> Iterator[str]:
    if series.errors:
        for (x, y), error in zip(series.points, series.errors, strict=True):
            yield (
                f'<path class="bar" stroke="{escape(series.color)}" '
                f'd="M{scale.x(x):g} {scale.y(y - error):g}V{scale.y(y + error):g}"/>'
            )


def _mark(mark: Mark, scale: _Scale) -> str:
    return (
        f'<circle class="mark" cx="{scale.x(mark.x):g}" cy="{scale.y(mark.y):g}" r="6" '
        f'stroke="{escape(mark.color)}"><title>{escape(mark.name)}</title></circle>'
    )


def _legend(chart: Chart) -> str:
    entries = [swatch(one.color, one.name) for one in chart.series]
    marks = {mark.name: mark.color for mark in chart.marks}
    entries += [swatch(color, name, hollow=True) for name, color in marks.items()]
    return legend(entries)


def legend(entries: Iterable[str]) -> str:
    """Swatches in a row."""
    return f'<p class="legend">{"".join(entries)}</p>'


def swatch(color: str, name: str, hollow: bool = False) -> str:
    """A colour and what it means; `hollow`: a ring, as marks are drawn."""
    fill = (
        f'fill="none" stroke-width="2.5" stroke="{escape(color)}"'
        if hollow
        else (f'fill="{escape(color)}"')
    )
    return (
        f'<span><svg class="swatch" viewBox="0 0 14 14" aria-hidden="true">'
        f'<circle cx="7" cy="7" r="5.5" {fill}/></svg>{escape(name)}</span>'
    )
