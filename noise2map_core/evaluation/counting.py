"""Counting what a model, or the baseline, gets right on a split of a chip store."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from noise2map_core.chips.store import ChipStore
from noise2map_core.evaluation.batches import ChipBatch, ChipReader, iter_batches
from noise2map_core.inference.decision import TOLERANCE
from noise2map_core.learning.metrics import IGNORE, ConfusionCounts, ScoreHistogram
from noise2map_core.mapping.mosaic import PROBABILITY_SCALE
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.progress import progress
from noise2map_core.settings.network import Task

Int64 = NDArray[np.int64]

Scorer = Callable[[ChipBatch], NDArray[np.float32]]
"""How surely each pixel [sample, y, x] of a batch is of the class that is sought, in [0, 1]."""

Decider = Callable[[ChipBatch], NDArray[np.uint8]]
"""The class of each pixel [sample, y, x] of a batch."""


def model_logits(
    model: Noise2Map, timesteps: Iterable[int], task: Task
) -> Callable[[ChipBatch], NDArray[np.float32]]:
    """Class logits [sample, class, y, x], averaged over the timesteps; on the model's device."""
    over = model_logits_over(model, timesteps, task)
    return lambda batch: np.asarray(over(batch).mean(axis=0))


def model_logits_over(
    model: Noise2Map, timesteps: Iterable[int], task: Task
) -> Callable[[ChipBatch], NDArray[np.float32]]:
    """Class logits at each timestep [timestep, sample, class, y, x]; on the model's device."""
    steps = tuple(timesteps)

    def logits(batch: ChipBatch) -> NDArray[np.float32]:
        image, valid = batch.inputs(task, model.device)
        with torch.inference_mode():
            light = batch.light_of(task, model.device)
            alteration = batch.alteration_of(task, model.device)
            each = model.logits_over(image, steps, valid, task, light=light, alteration=alteration)
        return np.asarray(each.cpu().numpy())

    return logits


