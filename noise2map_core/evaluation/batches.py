"""From a chip store to batches of chips."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noise2map_core.chips.order import CACHE_BYTES, Int64
from noise2map_core.chips.store import CHIPS_PER_SHARD, LABEL_ARRAYS, ChipStore, Columns
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.settings.network import Task


@dataclass(frozen=True)
class ChipBatch:
    """Labelled chips, in plain numpy.

    A task makes *samples* of them: change one of each chip, segment one of each chip and date,
    first all chips of the first date, then of the next.
    """

    image: NDArray[np.generic]
    """[chip, date, band, y, x], raw numbers."""
    valid: NDArray[np.bool_]
    """[chip, date, y, x], True = observed."""
    labels: Mapping[Task, NDArray[np.uint8]]
    """change [chip, y, x], segment [chip, date, y, x]; 255 = not labelled."""
    chip: Int64
    """[chip] numbers of the chips in the store."""
    light: NDArray[np.float64]
    """[chip, date, 2, band] robust centre and spread of the scenes; NaN where unknown."""
    alteration: NDArray[np.float64] | None = None
    """[chip, variate + 1, number] what is noted of pairs, see `learning.alteration`; NaN or None:
    unknown."""
    showing: Int64 | None = None
    """[chip] how often each was shown before in this epoch; None: never."""

    def inputs(self, task: Task, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Raw numbers [sample, date·band, H, W] and valid [sample, date, H, W] for `Noise2Map`."""
        image, valid = torch.from_numpy(self.image), torch.from_numpy(self.valid)
        if task == "segment":
            image, valid = image.transpose(0, 1), valid.transpose(0, 1)
            image, valid = image.flatten(0, 1), valid.flatten(0, 1)[:, None]
        else:
            image = image.flatten(1, 2)
        return image.to(device, non_blocking=True), valid.to(device, non_blocking=True)

    def light_of(self, task: Task, device: torch.device | str = "cpu") -> Tensor:
        """Centre and spread of the scenes [sample, 2, date·band], float32, for `Noise2Map`."""
        light = torch.from_numpy(self.light.astype(np.float32))
        if task == "segment":
            return light.transpose(0, 1).flatten(0, 1).to(device)
        return light.transpose(1, 2).flatten(2, 3).to(device)

    def alteration_of(self, task: Task, device: torch.device | str = "cpu") -> Tensor | None:
        """Matrix and offset of the variates [sample, variate, 2 · band + 1], float32."""
        if self.alteration is None or task == "segment":
            return None
        return torch.from_numpy(self.alteration.astype(np.float32)).to(device)

    def labels_of(self, task: Task) -> NDArray[np.uint8]:
        """Labels [sample, y, x], 255 = not labelled."""
        if task == "segment":
            return _by_date(self.labels[task])
        return self.labels[task]

    def truth(self, task: Task) -> NDArray[np.uint8]:
        """Labels [sample, y, x] where they were observed; 255 elsewhere."""
        seen = _by_date(self.valid) if task == "segment" else self.valid.all(axis=1)
        return np.where(seen, self.labels_of(task), np.uint8(IGNORE))

    def pinned(self) -> "ChipBatch":
        """The same in memory that a GPU copies from by itself, while other work goes on."""
        labels = {task: _pinned(values) for task, values in self.labels.items()}
        return replace(self, image=_pinned(self.image), valid=_pinned(self.valid), labels=labels)

    def draws_of(self, task: Task) -> Int64:
        """[sample, 3] chip, showing and date: what the random numbers of a sample follow from."""
        showing = np.zeros_like(self.chip) if self.showing is None else self.showing
        dates = self.valid.shape[1] if task == "segment" else 1
        return np.column_stack(
            [
                np.tile(self.chip, dates),
                np.tile(showing, dates),
                np.repeat(np.arange(dates), len(self.chip)),
            ]
        )

    def chip_of(self, task: Task) -> Int64:
        """[sample] the chip that each sample is of."""
        return np.tile(self.chip, self.valid.shape[1]) if task == "segment" else self.chip


