"""Places for training, validation and testing, as windows of the grid."""

from dataclasses import dataclass
from itertools import combinations

from noise2map_core.errors import ConfigError
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.config import Box, SplitConfig

WHOLE = "train"
"""The split of everything where no boxes are set."""


@dataclass(frozen=True, slots=True)
class SplitWindow:
    """One box of a split: the pixels that its chips may show."""

    split: str
    window: Window


def plan_splits(config: SplitConfig, grid: RegionGrid) -> list[SplitWindow]:
    """The boxes of all splits on the grid, clipped to the region, in the order of the settings.

    A pixel belongs to a box if its centre lies inside. Raises ConfigError if a box misses the
    region, or boxes of different splits are nearer than the buffer.
    """
    if not config.boxes:
        return [SplitWindow(WHOLE, grid.region)]
    found = [
        SplitWindow(split, _window(split, box, grid))
        for split, boxes in config.boxes.items()
        for box in boxes
    ]
    for one, other in combinations(found, 2):
        if one.split != other.split and gap_px(one.window, other.window) < config.buffer_px:
            raise ConfigError(
                f"split boxes of {one.split} and {other.split} are "
                f"{gap_px(one.window, other.window)} pixels apart, less than split.buffer_px "
                f"{config.buffer_px}: training would see what it is judged on. Move the boxes."
            )
    return found


def gap_px(one: Window, other: Window) -> int:
    """Pixels between two windows, by rows or columns, whichever is more; 0 if they touch."""
    rows = max(one.row, other.row) - min(one.row_stop, other.row_stop)
    cols = max(one.col, other.col) - min(one.col_stop, other.col_stop)
    return max(rows, cols, 0)


def _window(split: str, box: Box, grid: RegionGrid) -> Window:
    west, south, east, north = box
    if not (west < east and south < north):
        raise ConfigError(
            f"split box {list(box)} of {split} is not (west, south, east, north). Mend split.boxes."
        )
    row, row_stop = (round((grid.y_origin - y) / grid.resolution) for y in (north, south))
    col, col_stop = (round((x - grid.x_origin) / grid.resolution) for x in (west, east))
    window = Window(row, col, row_stop - row, col_stop - col).intersect(grid.region)
    if window.is_empty:
        extent = ", ".join(f"{edge:.12g}" for edge in grid.bounds_polygon(grid.region).bounds)
        raise ConfigError(
            f"split box {list(box)} of {split} lies outside the region, which spans ({extent}) in "
            f"{grid.crs}. Set split.boxes in that CRS."
        )
    return window
