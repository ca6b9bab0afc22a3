"""One pass over a mosaic: counts of everything, small pictures of the maps, and what does not look
right in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
from noise2map_core.runtime.mapper import Mapper, here
from noise2map_core.runtime.progress import progress

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


def survey_mosaic(
    mosaic: Mosaic, names: Sequence[str], longest_px: int, mapper: Mapper = here
) -> Survey:
    """Read the arrays once, window by window, by `mapper`. Pictures have at most `longest_px` a
    side.

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
    windows = _windows(mosaic, step)
    with progress(len(windows), "survey", "window") as bar:
        seen = mapper(partial(_seen, mosaic, tuple(names), step), windows)
        for window, blocks in zip(windows, seen, strict=True):
            row, col = (window.row - region.row) // step, (window.col - region.col) // step
            for name, (counts, block) in blocks.items():
                survey.counts[name][:] += counts
                survey.pictures[name][row : row + len(block), col : col + block.shape[1]] = block
            bar.update()
    return survey


def _windows(mosaic: Mosaic, step: int) -> list[Window]:
    """The region by windows of whole blocks, about as large as tiles."""
    region, px = mosaic.grid.region, mosaic.grid.tile_px // step * step or step
    return [
        Window(row, col, px, px).intersect(region)
        for row in range(region.row, region.row_stop, px)
        for col in range(region.col, region.col_stop, px)
    ]


def _seen(
    mosaic: Mosaic, names: Sequence[str], step: int, window: Window
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """By array, the counts [256] and the picture of a window."""
    shown = {name: as_bytes(mosaic.read(name, window)) for name in names}
    return {name: (counted(values), strongest(values, step)) for name, values in shown.items()}


def counted(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many of `values` are 0, 1, … 255. Two are counted at once: numpy makes a wide integer of
    each number that it counts."""
    flat = np.ascontiguousarray(values).ravel()
    pairs = np.bincount(flat[: len(flat) // 2 * 2].view(np.uint16), minlength=1 << 16)
    square = pairs.reshape(256, 256)
    counts: NDArray[np.int64] = square.sum(axis=0) + square.sum(axis=1)
    if len(flat) % 2:
        counts[flat[-1]] += 1
    return counts


def strongest(values: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Highest number of each `step`² block; 255 (none) only where no pixel has one."""
    if step == 1:
        return values
    rows, cols = -values.shape[0] % step, -values.shape[1] % step
    # One more, so that none is 0 and loses.
    padded = np.pad(values + np.uint8(1), ((0, rows), (0, cols)))
    thin = padded.reshape(len(padded) // step, step, padded.shape[1]).max(axis=1)
    highest: NDArray[np.uint8] = thin.reshape(len(thin), -1, step).max(axis=2) - np.uint8(1)
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
