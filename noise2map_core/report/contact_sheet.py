"""A contact sheet: small pictures with captions, in rows."""

import math
from collections.abc import Iterable, Sequence
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
GAP_PX, CAPTION_PX, FOOT_PX = 12, 40, 34
DPI = 100

Picture = NDArray[np.float32]
"""RGB [H, W, 3] in 0–1."""


def write_sheet(path: Path, entries: Sequence[tuple[str, Picture | None]], foot: str) -> None:
    """Write a PNG of pictures under their captions, row by row, and a line at its foot.

    None in place of a picture leaves an empty frame.
    """
    columns = min(COLUMNS, len(entries))
    height, width = _cell(picture for _, picture in entries)
    rows = math.ceil(len(entries) / columns)
    across = columns * (width + GAP_PX) + GAP_PX
    down = rows * (height + CAPTION_PX + GAP_PX) + GAP_PX + FOOT_PX
    figure = Figure(figsize=(across / DPI, down / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    for number, (caption, picture) in enumerate(entries):
        row, column = divmod(number, columns)
        left = GAP_PX + column * (width + GAP_PX)
        top = GAP_PX + row * (height + CAPTION_PX + GAP_PX) + CAPTION_PX
        box = (left / across, 1 - (top + height) / down, width / across, height / down)
        _draw(figure, box, caption, picture)
    figure.text(GAP_PX / across, GAP_PX / down, foot, fontsize=8, parse_math=False)
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