def probability_of(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Class probabilities [sample, class, y, x], cut to the steps in which maps store them.

    So a threshold decides here as it decides on a map.
    """
    exact = softmax(logits / np.float32(temperature), axis=1)
    return np.asarray(np.rint(exact * PROBABILITY_SCALE) / PROBABILITY_SCALE)


def threshold_decider(scorer: Scorer, threshold: float) -> Decider:
    """Class 1 from a score on, inclusive; else 0."""
    return lambda batch: (scorer(batch) >= threshold - TOLERANCE).astype(np.uint8)


class PixelOwners:
    """Which chip of a split counts a pixel that several share: the one whose centre is nearest.

    Distance is the larger of rows and columns; of equal ones the lower row wins, then the column.
    So every pixel counts once, with as much context as there is.
    """

    def __init__(self, store: ChipStore, split: str) -> None:
        self._chip_px = int(store.array("image").shape[-1])
        self._place: dict[int, tuple[int, int, int]] = {}
        self._half: dict[int, int] | None = None
        self._at: defaultdict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
        # Pixels are shared only within one grid and one pair of dates.
        columns = np.column_stack([store.read("crs"), store.read("datetime")])
        _, group = np.unique(columns, axis=0, return_inverse=True)
        row, col = store.read("row"), store.read("col")
        for chip in store.chips_of(split).tolist():
            place = int(group.flat[chip]), int(row[chip]), int(col[chip])
            self._place[chip] = place
            self._at[self._cell(*place)].append(place[1:])

    def halves(self, chips: Iterable[int]) -> NDArray[np.int64]:
        """0 or 1 of each chip: the split is cut in two, by place, so that one half can judge what
        was chosen on the other."""
        if self._half is None:
            order = sorted(self._place, key=self._place.__getitem__)
            self._half = {chip: 2 * rank // len(order) for rank, chip in enumerate(order)}
        return np.array([self._half[chip] for chip in chips], np.int64)

    def owned(self, chip: int) -> NDArray[np.bool_]:
        """bool [y, x]: the pixels that `chip` counts."""
        group, row, col = self._place[chip]
        cell_group, cell_row, cell_col = self._cell(group, row, col)
        offsets = {
            (other_row - row, other_col - col)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            for other_row, other_col in self._at.get(
                (cell_group, cell_row + down, cell_col + right), ()
            )
        }
        near = {o for o in offsets if max(abs(o[0]), abs(o[1])) < self._chip_px} - {(0, 0)}
        return _nearest(self._chip_px, frozenset(near))

    def _cell(self, group: int, row: int, col: int) -> tuple[int, int, int]:
        return group, row // self._chip_px, col // self._chip_px


@lru_cache(maxsize=256)
def _nearest(chip_px: int, offsets: frozenset[tuple[int, int]]) -> NDArray[np.bool_]:
    """Pixels nearer to the centre of a chip than to those of neighbours `offsets` away."""
    centred = 2 * np.arange(chip_px) + 1 - chip_px  # twice the distance: whole numbers
    own = np.maximum(abs(centred)[:, None], abs(centred)[None, :])
    mine = np.ones((chip_px, chip_px), bool)
    for row, col in offsets:
        other = np.maximum(abs(centred - 2 * row)[:, None], abs(centred - 2 * col)[None, :])
        mine &= (own <= other) if (row, col) > (0, 0) else (own < other)
    return mine


@dataclass(frozen=True)
class SplitPixels:
    """The pixels of a split that count for a task: labelled, observed, each once."""

    store: ChipStore
    task: Task
    chips: Int64
    """Chips to go through; a part of the split's, when several workers share them."""
    owners: PixelOwners
    batch_size: int

    @classmethod
    def of(cls, store: ChipStore, split: str, task: Task, batch_size: int) -> "SplitPixels":
        """All pixels of a split."""
        return cls(store, task, store.chips_of(split), PixelOwners(store, split), batch_size)

    def part(self, rank: int, world_size: int) -> "SplitPixels":
        """What one of several workers goes through."""
        return replace(self, chips=self.chips[rank::world_size])

    def batches(self) -> Iterator[tuple[ChipBatch, NDArray[np.uint8]]]:
        """Batches and their truth [sample, y, x]; 255 where a pixel does not count."""
        # In order, a shard is read once and not needed again.
        reader = ChipReader(self.store, (self.task,), cache_bytes=0)
        with progress(len(self.chips), f"score {self.task}", "chip", brief=True) as bar:
            for batch in iter_batches(reader, self.chips, self.batch_size):
                chips = batch.chip_of(self.task).tolist()
                mine = np.stack([self.owners.owned(chip) for chip in chips])
                yield batch, np.where(mine, batch.truth(self.task), np.uint8(IGNORE))
                bar.update(len(chips))


def score_histogram(pixels: SplitPixels, scorer: Scorer, num_bins: int) -> ScoreHistogram:
    """Scores of the pixels of class 1 and of the others."""
    total = ScoreHistogram.empty(num_bins)
    for batch, truth in pixels.batches():
        total += ScoreHistogram.of(scorer(batch), truth, num_bins)
    return total


class BlockCounter:
    """Confusion counts per spatial block of `block_px` pixels.

    Blocks are anchored to the grid. All dates of a place lie in one block.
    """

    def __init__(self, pixels: SplitPixels, num_classes: int, block_px: int) -> None:
        store = pixels.store
        self._place = [store.read(name) for name in ("crs", "row", "col")]
        self._task, self._num_classes, self._block_px = pixels.task, num_classes, block_px
        self._counts: dict[tuple[int, int, int], ConfusionCounts] = {}

    def add(self, batch: ChipBatch, truth: NDArray[np.uint8], decided: NDArray[np.uint8]) -> None:
        """Count samples [sample, y, x]."""
        for index, chip in enumerate(batch.chip_of(self._task).tolist()):
            grid, row, col = (int(values[chip]) for values in self._place)
            for block, window in _blocks(row, col, truth.shape[-1], self._block_px):
                counts = ConfusionCounts.of(
                    truth[index][window], decided[index][window], self._num_classes
                )
                key = (grid, *block)
                before = self._counts.get(key, ConfusionCounts.empty(self._num_classes))
                self._counts[key] = before + counts

    def blocks(self) -> NDArray[np.int64]:
        """int64 [block, K, K]; blocks without a pixel that counts are left out."""
        found = [self._counts[k].matrix for k in sorted(self._counts) if self._counts[k].num_pixels]
        size = self._num_classes
        return np.stack(found) if found else np.zeros((0, size, size), np.int64)


def block_counts(
    pixels: SplitPixels, decider: Decider, num_classes: int, block_px: int
) -> NDArray[np.int64]:
    """Confusion counts int64 [block, K, K] of what `decider` says; see `BlockCounter`."""
    counter = BlockCounter(pixels, num_classes, block_px)
    for batch, truth in pixels.batches():
        counter.add(batch, truth, decider(batch))
    return counter.blocks()


def _blocks(
    row: int, col: int, chip_px: int, block_px: int
) -> Iterator[tuple[tuple[int, int], tuple[slice, slice]]]:
    """The blocks that a chip touches, each with the chip's pixels in it."""
    for block_row in range(row // block_px, (row + chip_px - 1) // block_px + 1):
        for block_col in range(col // block_px, (col + chip_px - 1) // block_px + 1):
            top, left = block_row * block_px - row, block_col * block_px - col
            window = (
                slice(max(top, 0), min(top + block_px, chip_px)),
                slice(max(left, 0), min(left + block_px, chip_px)),
            )
            yield (block_row, block_col), window
