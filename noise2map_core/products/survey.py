"""One pass over a mosaic: counts of everything, and small pictures of the maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_DECISION, Mosaic
from noise2map_core.products.rasters import as_bytes


@dataclass(frozen=True)
class Survey:
    """What a mosaic holds, by array."""

    counts: dict[str, NDArray[np.int64]]
    """[256] How many pixels of the region have each number, as in the rasters."""
    pictures: dict[str, NDArray[np.uint8]]
    """[H, W] The region thinned `step` times; 255 none."""
    step: int


def survey_mosaic(mosaic: Mosaic, names: Sequence[str], longest_px: int) -> Survey:
    """Read the arrays once. Pictures have at most `longest_px` a side.

    A picture shows the highest number of each block: thin changes stay visible.
    """
    region = mosaic.grid.region
    step = max(1, -(-max(region.height, region.width) // longest_px))
    shape = (-(-region.height // step), -(-region.width // step))
    survey = Survey(
        {name: np.zeros(256, np.int64) for name in names},
        {name: np.full(shape, NO_DECISION, np.uint8) for name in names},
        step,
    )
    px = mosaic.grid.tile_px // step * step or step
    for row in range(region.row, region.row_stop, px):
        for col in range(region.col, region.col_stop, px):
            _add(survey, mosaic, Window(row, col, px, px).intersect(region))
    return survey


def _add(survey: Survey, mosaic: Mosaic, window: Window) -> None:
    region = mosaic.grid.region
    row, col = (window.row - region.row) // survey.step, (window.col - region.col) // survey.step
    for name, picture in survey.pictures.items():
        values = as_bytes(mosaic.read(name, window))
        survey.counts[name][:] += np.bincount(values.ravel(), minlength=256)
        block = strongest(values, survey.step)
        picture[row : row + block.shape[0], col : col + block.shape[1]] = block


def strongest(values: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Highest number of each `step`² block; 255 (none) only where no pixel has one."""
    if step == 1:
        return values
    rows, cols = -values.shape[0] % step, -values.shape[1] % step
    # One more, so that none is 0 and loses.
    padded = np.pad(values + np.uint8(1), ((0, rows), (0, cols)))
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    highest: NDArray[np.uint8] = blocks.max(axis=(1, 3)) - np.uint8(1)
    return highest
