"""Statistics of the parts of a region that come from other scenes than the rest.

Dates of several overpasses differ in light and haze from part to part: with one set of statistics
the edge between two overpasses is called change, or hides it. So each pair of overpasses has its
own, and a value is told by how far it stands out among those of its own pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.detectors.null import NullModel, fit_null
from noise2map_core.detectors.statistic import Rows, fit_rows, log_length, varied_bands
from noise2map_core.learning.alteration import Floats
from noise2map_core.settings.detector import Kind

MIN_PART_PX = 4_000
"""Pairs with fewer pixels of the sample have the statistics of all."""
MAX_PARTS = 200
OTHERS = 0
"""Number of the part that takes what has none of its own."""
NOWHERE = 255
"""Stands in place of a part's number where there is nothing to compare."""
HIDDEN = -40.0
"""Standard deviations, of what is not observed."""

Sample = tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.integer[Any]]]
"""Image [date, band, H, W] in raw numbers, what is observed at both dates [H, W], and the number of
the pair of overpasses [H, W]."""


@dataclass(frozen=True)
class Part:
    """Statistics of the pixels of one pair of overpasses."""

    pair: int
    """Its number; -1: all pairs."""
    matrix: Rows
    offset: tuple[float, ...]
    null: NullModel
    pixels: int
    """Pixels that it was fitted to."""

    def standing_out(self, kind: Kind, image: NDArray[Any], valid: NDArray[np.bool_]) -> Floats:
        """Standard deviations [H, W] above what is usual where nothing changed."""
        return self.null.standardised(log_length(kind, self.matrix, self.offset, image, valid))


def fit_parts(kind: Kind, samples: Sequence[Sample], others: Part) -> tuple[Part, ...]:
    """`others`, and a part for each pair of overpasses with pixels enough, the largest first; none
    if all pixels are of one pair."""
    pairs = np.concatenate([pair[valid] for _, valid, pair in samples])
    numbers, counts = np.unique(pairs, return_counts=True)
    if len(numbers) < 2:
        return ()
    order = np.argsort(-counts, kind="stable")[:MAX_PARTS]
    large = [int(numbers[i]) for i in order if counts[i] >= MIN_PART_PX]
    parts = [_fit_part(kind, number, samples) for number in large]
    return (others, *(part for part in parts if part is not None))


def _fit_part(kind: Kind, pair: int, samples: Sequence[Sample]) -> Part | None:
    """None if no band varies."""
    mine = [(image, valid & (number == pair)) for image, valid, number in samples]
    before, after = pixels_of(mine)
    if not varied_bands(before, after).any():
        return None
    matrix, offset = fit_rows(kind, before, after)
    sample = lengths_of(kind, matrix, offset, mine)
    return Part(pair, matrix, offset, fit_null(sample), len(before))


def lengths_of(
    kind: Kind,
    matrix: Rows,
    offset: tuple[float, ...],
    samples: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]],
) -> Floats:
    """The statistic [pixel] of windows of the pair, where observed."""
    logs = [
        log_length(kind, matrix, offset, image, valid)[valid]
        for image, valid in samples
        if valid.any()
    ]
    return np.concatenate(logs)


def pixels_of(
    samples: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]],
) -> tuple[Floats, Floats]:
    """Samples [pixel, band] of before and after, where observed."""
    seen = np.concatenate([image[..., valid] for image, valid in samples], axis=-1)
    before, after = np.moveaxis(seen.astype(np.float64), -1, 1)
    return before, after


def part_numbers(
    parts: Sequence[Part], pairs: NDArray[np.integer[Any]], valid: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Number of the part [H, W] of pixels of these pairs; NOWHERE where not `valid`."""
    table = np.full(int(pairs.max(initial=0)) + 1, OTHERS, np.uint8)
    for number, part in enumerate(parts):
        if 0 <= part.pair < len(table):
            table[part.pair] = number
    return np.where(valid, table[pairs], np.uint8(NOWHERE))


def standing_out(
    kind: Kind, parts: Sequence[Part], image: NDArray[Any], numbers: NDArray[np.uint8]
) -> Floats:
    """Standard deviations [H, W] by which each pixel stands out in its own part.

    A mean over neighbours takes in those of its own part alone.
    """
    found = np.full(numbers.shape, HIDDEN)
    for number in np.unique(numbers[numbers != NOWHERE]).tolist():
        mine = numbers == number
        found[mine] = parts[number].standing_out(kind, image, mine)[mine]
    return found
