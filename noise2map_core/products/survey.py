"""One pass over a mosaic: counts of everything, small pictures of the maps, and what does not look
right in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import (
    NO_DECISION,
    NO_PROBABILITY,
    PROBABILITY_SCALE,
    Mosaic,
    Reason,
)
from noise2map_core.products.styles.palette import reason_names
from noise2map_core.products.subject import MapSubject

MUCH_CHANGED = 0.5
"""Share of the decided pixels: between two dates of one place, most stays."""
MUCH_SUSPECTED = 0.01
"""Share of the area."""
SUSPECTED = (Reason.SUSPECTED_BEFORE, Reason.SUSPECTED_AFTER)


@dataclass(frozen=True)
class Survey:
    """What a mosaic holds, by array."""

    counts: dict[str, NDArray[np.int64]]
    """[256] How many pixels of the region have each number; of amounts each whole percent."""
    pictures: dict[str, NDArray[np.uint8]]
    """[H, W] The region thinned `step` times; 255 none."""
    step: int


def as_bytes(stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels of a mosaic's array as they are shown: amounts in whole percent, 255 none."""
    if stored.dtype == np.uint16:
        return np.asarray(_PERCENT[stored])
    return stored.astype(np.uint8)


_PERCENT = np.full(NO_PROBABILITY + 1, NO_DECISION, np.uint8)
"""Whole percents by stored number."""
_PERCENT[: PROBABILITY_SCALE + 1] = np.rint(
    np.arange(PROBABILITY_SCALE + 1) / (PROBABILITY_SCALE / 100)
)


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


def map_doubts(subject: MapSubject, survey: Survey) -> list[str]:
    """One sentence or more each, for people; none if all is well."""
    reasons = survey.counts["reason"]
    area = int(reasons.sum() - reasons[Reason.OUTSIDE])
    if not reasons[Reason.DECIDED]:
        return [_undecided(subject, survey)]
    return [*_much_changed(subject, survey), *_much_suspected(survey, area)]


def _undecided(subject: MapSubject, survey: Survey) -> str:
    """That the map says nothing at all, with the reasons."""
    counts = survey.counts["reason"]
    names = reason_names(one_date=not subject.before)
    found = sorted((r for r in Reason if counts[r]), key=lambda reason: -counts[reason])
    said = ", ".join(f"{names[reason]} {counts[reason]:,} pixels" for reason in found)
    return f"no pixel of the area has a decision: {said}. Set other dates or masks."


def _much_changed(subject: MapSubject, survey: Survey) -> list[str]:
    counts = survey.counts["class"]
    changed = sum(int(counts[value]) for value in subject.sought)
    share = changed / max(1, sum(int(counts[value]) for value in subject.names))
    if subject.task != "change" or share <= MUCH_CHANGED:
        return []
    return [
        f"{share:.0%} of the decided pixels are changed, which hardly any area is. See whether the "
        "dates are of one season and sensor and the checkpoint is for it, or raise "
        "products.threshold."
    ]


def _much_suspected(survey: Survey, area: int) -> list[str]:
    share = sum(int(survey.counts["reason"][reason]) for reason in SUSPECTED) / area
    if share <= MUCH_SUSPECTED:
        return []
    return [
        f"clouds are suspected on {share:.1%} of the area, which has no decision there. Set other "
        "dates or imagery with masks; mask.suspect false decides these pixels all the same."
    ]
