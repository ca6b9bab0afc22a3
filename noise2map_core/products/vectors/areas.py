"""Connected areas of one class, found tile by tile and finished as early as can be.

An area is finished as soon as no tile that is still to come can touch it, and is then let go: what
is held at a time are the areas that reach into the next row of tiles, as corners and sums.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.mapping.measures import NOTHING_MORE, Measure, Measured, totals
from noise2map_core.mapping.measures import joined as joined_measures
from noise2map_core.mapping.mosaic import NO_PROBABILITY, PROBABILITY_SCALE
from noise2map_core.products.pixel_area import pixel_areas
from noise2map_core.products.vectors.outlines import Corners, Ints, added, corners_of
from noise2map_core.runtime.mapper import Mapper, here


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


def iter_areas(
    mosaic: Source,
    values: Sequence[int],
    measure: Measure = NOTHING_MORE,
    mapper: Mapper = here,
) -> Iterator[Areas]:
    """The areas of `values` that hang together by pixel edges, in batches, as they are finished;
    with what `measure` asks for.

    Tiles are traced by `mapper`; what touches their seams is united here. The order follows from
    the mosaic and its tiles alone.
    """
    tiles = list(mosaic.grid.tiles())
    traced = mapper(partial(_traced, mosaic, values, measure), tiles)
    rows = _TileRows(mosaic.grid, measure)
    for row, several in groupby(zip(tiles, traced, strict=True), key=lambda one: one[0].row):
        yield from rows.finished_by(row, several)
    yield rows.open


@dataclass(frozen=True, slots=True)
class _Traced:
    """The areas of one tile."""

    inner: Areas
    """Those that touch no edge."""
    outer: Areas
    edges: "_Edges"
    """Where these touch it, counted from 1."""


class _TileRows:
    """The areas that rows of tiles leave open."""

    def __init__(self, grid: RegionGrid, measure: Measure) -> None:
        self._grid, self._measure = grid, measure
        self._frame = grid.tile_frame
        self._row: int | None = None
        self._reset()

    def _reset(self) -> None:
        self.open = _none(self._measure)
        self._below = np.zeros(self._frame.width, np.int64)
        """Along the lower edge of the last row of tiles: the open area, counted from 1; else 0."""

    def finished_by(self, row: int, tiles: Iterable[tuple[Tile, _Traced]]) -> Iterator[Areas]:
        """Go on by a row of tiles; yields the areas that cannot grow any more."""
        if self._row is not None and row != self._row + 1:
            yield self.open
            self._reset()
        self._row = row
        held, number, joins = [self.open], len(self.open), []
        lower = np.zeros_like(self._below)
        left: tuple[int, Ints] | None = None
        for tile, traced in tiles:
            yield traced.inner
            held.append(traced.outer)
            edges = traced.edges.counted_from(number)
            number += len(traced.outer)
            window = self._grid.window(tile)
            cols = slice(window.col - self._frame.col, window.col_stop - self._frame.col)
            joins.append(_touching(self._below[cols], edges.top))
            if left is not None and left[0] == tile.col - 1:
                joins.append(_touching(left[1], edges.left))
            left, lower[cols] = (tile.col, edges.right), edges.bottom
        yield self._close(joined(held), np.concatenate(joins), lower)

    def _close(self, held: Areas, joins: Ints, lower: Ints) -> Areas:
        """Unite what touches; keep open what reaches the lower edge, and return the rest."""
        one, other = (joins - 1).T
        group, count = _groups(len(held), joins[held.value[one] == held.value[other]])
        merged = _merged(held, group, count)
        reaching = np.zeros(count, np.bool_)
        at = lower > 0
        reaching[group[lower[at] - 1]] = True
        self.open = merged.of(reaching)
        self._below = np.zeros_like(lower)
        self._below[at] = (np.cumsum(reaching))[group[lower[at] - 1]]
        return merged.of(~reaching)


def _none(measure: Measure) -> Areas:
    return Areas(
        _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, np.zeros(0),
        Corners(_NOTHING, _NOTHING, _NOTHING, _NOTHING), measure.nothing(),
    )  # fmt: skip


def _traced(mosaic: Source, values: Sequence[int], measure: Measure, tile: Tile) -> _Traced:
    window = mosaic.grid.window(tile)
    labels, value = _label(mosaic.read("class", window), values)
    if not len(value):
        none = _none(measure)
        return _Traced(none, none, _Edges.of(labels, np.zeros(1, np.int64)))
    areas = _measured(mosaic, window, labels, value, measure)
    touching = np.zeros(len(value) + 1, np.bool_)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touching[edge] = True
    outer = touching[1:]
    renumbered = np.concatenate([[0], np.where(outer, np.cumsum(outer), 0)])
    return _Traced(areas.of(~outer), areas.of(outer), _Edges.of(labels, renumbered))


@dataclass(frozen=True, slots=True)
class _Edges:
    """Numbers of the areas along the edges of a tile; 0 where there is none."""

    top: Ints
    bottom: Ints
    left: Ints
    right: Ints

    @classmethod
    def of(cls, labels: NDArray[np.int32], number: Ints) -> "_Edges":
        """The edges of `labels`, whose values are looked up in `number`."""
        return cls(
            number[labels[0]], number[labels[-1]], number[labels[:, 0]], number[labels[:, -1]]
        )

    def counted_from(self, number: int) -> "_Edges":
        """The same where so many areas come before."""
        four = (self.top, self.bottom, self.left, self.right)
        return _Edges(*(np.where(edge > 0, edge + number, 0) for edge in four))


def _label(
    classes: NDArray[np.uint8], values: Sequence[int]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
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
    mosaic: Source, window: Window, labels: NDArray[np.int32], value: Ints, measure: Measure
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


def _touching(one: Ints, other: Ints) -> Ints:
    """Pairs of numbers that lie side by side along two neighbouring edges."""
    both = (one > 0) & (other > 0)
    return np.unique(np.stack([one[both], other[both]], axis=1), axis=0)


def _groups(count: int, joins: Ints) -> tuple[Ints, int]:
    """For each part, counted from 1 in `joins`, the number of its area; and how many there are."""
    if count == 0:
        return np.zeros(0, np.int64), 0
    one, other = (joins - 1).T
    graph = coo_array((np.ones(len(joins), np.int8), (one, other)), shape=(count, count))
    groups, group = connected_components(graph, directed=False)
    return group.astype(np.int64), groups


def _merged(parts: Areas, group: Ints, count: int) -> Areas:
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
