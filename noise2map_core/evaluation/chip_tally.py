"""Which chips of a split a model maps best, and which worst."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.store import ChipStore
from noise2map_core.evaluation.batches import ChipBatch
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.settings.network import Task


@dataclass(frozen=True, slots=True)
class ChipScore:
    """What a model makes of a sample: a chip, of a task of one date one of its dates."""

    chip: int
    date: int
    f1: float
    """Of the classes that are sought, over all labelled, observed pixels of the chip."""
    wrong_px: int
    known_px: int
    """Labelled, observed pixels."""
    sought_px: int
    """Those that truly are of a class that is sought."""
    found_px: int
    """Those that the model takes for one."""

    @property
    def weight(self) -> int:
        """How many pixels the F1 is of; a chip with few is good or bad by chance."""
        return self.sought_px + self.found_px


class ChipTally:
    """Scores every sample by itself. Pixels that chips share count in each of them.

    Of two classes the second is sought, of more every one.
    """

    def __init__(self, store: ChipStore, task: Task) -> None:
        self._task = task
        self._px = int(store.attributes["chip_px"])
        self._place = np.column_stack([store.read(name) for name in ("crs", "row", "col")])
        self._sought = 1 if len(store.attributes["classes"][task]) == 2 else 0
        self.scores: list[ChipScore] = []

    def add(self, batch: ChipBatch, decided: NDArray[np.uint8]) -> None:
        """Score samples [sample, y, x]."""
        for index, (chip, truth) in enumerate(
            zip(batch.chip_of(self._task).tolist(), batch.truth(self._task), strict=True)
        ):
            date = index // len(batch.chip)
            self.scores.append(self._score(chip, date, truth, decided[index]))

    def _score(
        self, chip: int, date: int, truth: NDArray[np.uint8], decided: NDArray[np.uint8]
    ) -> ChipScore:
        known = truth != IGNORE
        sought, found = (known & (values >= self._sought) for values in (truth, decided))
        right = known & (truth == decided)
        total = int(sought.sum() + found.sum())
        return ChipScore(
            chip=chip,
            date=date,
            f1=2 * int((right & sought).sum()) / total if total else 0.0,
            wrong_px=int((known & ~right).sum()),
            known_px=int(known.sum()),
            sought_px=int(sought.sum()),
            found_px=int(found.sum()),
        )

    def extremes(self, count: int) -> tuple[list[ChipScore], list[ChipScore]]:
        """The worst and the best chips by F1, at most `count` of each, none overlapping another.

        Of those that hold something sought the half with the most of it: the F1 of a few pixels is
        chance.
        """
        held = [score for score in self.scores if score.weight]
        least = np.median([score.weight for score in held]) if held else 0
        order = sorted(
            (score for score in held if score.weight >= least),
            key=lambda score: (score.f1, -score.weight),
        )
        worst: list[ChipScore] = []
        best: list[ChipScore] = []
        for _ in range(count):  # in turn, so that few chips are shared out
            worst += self._first_apart(order, (*worst, *best))
            best += self._first_apart(order[::-1], (*worst, *best))
        return worst, best

    def richest(self) -> ChipScore | None:
        """The chip with the most pixels of the classes that are sought; None without any."""
        best = max(self.scores, key=lambda score: score.sought_px, default=None)
        return best if best is not None and best.sought_px else None

    def _first_apart(
        self, scores: Iterable[ChipScore], taken: Sequence[ChipScore]
    ) -> list[ChipScore]:
        """The first that overlaps none of those taken, if there is one."""
        apart = (
            score for score in scores if not any(self._overlap(score, other) for other in taken)
        )
        return list(islice(apart, 1))

    def _overlap(self, one: ChipScore, other: ChipScore) -> bool:
        """True if they show the same place at the same date."""
        (crs, *corner), (other_crs, *other_corner) = self._place[[one.chip, other.chip]].tolist()
        near = np.abs(np.subtract(corner, other_corner)).max() < self._px
        return bool(near and crs == other_crs and one.date == other.date)
