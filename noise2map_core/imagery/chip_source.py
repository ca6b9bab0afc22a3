"""The pixels of a shard of chips, read from scenes and labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.window import Window
from noise2map_core.imagery.chip_plan import BLOCK_CHIPS, ChipTable, read_labels
from noise2map_core.imagery.chip_store import CHIPS_PER_SHARD, IGNORE, Columns
from noise2map_core.imagery.chip_writer import (
    ShardContent,
    ShardRecord,
    StoreHeader,
    write_shard,
)
from noise2map_core.imagery.config import ChipsConfig
from noise2map_core.imagery.labels import LabelSource
from noise2map_core.imagery.reader import read_pixels


@dataclass(frozen=True)
class ChipJob:
    """All that a worker needs to make any shard of one store. Picklable, read-only."""

    store: Path
    chips: ChipsConfig
    header: StoreHeader
    dates: tuple[tuple[Scene, ...], ...]
    """Scenes of each date, the preferred one first."""
    labels: LabelSource | None
    table: ChipTable

    @property
    def num_shards(self) -> int:
        """Shards of the store."""
        return -(-len(self.table.row) // CHIPS_PER_SHARD)


def make_shard(job: ChipJob, shard: int) -> ShardRecord:
    """Read, write and record one shard. Raises AssetReadError; OSError if it cannot be written."""
    start = shard * CHIPS_PER_SHARD
    chips = range(start, min(start + CHIPS_PER_SHARD, len(job.table.row)))
    names = np.asarray(job.header.splits)[job.table.split[chips.start : chips.stop]]
    content = ShardContent(read_chips_of(job, chips), names, _counted(job, chips))
    return write_shard(job.store, shard, content)


def read_chips_of(job: ChipJob, chips: range) -> Columns:
    """Image, valid and, if there are labels, label_change of consecutive chips.

    Chips of one block overlap: their common window is read once.
    """
    groups = [_read_group(job, group) for group in _groups(job, chips)]
    return {name: np.concatenate([group[name] for group in groups]) for name in groups[0]}


def _counted(job: ChipJob, chips: range) -> NDArray[np.bool_]:
    """[chip, y, x] stored pixels in the chips' middles, which cover the ground without overlap."""
    px, stride = job.chips.chip_px, job.chips.stride_px
    halo = (px - stride) // 2
    counted = np.zeros((len(chips), px, px), np.bool_)
    for number, chip in enumerate(chips):
        whole = job.table.window(chip, px)
        middle = Window(whole.row + halo, whole.col + halo, stride, stride)
        counted[(number, *middle.intersect(job.table.clipped(chip)).slices_in(whole))] = True
    return counted


def _groups(job: ChipJob, chips: range) -> Iterator[list[int]]:
    """Consecutive chips of the same split and block."""
    side, table = BLOCK_CHIPS * job.chips.stride_px, job.table

    def place(chip: int) -> tuple[int, int, int]:
        return int(table.split[chip]), int(table.row[chip]) // side, int(table.col[chip]) // side

    for _, group in groupby(chips, place):
        yield list(group)


def _read_group(job: ChipJob, chips: list[int]) -> Columns:
    clips = [job.table.clipped(chip) for chip in chips]
    cover = clips[0]
    for clip in clips[1:]:
        cover = cover.union(clip)
    geobox = job.header.grid.geobox(cover)
    pixels = [read_pixels(scenes, geobox, job.chips.resampling) for scenes in job.dates]
    image, valid = (np.stack(part) for part in zip(*pixels, strict=True))
    windows = [job.table.window(chip, job.chips.chip_px) for chip in chips]
    places = list(zip(windows, clips, strict=True))
    sources: dict[str, tuple[NDArray[Any], int]] = {"image": (image, 0), "valid": (valid, 0)}
    if job.labels is not None:
        sources["label_change"] = (read_labels(job.labels, job.header.grid, cover), IGNORE)
    return {
        name: np.stack([placed(pixels, *place, cover, fill) for place in places])
        for name, (pixels, fill) in sources.items()
    }


def placed(
    source: NDArray[Any], chip: Window, clip: Window, cover: Window, fill: int
) -> NDArray[Any]:
    """The chip's pixels [..., chip_px, chip_px]: those of `clip`, `fill` elsewhere."""
    pixels = np.full((*source.shape[:-2], chip.height, chip.width), fill, source.dtype)
    pixels[(..., *clip.slices_in(chip))] = source[(..., *clip.slices_in(cover))]
    return pixels
