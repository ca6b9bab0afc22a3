"""Labels without people: what a detector is sure of, cut into the blocks of a chessboard.

Who learnt from the black blocks maps the white ones, and the other way round: no block is mapped by
what it taught.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.chips.append import read_table
from noise2map_core.chips.parts import PART_COLUMNS, join_parts, require_free, write_parts
from noise2map_core.chips.plan import ChipTable
from noise2map_core.chips.store import CHIPS_PER_SHARD, ChipStore, Columns
from noise2map_core.chips.writer import StoreHeader, is_finished
from noise2map_core.detectors.detector import default_kind
from noise2map_core.detectors.spec import ALGORITHM_VERSION, CLASSES
from noise2map_core.evaluation.pair_detectors import PairDetectors
from noise2map_core.labels import IGNORE
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import ChipStoreError, PairRejectedError
from noise2map_core.runtime.store_lease import hold_store
from noise2map_core.settings.detector import Kind

Int64 = NDArray[np.int64]
Labels = NDArray[np.uint8]

LEAST_SURE = 50
"""Pixels of either kind that each part must have."""
ONE_IN = 4
"""Blocks of which one judges the training."""
SPLITS = ("train", "val")


def fit_teacher(store: ChipStore, kind: Kind | None) -> PairDetectors:
    """Detectors of all pairs of a store; no label is read.

    Raises ChipStoreError unless chips are pairs, PairRejectedError if none can be compared.
    """
    if store.num_dates != 2:
        raise ChipStoreError(
            f"chip store {store.path} has {store.num_dates} date(s); change is learnt from "
            "pairs. Ingest it with before and after."
        )
    teacher = PairDetectors.of(store, kind or default_kind(len(store.bands)))
    found = [teacher.detector(chip) for chip in np.unique(teacher.pair, return_index=True)[1]]
    if not any(found):
        raise teacher.refusal or PairRejectedError(f"{store.path} has no chips.")
    return teacher


def later_pairs(store: ChipStore) -> Int64:
    """[chip] of the first half of the pairs of a place, the chip that shows it as much later; -1 of
    the others."""
    place = np.column_stack([store.read(name) for name in ("crs", "row", "col")])
    times, found = store.read("datetime"), np.full(store.num_chips, -1, np.int64)
    order = np.lexsort((*times.T[::-1], *place.T[::-1]))
    for chips in np.split(order, 1 + np.flatnonzero(np.diff(place[order], axis=0).any(axis=1))):
        half = len(chips) // 2
        early, late = chips[:half], chips[len(chips) - half :]
        # An append may store a pair again, of which more is known then: no later pair.
        found[early] = np.where((times[early] != times[late]).any(axis=1), late, -1)
    return found


@dataclass(frozen=True)
class Lesson:
    """What is taken from a teacher for a label."""

    confidence: float
    margin_px: int
    block_px: int

    false_alarms: float | None = None
    """Where given, every pixel has a label: changed where the variates are longer than so many of
    unchanged ones are in theory."""

    def of(self, teacher: PairDetectors, shard: Columns, chips: Int64) -> Labels:
        """What a teacher says of chips whose pixels are in `shard`, as `labels` has it."""
        image, valid = shard["image"], shard["valid"]
        if self.false_alarms is None:
            return self.sure(teacher.probability(chips, image, valid))
        length = teacher.length(chips, image, valid)
        limit = teacher.longest_unchanged(chips, self.false_alarms)
        return self.labels(length < limit, length >= limit)

    def sure(self, probability: NDArray[np.float32]) -> Labels:
        """`labels` of probabilities [chip, y, x]."""
        return self.labels(probability <= 1 - self.confidence, probability >= self.confidence)

    def labels(self, unchanged: NDArray[np.bool_], changed: NDArray[np.bool_]) -> Labels:
        """0, 1, or 255 where the teacher is not sure, or of another kind within the margin.

        Of what it is sure of [chip, y, x]; what lies outside a chip is not sure.
        """
        side = 2 * self.margin_px + 1
        label = np.full(unchanged.shape, IGNORE, np.uint8)
        for value, sure in enumerate((unchanged, changed)):
            label[ndimage.binary_erosion(sure, np.ones((1, side, side)))] = value
        return label


def colour_of(crs: Int64, row: Int64, col: Int64) -> Int64:
    """0 or 1: the colour of a block; several grids begin in turn with either."""
    return np.asarray((crs + row + col) % 2, np.int64)


def _whole_blocks(table: ChipTable, block_px: int) -> tuple[Int64, NDArray[np.bool_]]:
    """[chip, 3] grid, row and column of the block of a chip's first pixel, and if all lie in it."""
    top, left, height, width = table.clip.T
    first = np.stack([top, left]) // block_px
    last = np.stack([top + height - 1, left + width - 1]) // block_px
    place = np.column_stack([table.crs.astype(np.int64), *first])
    return place, (first == last).all(axis=0)


