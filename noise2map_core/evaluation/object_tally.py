"""Objects of a split, whole: chips are put together again before their objects are formed."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.evaluation.counting import SplitPixels
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.learning.objects import ObjectCounts

Place = tuple[int, ...]
"""Grid and times of chips that lie beside one another, and the date of a sample."""


class ObjectTally:
    """Counts the objects of one class over a split.

    A place is held in memory, two bytes for each pixel of the box around its chips, until its last
    chip has been added, and no longer.
    """

    def __init__(self, pixels: SplitPixels, value: int) -> None:
        store, self._task, self._value = pixels.store, pixels.task, value
        self._row, self._col = store.read("row"), store.read("col")
        columns = np.column_stack([store.read("crs"), store.read("datetime")])
        _, group = np.unique(columns, axis=0, return_inverse=True)
        self._group = group.ravel()
        self._chip_px = int(store.array("image").shape[-1])
        self._left = Counter(self._group[pixels.chips].tolist())
        self._chips = pixels.chips
        self._canvas: dict[Place, NDArray[np.uint8]] = {}
        self._extents: dict[int, tuple[int, int, int, int]] = {}
        self.counts = ObjectCounts()

    def add(self, batch: ChipBatch, truth: NDArray[np.uint8], decided: NDArray[np.uint8]) -> None:
        """Add samples [sample, y, x]; 255 in `truth` is not counted."""
        dates = len(truth) // len(batch.chip)
        for index, chip in enumerate(batch.chip_of(self._task).tolist()):
            place = (int(self._group[chip]), index // len(batch.chip))
            self._paint(place, chip, truth[index], decided[index])
        for group, count in Counter(self._group[batch.chip].tolist()).items():
            self._left[group] -= count
            if not self._left[group]:
                self._close(group, dates)

    def _paint(
        self, place: Place, chip: int, truth: NDArray[np.uint8], decided: NDArray[np.uint8]
    ) -> None:
        top, left, height, width = self._extent(place[0])
        if place not in self._canvas:
            self._canvas[place] = np.full((2, height, width), IGNORE, np.uint8)
        row, col = int(self._row[chip]) - top, int(self._col[chip]) - left
        target = self._canvas[place][:, row : row + self._chip_px, col : col + self._chip_px]
        # Each pixel is owned by one chip; the others have it as 255.
        np.copyto(target, np.stack([truth, decided]), where=truth != IGNORE)

    def _extent(self, group: int) -> tuple[int, int, int, int]:
        """Top row, left column, height and width of all chips of a group."""
        if group not in self._extents:
            self._extents[group] = self._measure(group)
        return self._extents[group]

    def _measure(self, group: int) -> tuple[int, int, int, int]:
        chips = self._chips[self._group[self._chips] == group]
        row, col = self._row[chips], self._col[chips]
        top, left = int(row.min()), int(col.min())
        height = int(row.max()) - top + self._chip_px
        return top, left, height, int(col.max()) - left + self._chip_px

    def _close(self, group: int, dates: int) -> None:
        for date in range(dates):
            truth, decided = self._canvas.pop((group, date))
            self.counts += ObjectCounts.of(truth, decided, self._value)
