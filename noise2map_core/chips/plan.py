"""Which chips a store will hold: decided before its first pixel is written."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.grid import ChipLattice, RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.footprints import footprints_on
from noise2map_core.labels import IGNORE
from noise2map_core.labels.sources import Labels, LabelSource
from noise2map_core.labels.splits import SplitWindow
from noise2map_core.labels.survey import LabelSurvey
from noise2map_core.runtime.errors import ConfigError

BLOCK_CHIPS = 8
"""Chips are numbered by blocks of this many lattice rows and columns, so that neighbours, which
share pixels, come into one shard and are read together."""

EDGE_PX = 0.05
"""Footprints that reach less than this into a chip only touch it."""

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class ChipTable:
    """The chips of a store, in their order: one row each."""

    row: Int64
    col: Int64
    """Pixel of the grid at the upper left corner."""
    clip: Int64
    """[chip, 4] row, col, height, width of what is stored: the chip's pixels in its split's box."""
    split: NDArray[np.uint8]
    """Split code."""
    datetime: Int64
    """[chip, date] seconds since 1970, of the preferred scene; UNKNOWN_TIME where unknown."""
    items: NDArray[np.int32]
    """[chip, date, slot] numbers of the scenes that touch the chip, preferred first; -1: none."""
    crs: NDArray[np.unsignedinteger[Any]]
    """Code of the CRS in the store's table."""
    scene: NDArray[np.uint32]
    """[chip, date] code of the scene, one place at one time, in the store's table."""

    @property
    def num_chips(self) -> int:
        """Rows."""
        return len(self.row)

    def chosen(self, rows: NDArray[Any]) -> "ChipTable":
        """Some of the chips, by numbers or by a mask."""
        return ChipTable(*(getattr(self, entry.name)[rows] for entry in fields(self)))

    def followed_by(self, other: "ChipTable") -> "ChipTable":
        """These chips, then the others."""
        slots = max(self.items.shape[2], other.items.shape[2])
        one, two = (replace(table, items=_widened(table.items, slots)) for table in (self, other))
        pairs = ((getattr(one, f.name), getattr(two, f.name)) for f in fields(self))
        return ChipTable(*(np.concatenate(pair) for pair in pairs))

    def earlier(self, chip: int) -> list[int]:
        """Chips before this one that show the same place at the same times."""
        here = (self.row[:chip] == self.row[chip]) & (self.col[:chip] == self.col[chip])
        same = here & (self.datetime[:chip] == self.datetime[chip]).all(axis=1)
        same &= self.crs[:chip] == self.crs[chip]
        return np.flatnonzero(same).tolist()

    def window(self, chip: int, chip_px: int) -> Window:
        """All pixels of a chip."""
        return Window(int(self.row[chip]), int(self.col[chip]), chip_px, chip_px)

    def clipped(self, chip: int) -> Window:
        """The pixels of a chip that are stored."""
        return Window(*(int(value) for value in self.clip[chip]))


@dataclass(frozen=True)
class _Block:
    """Candidate chips of one block: corners and clips, one row each."""

    corners: Int64
    clips: Int64

    def kept(self, chosen: NDArray[np.bool_]) -> "_Block":
        return _Block(self.corners[chosen], self.clips[chosen])

    @property
    def cover(self) -> Window:
        """The smallest window that holds all clips."""
        top, left = self.clips[:, 0].min(), self.clips[:, 1].min()
        bottom = (self.clips[:, 0] + self.clips[:, 2]).max()
        right = (self.clips[:, 1] + self.clips[:, 3]).max()
        return Window(int(top), int(left), int(bottom - top), int(right - left))


def table_of(
    columns: Mapping[str, NDArray[Any]], gsd: float, origins: Sequence[Sequence[float]]
) -> ChipTable:
    """The table of a store's arrays of one row a chip; `clip` follows from `footprint`.

    `origins` [crs, (x, y)] are those of the pixels, by the code of the CRS.
    """
    west, south, east, north = columns["footprint"].T
    x_origin, y_origin = np.asarray(origins, np.float64)[columns["crs"]].T
    top, bottom = ((y_origin - edge) / gsd for edge in (north, south))
    left, right = ((edge - x_origin) / gsd for edge in (west, east))
    clip = np.round(np.stack([top, left, bottom - top, right - left], axis=1)).astype(np.int64)
    others = [entry.name for entry in fields(ChipTable) if entry.name != "clip"]
    return ChipTable(clip=clip, **{name: columns[name] for name in others})


def plan_chips(
    grid: RegionGrid,
    lattice: ChipLattice,
    boxes: Sequence[SplitWindow],
    dates: Sequence[Sequence[Scene]],
    labels: LabelSource | None,
    survey: LabelSurvey | None = None,
) -> ChipTable:
    """The chips that touch a box and the area, imaged at every date and, with `labels`, labelled.

    `dates` are the scenes of each date, preferred first; `items` counts through all of them. Reads
    the labels once, block by block, and adds to `survey` what they hold. Raises ConfigError if a
    split is left without chips.
    """
    splits = list(dict.fromkeys(box.split for box in boxes))
    touching = _Touching(grid, dates)
    blocks, codes, items = [], [], []
    for box in boxes:
        for block in _blocks(lattice, box.window):
            kept, found = _filtered(block, box, grid, touching, labels, survey or LabelSurvey())
            blocks.append(kept)
            codes.append(np.full(len(kept.corners), splits.index(box.split), np.uint8))
            items.extend(found)
    split = np.concatenate(codes)
    _require_every_split(split, splits, labels is not None)
    corners = np.concatenate([block.corners for block in blocks])
    clips = np.concatenate([block.clips for block in blocks])
    seconds = [int(scene.datetime.timestamp()) for scenes in dates for scene in scenes]
    table = _item_table(items)
    times = np.asarray(seconds, np.int64)[table[:, :, 0]]
    crs = np.zeros(len(corners), np.uint16)
    scene = np.tile(np.arange(len(dates), dtype=np.uint32), (len(corners), 1))
    return ChipTable(corners[:, 0], corners[:, 1], clips, split, times, table, crs, scene)


