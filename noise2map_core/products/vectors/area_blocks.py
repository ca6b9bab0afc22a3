"""Connected areas of one class, found tile by tile and united along the seams, block by block.

Four by four tiles are a block, four by four blocks a larger one, until one is the region. An area
is finished in the first of these whose edge it does not touch, and is then let go: handed on are
those that touch it, as corners and sums. So no process ever holds more than lies along the seams of
sixteen blocks, and any of them may unite these.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from noise2map_core.geo.grid import Tile
from noise2map_core.mapping.measures import NOTHING_MORE, Measure
from noise2map_core.products.vectors.areas import Areas, Numbers, Source, joined, merged, traced
from noise2map_core.products.vectors.outlines import Ints
from noise2map_core.runtime.mapper import Mapper, here

SIDE = 4
"""Blocks along each side of a larger one."""
Finished = TypeVar("Finished")
Finish = Callable[[Areas], Finished]


def iter_areas(
    mosaic: Source,
    values: Sequence[int],
    finish: Finish[Finished],
    measure: Measure = NOTHING_MORE,
    mapper: Mapper = here,
) -> Iterator[Finished]:
    """What `finish` makes of the areas of `values` that hang together by pixel edges, as they are
    finished: of each tile, and of what was united in each block; with what `measure` asks for.

    Tiles are traced, and blocks united, by `mapper`; `finish` must be picklable where that is not
    this process. The order follows from the mosaic and its tiles alone.
    """
    tiles = list(mosaic.grid.tiles())
    first = Tile(min(tile.row for tile in tiles), min(tile.col for tile in tiles))
    last = Tile(max(tile.row for tile in tiles), max(tile.col for tile in tiles))
    span, rises = max(last.row - first.row, last.col - first.col), 0
    while span // SIDE**rises:
        rises += 1
    trace = partial(_traced, mosaic, values, measure, first)
    return _risen(trace, tiles, finish, rises, mapper)


class _Block(NamedTuple):
    """The areas that touch the edge of a tile, or of a block of them, counted from 1."""

    row: int
    col: int
    """Among the blocks of its size."""
    areas: Areas
    edges: "_Edges"


def _risen(
    make: Callable[[Any], _Block],
    parts: Iterable[Any],
    finish: Finish[Finished],
    rises: int,
    mapper: Mapper,
) -> Iterator[Finished]:
    """What is finished in the blocks that are made of `parts`, and in the larger ones of these."""
    with TemporaryFile() as file:
        waiting = _Waiting(file)
        work = partial(_let_go, make, finish, whole=not rises)
        for finished, block in mapper(work, parts):
            yield finished
            waiting.add(block)
        if rises:
            yield from _risen(_united, waiting.groups(), finish, rises - 1, mapper)


class _Waiting:
    """Blocks in a file, until those beside them are there."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._places: dict[tuple[int, int], list[int]] = {}
        """Where the blocks of each larger one begin."""

    def add(self, block: _Block) -> None:
        """Put a block aside."""
        where = block.row // SIDE, block.col // SIDE
        self._places.setdefault(where, []).append(self._file.tell())
        pickle.dump(block, self._file, pickle.HIGHEST_PROTOCOL)

    def groups(self) -> Iterator[list[_Block]]:
        """Those of each larger block."""
        return ([self._at(place) for place in places] for places in self._places.values())

    def _at(self, place: int) -> _Block:
        self._file.seek(place)
        block: _Block = pickle.load(self._file)
        return block


def _let_go(
    make: Callable[[Any], _Block], finish: Finish[Finished], part: Any, *, whole: bool
) -> tuple[Finished, _Block]:
    """What is finished in the block that is made of a part, and the block without it. Around the
    `whole` there is nothing."""
    block = make(part)
    touching = np.zeros(len(block.areas) + 1, np.bool_)
    for edge in () if whole else block.edges:
        touching[edge] = True
    outer = touching[1:]
    number = np.concatenate([[0], np.where(outer, np.cumsum(outer), 0)])
    left = _Block(block.row, block.col, block.areas.of(outer), block.edges.renumbered(number))
    return finish(block.areas.of(~outer)), left