def _judging(place: Int64, changed: Int64) -> NDArray[np.bool_]:
    """[chip] True in every fourth of the blocks at `place` [chip, 3], most changed pixels first."""
    _, block = np.unique(place, axis=0, return_inverse=True)
    order = np.argsort(-np.bincount(block.ravel(), changed), kind="stable")
    return np.asarray(np.isin(block.ravel(), order[1::ONE_IN]))


@dataclass(frozen=True)
class School:
    """Store, teacher and lesson: what stores of lessons are made of."""

    store: ChipStore
    teacher: PairDetectors
    lesson: Lesson
    later: Int64 | None
    """[chip] where there are no labels, the chip of a later pair that a chip is judged by; -1 of
    none."""

    @classmethod
    def of(cls, store: ChipStore, teacher: PairDetectors, lesson: Lesson) -> Self:
        """Judged by the store's labels of change, if it has any."""
        labelled = store.has_labels_of("change")
        return cls(store, teacher, lesson, None if labelled else later_pairs(store))

    @property
    def judged_by(self) -> str:
        """What students are scored against, if there is any."""
        return "labels" if self.later is None else "what is sure in later pairs"

    @property
    def _judges(self) -> Int64:
        """Chips that others are judged by, from which nothing is learnt."""
        return np.empty(0, np.int64) if self.later is None else self.later[self.later >= 0]

    def shards(self) -> Iterator[Columns]:
        """All chips with the teacher's labels, shard by shard."""
        for shard in range(self.store.num_shards):
            read = self.store.read_shard(shard, ("image", "valid"))
            chips = np.arange(len(read["valid"])) + shard * CHIPS_PER_SHARD
            yield {**read, "chip": chips, "label_change": self.lesson.of(self.teacher, read, chips)}

    def sure_pixels(self) -> Int64:
        """[chip, 2] pixels that the teacher is sure of: unchanged, changed."""
        each = (shard["label_change"] for shard in self.shards())
        counts = [[(label == value).sum(axis=(1, 2)) for value in (0, 1)] for label in each]
        return np.concatenate([np.stack(pair, axis=1) for pair in counts]).astype(np.int64)

    def roles(self, sure: Int64, colour: int | None) -> Int64:
        """[chip] 0 learns, 1 judges, -1 is left out: of blocks of a colour, None: of all.

        Only chips that lie in one block; of the blocks every fourth judges, by how much has changed
        in them. Raises ChipStoreError if a part has too few sure pixels.
        """
        table, side = read_table(self.store), self.lesson.block_px
        place, whole = _whole_blocks(table, side)
        chosen = whole & ~np.isin(np.arange(len(whole)), self._judges)
        if colour is not None:
            chosen &= colour_of(place[:, 0], place[:, 1], place[:, 2]) == colour
        role = np.full(len(chosen), -1, np.int64)
        role[chosen] = _judging(place[chosen], sure[chosen, 1])
        self._require_sure(sure, role)
        return role

    def _require_sure(self, sure: Int64, role: Int64) -> None:
        for code, part in enumerate(SPLITS):
            unchanged, changed = sure[role == code].sum(axis=0).tolist()
            if min(unchanged, changed) < LEAST_SURE:
                raise ChipStoreError(
                    f"the detector {self.teacher.kind} is sure of {changed:,} changed and "
                    f"{unchanged:,} unchanged pixels in the {part} blocks of {self.store.path}; "
                    f"{LEAST_SURE} of each are needed. Lower confidence, margin_px or block_px, or "
                    "ingest a larger area."
                )

    def header(self, colour: int | None) -> StoreHeader:
        """Of the store of what is learnt from the blocks of a colour, None: from all."""
        teacher = [self.teacher.kind, ALGORITHM_VERSION]
        lesson = {name: value for name, value in vars(self.lesson).items() if value is not None}
        return replace(
            StoreHeader.of(self.store),
            key=digest_of(["lessons", self.store.objects, teacher, lesson, colour]),
            classes={"change": [{"value": one.value, "name": one.name} for one in CLASSES]},
            splits=SPLITS,
            buffer_px=0,
            earlier_keys=(),
            labels_from=(f"the detector {self.teacher.kind}, without labels",),
        )

    def write(self, sure: Int64, colour: int | None, output: Path) -> None:
        """Write that store, unless it is there.

        Raises OutputMismatchError if something else is, and what `roles` raises.
        """
        header, role = self.header(colour), self.roles(sure, colour)
        with hold_store(output):
            if not is_finished(output, header.key):
                require_free(output)
                join_parts(output, header, write_parts(output, header, self._lessons(role)))

    def _lessons(self, role: Int64) -> Iterator[Columns]:
        rows = {name: self.store.read(name) for name in PART_COLUMNS} | {
            "split": np.maximum(role, 0).astype(np.uint8)
        }
        for shard in self.shards():
            chips = shard.pop("chip")
            kept = role[chips] >= 0
            every = {**shard, **{name: values[chips] for name, values in rows.items()}}
            yield {name: values[kept] for name, values in every.items()}
