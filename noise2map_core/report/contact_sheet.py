"""A contact sheet: small pictures with captions, in rows."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from noise2map_core.runtime.atomic import whole_file

COLUMNS = 6
SIDE_PX = 256
"""Of the square that a picture is fitted into."""
LEAST_PX = 150
"""Of a side: a caption needs it."""
GAP_PX, CAPTION_PX = 12, 40
LETTER_PX, LINE_PX = 7, 14
"""Of the foot, about."""
DPI = 100

Picture = NDArray[np.float32]
"""RGB [H, W, 3] in 0–1."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things lie on a sheet, pixels."""

    columns: int
    rows: int
    height: int
    width: int
    """Of a cell, without its caption."""
    foot_lines: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        foot = GAP_PX + LINE_PX * self.foot_lines
        return self._left(self.columns), self._top(self.rows) - CAPTION_PX + foot

    def box(self, number: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a cell, as shares of the sheet from below."""
        row, column = divmod(number, self.columns)
        across, down = self.size
        bottom = 1 - (self._top(row) + self.height) / down
        return self._left(column) / across, bottom, self.width / across, self.height / down

    def _left(self, column: int) -> int:
        return GAP_PX + column * (self.width + GAP_PX)

    def _top(self, row: int) -> int:
        return GAP_PX + row * (self.height + CAPTION_PX + GAP_PX) + CAPTION_PX


def write_sheet(path: Path, entries: Sequence[tuple[str, Picture | None]], foot: str) -> None:
    """Write a PNG of pictures under their captions, row by row, and a line at its foot.

    None in place of a picture leaves an empty frame.
    """
    height, width = _cell(picture for _, picture in entries)
    columns = min(COLUMNS, len(entries))
    said = textwrap.wrap(foot, columns * (width + GAP_PX) // LETTER_PX)
    layout = _Layout(columns, math.ceil(len(entries) / columns), height, width, len(said))
    across, down = layout.size
    figure = Figure(figsize=(across / DPI, down / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    for number, (caption, picture) in enumerate(entries):
        _draw(figure, layout.box(number), caption, picture)
    figure.text(GAP_PX / across, GAP_PX / down, "\n".join(said), fontsize=8, parse_math=False)
    with whole_file(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def _cell(pictures: Iterable[Picture | None]) -> tuple[int, int]:
    """Height and width of the largest picture, fitted into the square; the square without any."""
    shapes = [picture.shape[:2] for picture in pictures if picture is not None]
    if not shapes:
        return SIDE_PX, SIDE_PX
    height, width = max(rows for rows, _ in shapes), max(cols for _, cols in shapes)
    fit = SIDE_PX / max(height, width)
    return max(LEAST_PX, round(height * fit)), max(LEAST_PX, round(width * fit))


def _draw(
    figure: Figure, box: tuple[float, float, float, float], caption: str, picture: Picture | None
) -> None:
    axis = figure.add_axes(box, xticks=[], yticks=[], anchor="N")
    axis.set_title(caption, fontsize=9, loc="left", pad=3, parse_math=False)
    if picture is None:
        axis.text(0.5, 0.5, "cannot be read", ha="center", va="center", fontsize=9)
    else:
        axis.imshow(picture, interpolation="nearest")