def _traced(
    mosaic: Source, values: Sequence[int], measure: Measure, first: Tile, tile: Tile
) -> _Block:
    """All areas of a tile; rows and columns of tiles are counted from those of `first`."""
    areas, labels = traced(mosaic, mosaic.grid.window(tile), values, measure)
    return _Block(tile.row - first.row, tile.col - first.col, areas, _Edges.of(labels))


def _united(blocks: list[_Block]) -> _Block:
    """All areas of a larger block, those that touch between its blocks united."""
    starts = np.cumsum([0, *(len(block.areas) for block in blocks)]).tolist()
    edges = {
        (block.row, block.col): block.edges.counted_from(start)
        for block, start in zip(blocks, starts, strict=False)
    }
    held = joined([block.areas for block in blocks])
    one, other = (_joins(edges) - 1).T
    same = held.value[one] == held.value[other]
    group, count = _groups(len(held), one[same], other[same])
    row, col = (at // SIDE for at in (blocks[0].row, blocks[0].col))
    around = _around(edges, row * SIDE, col * SIDE)
    number = np.concatenate([[0], group + 1])
    return _Block(row, col, merged(held, group, count), around.renumbered(number))


class _Edges(NamedTuple):
    """Numbers of the areas along the edges of a block; 0 where there is none."""

    top: Numbers
    bottom: Numbers
    left: Numbers
    right: Numbers

    @classmethod
    def of(cls, labels: Numbers) -> "_Edges":
        """The edges of `labels`."""
        return cls(labels[0], labels[-1], labels[:, 0], labels[:, -1])

    def renumbered(self, number: Ints) -> "_Edges":
        """The same, each number looked up in `number`."""
        return _Edges(*(number[edge].astype(np.int32) for edge in self))

    def counted_from(self, start: int) -> "_Edges":
        """The same where so many areas come before."""
        return _Edges(*(np.where(edge > 0, edge + np.int32(start), 0) for edge in self))


def _joins(edges: dict[tuple[int, int], _Edges]) -> Ints:
    """[pair, 2] Numbers that lie side by side along the seams between blocks."""
    pairs = [np.zeros((0, 2), np.int64)]
    for (row, col), block in edges.items():
        if right := edges.get((row, col + 1)):
            pairs.append(_touching(block.right, right.left))
        if below := edges.get((row + 1, col)):
            pairs.append(_touching(block.bottom, below.top))
    return np.concatenate(pairs)


def _around(edges: dict[tuple[int, int], _Edges], row: int, col: int) -> _Edges:
    """The edges of the larger block whose first one is (row, col)."""
    nothing = np.zeros_like(next(iter(edges.values())).top)
    none, last = _Edges(nothing, nothing, nothing, nothing), SIDE - 1
    rows, cols = range(row, row + SIDE), range(col, col + SIDE)
    return _Edges(
        np.concatenate([edges.get((row, at), none).top for at in cols]),
        np.concatenate([edges.get((row + last, at), none).bottom for at in cols]),
        np.concatenate([edges.get((at, col), none).left for at in rows]),
        np.concatenate([edges.get((at, col + last), none).right for at in rows]),
    )


def _touching(one: Numbers, other: Numbers) -> Ints:
    """Pairs of numbers that lie side by side along two neighbouring edges."""
    both = (one > 0) & (other > 0)
    pairs = np.unique(one[both].astype(np.int64) << 32 | other[both])
    return np.stack([pairs >> 32, pairs & 0xFFFF_FFFF], axis=1)


def _groups(count: int, one: Ints, other: Ints) -> tuple[Ints, int]:
    """For each part, which is one with others in pairs, the number of its area; and how many there
    are."""
    if count == 0:
        return np.zeros(0, np.int64), 0
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    groups, group = connected_components(graph, directed=False)
    return group.astype(np.int64), groups
