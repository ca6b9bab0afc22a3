"""Outlines of areas made of pixels, in whole numbers.

An area of pixels is known by its corners alone. The corner (row, col) is the upper left corner of
that pixel; its weight is

    inside[row, col] − inside[row−1, col] − inside[row, col−1] + inside[row−1, col−1],

and it is a corner of the outline if that is not 0. Weights are additive: those of an area that lies
in several tiles are the sums over its parts, and where parts meet they cancel. So an outline does
not depend on how the area was cut, and no geometry ever has to be united.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Corners:
    """Corners of several areas, sorted by area, row and column; no corner of an area twice."""

    area: Ints
    """[corner] Which area it is a corner of, from 0."""
    row: Ints
    col: Ints
    weight: Ints
    """−2 to 2, never 0."""

    def __len__(self) -> int:
        return len(self.area)

    def of(self, wanted: NDArray[np.bool_]) -> "Corners":
        """The corners of those areas [area] that are wanted, which are counted anew."""
        kept = wanted[self.area]
        number = np.cumsum(wanted) - 1
        return Corners(number[self.area[kept]], self.row[kept], self.col[kept], self.weight[kept])


def added(area: Ints, row: Ints, col: Ints, weight: Ints) -> Corners:
    """Corners in any order, those at one place added up."""
    order = np.lexsort((col, row, area))
    area, row, col = area[order], row[order], col[order]
    fresh = np.ones(len(area), np.bool_)
    fresh[1:] = (np.diff(area) != 0) | (np.diff(row) != 0) | (np.diff(col) != 0)
    first = np.flatnonzero(fresh)
    total = np.add.reduceat(weight[order], first) if len(first) else weight
    at = first[total != 0]
    return Corners(area[at], row[at], col[at], total[total != 0])


def corners_of(labels: NDArray[np.int32], row: int, col: int) -> Corners:
    """Corners of the areas 1, 2, … (counted from 0 afterwards) of `labels` [H, W].

    The upper left pixel of `labels` is (row, col). Beyond the array nothing is inside.
    """
    padded = np.pad(labels, 1)
    quadrants = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    nw, ne, sw, se = quadrants
    bends = ((nw != ne) | (sw != se)) & ((nw != sw) | (ne != se))
    rows, cols = np.nonzero(bends)
    area = np.concatenate([quadrant[rows, cols] for quadrant in quadrants]).astype(np.int64) - 1
    weight = np.repeat(np.array([1, -1, -1, 1]), len(rows))
    inside = area >= 0
    return added(
        area[inside],
        np.tile(rows + row, 4)[inside],
        np.tile(cols + col, 4)[inside],
        weight[inside],
    )


def polygons_of(corners: Corners) -> NDArray[np.object_]:
    """One shapely polygon for each area, x = column and y = row.

    Areas must hang together by pixel edges. Outer rings run clockwise as seen with rows downwards,
    which is counter-clockwise on a map with north up; holes the other way. Vertices are corners
    only. Where an area touches itself at a point, the rings touch there: all polygons are valid.
    """
    if not len(corners):
        return np.zeros(0, np.object_)
    nodes = _split_double(corners)
    along_row, along_col = _row_partners(nodes), _col_partners(nodes)
    start, order, ring = _rings(along_row, along_col)
    return _assembled(nodes, along_col, start, order, ring)


def _split_double(corners: Corners) -> Corners:
    """A corner of weight ±2, where pixels meet diagonally, as two nodes of half the weight.

    The first turns from its row upwards, the second downwards, each around a pixel *outside*: the
    two lie on different rings, because the area hangs together around one of them.
    """
    repeated = np.repeat(np.arange(len(corners)), np.abs(corners.weight))
    return Corners(
        corners.area[repeated], corners.row[repeated], corners.col[repeated],
        corners.weight[repeated],
    )  # fmt: skip


def _row_partners(nodes: Corners) -> Ints:
    """For each node the one at the other end of its edge along the row."""
    order = np.arange(len(nodes))
    # Inside are north-west and south-east: the first node bounds the pixel in the north-east, and
    # so has the edge to the right.
    twice = np.flatnonzero(nodes.weight == 2)
    order[twice] = twice.reshape(-1, 2)[:, ::-1].ravel()
    return _paired(order)


def _col_partners(nodes: Corners) -> Ints:
    """For each node the one at the other end of its edge along the column."""
    return _paired(np.lexsort((np.arange(len(nodes)), nodes.row, nodes.col, nodes.area)))


def _paired(order: Ints) -> Ints:
    """Neighbours in `order`, two by two."""
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def _rings(along_row: Ints, along_col: Ints) -> tuple[Ints, Ints, Ints]:
    """First node of each ring (ascending), every second node of all rings in order, their ring.

    Rings are walked down from their first node, along a column and then along a row.
    """
    following = along_row[along_col]
    number = len(following)
    graph = coo_array((np.ones(number, np.int8), (np.arange(number), following)))
    count, cycle = connected_components(graph, directed=True, connection="weak")
    first = np.empty(count, np.int64)
    first[cycle[::-1]] = np.arange(number)[::-1]  # the last to be written is the smallest
    # Walked the other way round, the nodes between make a second cycle of the same ring.
    forward = first < first[cycle[along_col[first]]]
    start = np.sort(first[forward])
    ring_of = np.full(count, -1, np.int64)
    ring_of[cycle[start]] = np.arange(len(start))
    ring = ring_of[cycle]
    walked = np.flatnonzero(ring >= 0)
    left = _steps_left(following, walked, start)
    order = walked[np.lexsort((-left, ring[walked]))]
    return start, order, ring[order]


def _steps_left(following: Ints, walked: Ints, start: Ints) -> Ints:
    """For each node of `walked`, the steps to its ring's last node (list ranking by doubling)."""
    place = np.empty(len(following), np.int64)
    place[walked] = np.arange(len(walked))
    ahead = place[following[walked]]
    is_start = np.zeros(len(walked), np.bool_)
    is_start[place[start]] = True
    last = is_start[ahead]
    ahead[last] = np.flatnonzero(last)
    left = np.where(last, 0, 1)
    while not last[ahead].all():
        left += left[ahead]
        ahead = ahead[ahead]
    return left


def _assembled(
    nodes: Corners, along_col: Ints, start: Ints, order: Ints, ring: Ints
) -> NDArray[np.object_]:
    """Rings to polygons; the first ring of an area is its outer one."""
    area = nodes.area[start]
    outer = np.ones(len(start), np.bool_)
    outer[1:] = np.diff(area) != 0
    size = 2 * np.bincount(ring)
    offsets = np.concatenate([[0], np.cumsum(size)])
    path = np.stack([order, along_col[order]], axis=1).ravel()
    path = path[_holes_reversed(offsets, outer)]
    closed = np.insert(path, offsets[1:], path[offsets[:-1]])
    coordinates = np.stack([nodes.col[closed], nodes.row[closed]], axis=1).astype(np.float64)
    rings = offsets + np.arange(len(offsets))
    bounds = np.append(np.flatnonzero(outer), len(start))
    polygons: NDArray[np.object_] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, coordinates, (rings, bounds)
    )
    return polygons


def _holes_reversed(offsets: Ints, outer: NDArray[np.bool_]) -> Ints:
    """Positions that turn the paths of holes round."""
    size = np.diff(offsets)
    at = np.arange(offsets[-1])
    mirrored = np.repeat(offsets[:-1] + offsets[1:] - 1, size) - at
    return np.where(np.repeat(outer, size), at, mirrored)