def read_labels(labels: LabelSource, grid: RegionGrid, window: Window) -> dict[str, Labels]:
    """Labels of a window; outside the area of interest nothing is labelled."""
    geobox = grid.geobox(window)
    found = labels.read(geobox)
    outside = geometry_mask([grid.outline], geobox.shape, geobox.affine)
    for values in found.values():
        values[..., outside] = IGNORE
    return found


class _Touching:
    """Which scenes of each date touch a box."""

    def __init__(self, grid: RegionGrid, dates: Sequence[Sequence[Scene]]) -> None:
        self._margin = EDGE_PX * grid.resolution
        self._trees = [shapely.STRtree(footprints_on(grid, scenes)) for scenes in dates]
        self._starts = np.cumsum([0, *(len(scenes) for scenes in dates)])

    def items(self, polygons: NDArray[np.object_]) -> list[list[list[int]]]:
        """Per polygon and date the numbers of the scenes, in their order."""
        inner = shapely.buffer(polygons, -self._margin, join_style="mitre")
        found: list[list[list[int]]] = [[[] for _ in self._trees] for _ in polygons]
        for date, tree in enumerate(self._trees):
            for polygon, scene in sorted(tree.query(inner, predicate="intersects").T.tolist()):
                found[polygon][date].append(int(self._starts[date]) + scene)
        return found


def _blocks(lattice: ChipLattice, box: Window) -> Iterator[_Block]:
    """All chips that touch a box, by blocks anchored to the lattice."""
    side = BLOCK_CHIPS * lattice.stride_px
    cover = lattice.cover(box)
    for row in range(math.floor(cover.row / side) * side, cover.row_stop, side):
        for col in range(math.floor(cover.col / side) * side, cover.col_stop, side):
            chips = [
                (chip, chip.intersect(box))
                for chip in _block_chips(lattice, row, col)
                if not chip.intersect(box).is_empty
            ]
            if chips:
                yield _Block(
                    np.asarray([(chip.row, chip.col) for chip, _ in chips], np.int64),
                    np.asarray([(c.row, c.col, c.height, c.width) for _, c in chips], np.int64),
                )


def _block_chips(lattice: ChipLattice, row: int, col: int) -> Iterator[Window]:
    starts = range(0, BLOCK_CHIPS * lattice.stride_px, lattice.stride_px)
    for down in starts:
        for right in starts:
            yield Window(row + down, col + right, lattice.chip_px, lattice.chip_px)


def _filtered(
    block: _Block,
    box: SplitWindow,
    grid: RegionGrid,
    touching: _Touching,
    labels: LabelSource | None,
    survey: LabelSurvey,
) -> tuple[_Block, list[list[list[int]]]]:
    """The chips of a block that are worth storing, and the scenes that touch them."""
    polygons = np.asarray([grid.bounds_polygon(Window(*clip)) for clip in block.clips.tolist()])
    items = touching.items(polygons)
    chosen = np.asarray([all(dates) for dates in items])
    chosen &= shapely.intersects(grid.outline, polygons)
    if box.within is not None:
        chosen &= shapely.covers(box.within, polygons)
    if labels is not None and chosen.any():
        chosen[chosen] = _labelled(block.kept(chosen), grid, labels, survey)
    return block.kept(chosen), [found for found, keep in zip(items, chosen, strict=True) if keep]


def _labelled(
    block: _Block, grid: RegionGrid, labels: LabelSource, survey: LabelSurvey
) -> list[bool]:
    """Which chips have a labelled pixel."""
    found = read_labels(labels, grid, block.cover)
    known = np.logical_or.reduce(
        [(layer != IGNORE).reshape(-1, *layer.shape[-2:]).any(axis=0) for layer in found.values()]
    )
    places = [Window(*clip).slices_in(block.cover) for clip in block.clips.tolist()]
    shown = _shown(places, grid, block.cover)
    survey.add(found, shown)
    if not known[shown].all():
        for values, nothing in labels.unnamed(grid.geobox(block.cover)):
            survey.add_unnamed(values, nothing & shown)
    return [bool(known[place].any()) for place in places]


def _shown(places: list[tuple[slice, slice]], grid: RegionGrid, cover: Window) -> NDArray[np.bool_]:
    """[H, W] the pixels of a window that chips show, in the area."""
    geobox, shown = grid.geobox(cover), np.zeros((cover.height, cover.width), np.bool_)
    for place in places:
        shown[place] = True
    return shown & ~geometry_mask([grid.outline], geobox.shape, geobox.affine)


def _item_table(items: list[list[list[int]]]) -> NDArray[np.int32]:
    slots = max(len(found) for dates in items for found in dates)
    padded = [[found + [-1] * (slots - len(found)) for found in dates] for dates in items]
    return np.asarray(padded, np.int32)


def _widened(items: NDArray[np.int32], slots: int) -> NDArray[np.int32]:
    missing = slots - items.shape[2]
    return np.pad(items, ((0, 0), (0, 0), (0, missing)), constant_values=-1)


def _require_every_split(split: NDArray[np.uint8], names: list[str], labelled: bool) -> None:
    needed = "imagery of every date and labels" if labelled else "imagery of every date"
    for code, name in enumerate(names):
        if not (split == code).any():
            raise ConfigError(
                f"no chip of split {name} has {needed}. Set other split places "
                "(boxes, blocks, areas), or another area."
            )
