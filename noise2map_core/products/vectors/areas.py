"""Connected areas of one class in a window, as corners and sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.measures import Measure, Measured, totals
from noise2map_core.mapping.measures import joined as joined_measures
from noise2map_core.mapping.mosaic import NO_PROBABILITY, PROBABILITY_SCALE
from noise2map_core.products.pixel_area import pixel_areas
from noise2map_core.products.vectors.outlines import Corners, Ints, added, corners_of

Numbers = NDArray[np.int32]


class Source(Protocol):
    """Where classes come from: a mosaic, or what looks like one."""

    @property
    def grid(self) -> RegionGrid:
        """Its pixels and tiles."""

    def read(self, name: str, window: Window) -> NDArray[Any]:
        """Of "class" and "probability" the pixels in a window, types as of a mosaic."""


@dataclass(frozen=True, slots=True)
class Areas:
    """Sums over the pixels of several areas, each array [area], and their corners."""

    value: Ints
    """Class."""
    first_row: Ints
    """Of the first pixel by rows, on the anchored grid."""
    first_col: Ints
    pixels: Ints
    probability: Ints
    """Sum over the pixels, as stored (units of 1 / PROBABILITY_SCALE)."""
    area_m2: NDArray[np.float64]
    corners: Corners
    more: Measured
    """What else was to be measured."""

    def __len__(self) -> int:
        return len(self.value)

    @property
    def mean_probability(self) -> NDArray[np.float64]:
        """Mean over the pixels, 0–1."""
        return self.probability / self.pixels / PROBABILITY_SCALE

    def of(self, wanted: NDArray[np.bool_]) -> "Areas":
        """Those areas [area] that are wanted."""
        return Areas(
            self.value[wanted], self.first_row[wanted], self.first_col[wanted],
            self.pixels[wanted], self.probability[wanted], self.area_m2[wanted],
            self.corners.of(wanted), self.more.of(wanted),
        )  # fmt: skip


def joined(several: Sequence[Areas]) -> Areas:
    """All areas in one table, one table after the other."""

    def all_of(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(areas, name) for areas in several])

    start = np.cumsum([0, *(len(areas) for areas in several)])
    corners = [areas.corners for areas in several]
    return Areas(
        all_of("value"), all_of("first_row"), all_of("first_col"),
        all_of("pixels"), all_of("probability"), all_of("area_m2"),
        Corners(
            np.concatenate([c.area + shift for c, shift in zip(corners, start, strict=False)]),
            np.concatenate([c.row for c in corners]),
            np.concatenate([c.col for c in corners]),
            np.concatenate([c.weight for c in corners]),
        ),
        joined_measures([areas.more for areas in several]),
    )  # fmt: skip


def _none(measure: Measure) -> Areas:
    return Areas(
        _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, np.zeros(0),
        Corners(_NOTHING, _NOTHING, _NOTHING, _NOTHING), measure.nothing(),
    )  # fmt: skip


def traced(
    mosaic: Source, window: Window, values: Sequence[int], measure: Measure
) -> tuple[Areas, Numbers]:
    """The areas of `values` in a window, and their numbers [H, W] there, from 1; 0 elsewhere."""
    labels, value = _label(mosaic.read("class", window), values)
    if not len(value):
        return _none(measure), labels
    return _measured(mosaic, window, labels, value, measure), labels


def _label(classes: NDArray[np.uint8], values: Sequence[int]) -> tuple[Numbers, Ints]:
    """Areas of the classes `values`, numbered from 1 in an image; and the class of each."""
    labels = np.zeros(classes.shape, np.int32)
    found: list[int] = []
    for value in values:
        inside = classes == value
        if inside.any():
            part, count = ndimage.label(inside)
            labels[inside] = part[inside] + len(found)
            found += [value] * count
    return labels, np.array(found, np.int64)


def _measured(
    mosaic: Source, window: Window, labels: Numbers, value: Ints, measure: Measure
) -> Areas:
    at = np.flatnonzero(labels)
    number = labels.ravel()[at] - 1
    stored = mosaic.read("probability", window).ravel()[at].astype(np.int64)
    probability = np.where(stored == NO_PROBABILITY, 0, stored)
    area = pixel_areas(mosaic.grid, window).ravel()[at]
    first = np.empty(len(value), np.int64)
    first[number[::-1]] = at[::-1]  # the last to be written is the smallest
    count = len(value)
    return Areas(
        value,
        first // window.width + window.row,
        first % window.width + window.col,
        np.bincount(number, minlength=count),
        totals(number, probability, count),
        np.bincount(number, area, count).astype(np.float64),
        corners_of(labels, window.row, window.col),
        measure.over(window, at, number, area, count),
    )


def merged(parts: Areas, group: Ints, count: int) -> Areas:
    """The areas that the parts [part] of each group 0 … count − 1 make together."""
    order = np.lexsort((parts.first_col, parts.first_row, group))
    lead = order[np.flatnonzero(np.diff(group[order], prepend=-1))]
    corners = parts.corners
    return Areas(
        parts.value[lead],
        parts.first_row[lead],
        parts.first_col[lead],
        totals(group, parts.pixels, count),
        totals(group, parts.probability, count),
        np.bincount(group, parts.area_m2, count).astype(np.float64),
        added(group[corners.area], corners.row, corners.col, corners.weight),
        parts.more.merged(group, count),
    )


_NOTHING = np.zeros(0, np.int64)