def _pinned(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(torch.from_numpy(values).pin_memory().numpy())


def _by_date(pixels: NDArray[Any]) -> NDArray[Any]:
    """[chip, date, y, x] to [date·chip, y, x]."""
    return pixels.swapaxes(0, 1).reshape(-1, *pixels.shape[-2:])


class ChipReader:
    """Reads chips by number and keeps the last decoded shards; of them it lets go first of those
    that are known not to be needed soon."""

    def __init__(
        self, store: ChipStore, tasks: Sequence[Task], cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._store = store
        self._tasks = tuple(tasks)
        self._columns = ("image", "valid", *(LABEL_ARRAYS[task] for task in tasks))
        self._shards: OrderedDict[int, Columns] = OrderedDict()
        self._held = 0
        self.cache_bytes = cache_bytes

    def read(self, chips: Int64) -> ChipBatch:
        """The chips of these numbers, in this order."""
        rows = [self._shard(int(chip) // CHIPS_PER_SHARD) for chip in chips]
        image, valid, *labels = (
            np.stack(
                [
                    shard[name][chip % CHIPS_PER_SHARD]
                    for shard, chip in zip(rows, chips, strict=True)
                ]
            )
            for name in self._columns
        )
        labelled = dict(zip(self._tasks, labels, strict=True))
        store = self._store
        return ChipBatch(
            image, valid, labelled, chips, store.lights(chips), store.alterations(chips)
        )

    @property
    def shard_bytes(self) -> int:
        """Of a decoded shard."""
        arrays = [self._store.array(name) for name in self._columns]
        return CHIPS_PER_SHARD * sum(one.nbytes // one.shape[0] for one in arrays)

    def release(self, shards: Iterable[int]) -> None:
        """These are not needed soon."""
        for shard in shards:
            if shard in self._shards:
                self._shards.move_to_end(shard, last=False)

    def _shard(self, shard: int) -> Columns:
        if shard in self._shards:
            self._shards.move_to_end(shard)
            return self._shards[shard]
        read = self._store.read_shard(shard, self._columns)
        self._held += _size(read)
        while self._held > self.cache_bytes and self._shards:
            self._held -= _size(self._shards.popitem(last=False)[1])
        self._shards[shard] = read
        return read


def _size(columns: Columns) -> int:
    return sum(values.nbytes for values in columns.values())


def iter_batches(reader: ChipReader, chips: Int64, batch_size: int) -> Iterator[ChipBatch]:
    """`chips` in order, the last batch as short as it comes."""
    for start in range(0, len(chips), batch_size):
        yield reader.read(chips[start : start + batch_size])


def labelled_chips(store: ChipStore, chips: Int64, task: Task) -> Int64:
    """Those of `chips` that have a labelled, observed pixel."""
    return chips[store.label_counts[task][chips, :-1].any(axis=1)]


def chips_with(store: ChipStore, chips: Int64, task: Task, value: int) -> Int64:
    """Those of `chips` that have an observed pixel of this label."""
    return chips[_pixels_of(store, chips, task, [value]) > 0]


def _pixels_of(store: ChipStore, chips: Int64, task: Task, values: Collection[int]) -> Int64:
    """Observed pixels of these labels in each of `chips`."""
    table = store.attributes["classes"][task]
    columns = [column for column, entry in enumerate(table) if entry["value"] in values]
    return store.label_counts[task][chips][:, columns].sum(axis=1, dtype=np.int64)


def richest_chips(
    store: ChipStore, split: str, task: Task, sought: Sequence[int], count: int
) -> Int64:
    """The chips of a part with the most pixels of the classes sought; of equal ones the first."""
    chips = store.chips_of(split)
    best = np.argsort(-_pixels_of(store, chips, task, sought), kind="stable")[:count]
    return np.asarray(chips[best])


def some_chips(chips: Int64, share: float, seed: int) -> Int64:
    """A share of the chips, at least one, in their order; what a smaller share has, a larger has
    too."""
    order = np.random.default_rng(seed).permutation(len(chips))
    return np.sort(chips[order[: max(1, round(share * len(chips)))]])


def balanced_chips(chips: Int64, rare: Int64, share: float, seed: int, epoch: int) -> Int64:
    """As many chips for one epoch: `share` of them out of `rare`, with repetition, the others out
    of all, without."""
    generator = np.random.default_rng((seed, epoch, len(rare)))
    set_aside = round(share * len(chips)) if len(rare) else 0
    others = generator.choice(chips, len(chips) - set_aside, replace=False)
    return np.sort(np.concatenate([generator.choice(rare, set_aside), others]))
