"""Chips of a store as a data set of torch, for those who bring their own loop."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from noise2map_core.chips.order import CACHE_BYTES
from noise2map_core.chips.spread import band_spread
from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.evaluation.batches import ChipReader
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.settings.labels import SplitName
from noise2map_core.settings.network import Task


class ChipDataset(Dataset[dict[str, Tensor]]):
    """The chips of one part of a store, in its order, for `torch.utils.data.DataLoader`.

    A sample has

    - `image` float32 [date, band, y, x]: raw numbers, those that were not observed among them;
    - `valid` bool [date, y, x], True = observed;
    - `chip` int64 [], its number in the store;
    - with `task`, `label` int64: change [y, x], segment [date, y, x]; 255 where nothing is labelled
      or not observed, which `CrossEntropyLoss(ignore_index=255)` passes over.

    A shard of 32 chips is read, checked and decoded at once; each process keeps `cache_bytes` of
    them. Picklable, for loaders with several workers.
    """

    def __init__(
        self,
        path: Path | str,
        split: SplitName | None = "train",
        task: Task | None = "change",
        *,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """`split` None: all chips; `task` None: no labels.

        Raises ChipStoreError for a store that is not there, or has no such chips or labels.
        """
        self._store: ChipStore = open_store(path)
        self._store.require((), (task,) if task else ())
        self._task: Task | None = task
        self._cache_bytes = cache_bytes
        self.chips = self._store.chips_of(split)
        """int64 [sample]: the number of each in the store."""

    @property
    def bands(self) -> list[str]:
        """Their names, in order."""
        return self._store.bands

    @property
    def classes(self) -> dict[int, str]:
        """Of the task, names by label."""
        table = self._store.attributes["classes"].get(self._task, ())
        return {entry["value"]: entry["name"] for entry in table}

    @cached_property
    def mean(self) -> Tensor:
        """Of observed pixels of the part `train`, float32 [date, band, 1, 1]."""
        return _by_band(self._store.statistics("train").mean)

    @cached_property
    def std(self) -> Tensor:
        """Their standard deviation, float32 [date, band, 1, 1]."""
        return _by_band(band_spread(self._store, self._store.statistics("train")))

    def __len__(self) -> int:
        return len(self.chips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        found = self._reader.read(self.chips[[index]])
        image, valid = torch.from_numpy(found.image[0].astype(np.float32)), found.valid[0]
        sample = {
            "image": image, "valid": torch.from_numpy(valid), "chip": torch.tensor(found.chip[0]),
        }  # fmt: skip
        if self._task is not None:
            seen = valid.all(axis=0) if self._task == "change" else valid
            label = np.where(seen, found.labels[self._task][0], IGNORE)
            sample["label"] = torch.from_numpy(label.astype(np.int64))
        return sample

    def __getstate__(self) -> dict[str, Any]:
        """Without decoded shards."""
        return {name: value for name, value in self.__dict__.items() if name != "_reader"}

    @cached_property
    def _reader(self) -> ChipReader:
        return ChipReader(self._store, (self._task,) if self._task else (), self._cache_bytes)


def _by_band(values: np.ndarray[Any, np.dtype[np.float64]]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, :, None, None]
