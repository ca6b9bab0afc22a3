"""The pixels of a shard of chips, read from scenes and labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.plan import BLOCK_CHIPS, ChipTable, read_labels
from noise2map_core.chips.sources import Ingest
from noise2map_core.chips.store import CHIPS_PER_SHARD, Columns, open_store
from noise2map_core.chips.writer import (
    ShardContent,
    ShardRecord,
    StoreHeader,
    counted_pixels,
    write_shard,
)
from noise2map_core.geo.window import Window
from noise2map_core.imagery.composite import read_date
from noise2map_core.labels import IGNORE


@dataclass(frozen=True)
class ChipJob:
    """All that a worker needs to make any shard of one store. Picklable, read-only."""

    store: Path
    """Where shards are written: the store or, for an append, what is staged beside it."""
    header: StoreHeader
    ingests: tuple[Ingest, ...]
    table: ChipTable
    kept: Path | None = None
    """The store that is appended to: chips before the last ingest's are copied from it."""

    @property
    def num_shards(self) -> int:
        """Shards of the store."""
        return -(-self.table.num_chips // CHIPS_PER_SHARD)

    @property
    def first_shard(self) -> int:
        """The first shard that is to be written."""
        return 0 if self.kept is None else self.ingests[-1].first // CHIPS_PER_SHARD


def make_shard(job: ChipJob, shard: int) -> ShardRecord:
    """Read, write and record one shard. Raises AssetReadError; OSError if it cannot be written."""
    start = shard * CHIPS_PER_SHARD
    chips = range(start, min(start + CHIPS_PER_SHARD, job.table.num_chips))
    mine = slice(chips.start, chips.stop)
    splits, places = (names[mine] for names in job.header.names_of(job.table))
    counted = counted_pixels(job.table, chips, job.header)
    content = ShardContent(read_chips_of(job, chips), splits, places, counted)
    return write_shard(job.store, shard, content)


def read_chips_of(job: ChipJob, chips: range) -> Columns:
    """Image, valid and the labels that there are, of consecutive chips.

    Chips of one block overlap: their common window is read once.
    """
    groups = []
    for ingest in job.ingests:
        part = range(max(chips.start, ingest.first), min(chips.stop, ingest.stop))
        if part and job.kept is not None and ingest is not job.ingests[-1]:
            groups.append(_kept(job.kept, part))
        else:
            groups += [_read_group(job, ingest, group) for group in _groups(job, ingest, part)]
    if len(groups) == 1:
        return groups[0]
    return {name: np.concatenate([group[name] for group in groups]) for name in groups[0]}


def _kept(store: Path, chips: range) -> Columns:
    """Chips of the last shard of a store, as they are there."""
    opened = open_store(store)
    shard = chips.start // CHIPS_PER_SHARD
    rows = slice(chips.start - shard * CHIPS_PER_SHARD, chips.stop - shard * CHIPS_PER_SHARD)
    read = opened.read_shard(shard, opened.pixel_arrays)
    return {name: values[rows] for name, values in read.items()}


def _groups(job: ChipJob, ingest: Ingest, chips: range) -> Iterator[list[int]]:
    """Consecutive chips of the same split and block."""
    side, table = BLOCK_CHIPS * ingest.chips.stride_px, job.table

    def place(chip: int) -> tuple[int, int, int]:
        return int(table.split[chip]), int(table.row[chip]) // side, int(table.col[chip]) // side

    for _, group in groupby(chips, place):
        yield list(group)


def _read_group(job: ChipJob, ingest: Ingest, chips: list[int]) -> Columns:
    clips = [job.table.clipped(chip) for chip in chips]
    cover = clips[0]
    for clip in clips[1:]:
        cover = cover.union(clip)
    geobox = ingest.grid.geobox(cover)
    dates = [
        read_date(
            scenes, geobox, ingest.recipe, ingest.chips.resampling, last=scenes is ingest.dates[-1]
        )
        for scenes in ingest.dates
    ]
    windows = [job.table.window(chip, ingest.chips.chip_px) for chip in chips]
    places = list(zip(windows, clips, strict=True))
    found = {
        "image": cut([date.image for date in dates], places, cover, 0),
        "valid": cut([date.valid for date in dates], places, cover, 0),
    }
    if ingest.labels is not None:
        for name, values in read_labels(ingest.labels, ingest.grid, cover).items():
            found[name] = cut([values], places, cover, IGNORE)[:, 0]
    return found


def cut(
    layers: Sequence[NDArray[Any]],
    places: Sequence[tuple[Window, Window]],
    cover: Window,
    fill: int,
) -> NDArray[Any]:
    """Chips [chip, layer, ..., chip_px, chip_px] from layers [..., H, W] that show `cover`.

    A place is a chip's window and the part of it that is stored; elsewhere is `fill`. Each pixel
    is copied once: chips are large.
    """
    first, (chip, _) = layers[0], places[0]
    shape = (len(places), len(layers), *first.shape[:-2], chip.height, chip.width)
    chips = np.empty(shape, first.dtype)
    for number, (window, clip) in enumerate(places):
        if clip != window:
            chips[number] = fill
        for layer, values in enumerate(layers):
            part = values[(..., *clip.slices_in(cover))]
            chips[(number, layer, ..., *clip.slices_in(window))] = part
    return chips
