"""Seams: does a map change more across the edges of tiles or chips than elsewhere?"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_PROBABILITY, Mosaic
from noise2map_core.runtime.mapper import Mapper, here

NUM_DRAWS = 2000
"""Of the bootstrap."""

GRAIN_PX = 2
"""Networks that see patches of 2 × 2 pixels change more from patch to patch than within one, seam
or no seam: an edge is compared with other steps between patches."""

LEVELS = (2.5, 97.5)
"""Percentiles of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class SeamRatio:
    """Mean step of the stored probability across edges, over that between other patches."""

    ratio: float
    low: float
    """Lower end of its 95 % interval, by a bootstrap over blocks."""
    high: float
    edge_pairs: int
    """Pairs of decided neighbours with an edge between them."""
    blocks: int
    """Blocks with an edge that were drawn from."""

    def __str__(self) -> str:
        """For people."""
        return f"{self.ratio:.3f} ({self.low:.3f} to {self.high:.3f}, {self.blocks} blocks)"


def seam_ratio(
    mosaic: Mosaic, period_px: int, block_px: int, seed: int = 0, mapper: Mapper = here
) -> SeamRatio | None:
    """The ratio at the edges that lie every `period_px` (even) pixels on the anchored grid.

    Blocks of `block_px` are read one by one, by `mapper`, and drawn with replacement: neighbouring
    pixels are alike, so that pixels would give too narrow an interval. None if no two decided
    neighbours have an edge between them.
    """
    blocks = list(_blocks(mosaic.grid.region, block_px))
    sums = list(mapper(partial(_sums, mosaic, period_px), blocks))
    table = np.asarray([row for row in sums if row[1] and row[3]], np.float64).reshape(-1, 4)
    if not len(table) or table[:, 2].sum() == 0:
        return None
    draws = np.random.default_rng(seed).integers(len(table), size=(NUM_DRAWS, len(table)))
    low, high = np.percentile(_ratio(table[draws].sum(axis=1)), LEVELS)
    ratio = float(_ratio(table.sum(axis=0)))
    return SeamRatio(ratio, float(low), float(high), int(table[:, 1].sum()), len(table))


def _blocks(region: Window, px: int) -> Iterator[Window]:
    """The region by blocks whose middles lie on the edges of a lattice of `px`."""
    for row in range((region.row - px // 2) // px * px + px // 2, region.row_stop, px):
        for col in range((region.col - px // 2) // px * px + px // 2, region.col_stop, px):
            block = Window(row, col, px, px).intersect(region)
            if not block.is_empty:
                yield block


def _sums(mosaic: Mosaic, period_px: int, block: Window) -> tuple[float, int, float, int]:
    """Steps across edges and their number, other steps and their number."""
    stored = mosaic.read("probability", block)
    values = np.where(stored == NO_PROBABILITY, np.nan, stored.astype(np.float32))
    down = _split(np.abs(np.diff(values, axis=0)), block.row, period_px)
    right = _split(np.abs(np.diff(values, axis=1)).T, block.col, period_px)
    return (
        down[0] + right[0], down[1] + right[1], down[2] + right[2], down[3] + right[3],
    )  # fmt: skip


def _split(steps: NDArray[np.float32], first: int, period_px: int) -> tuple[float, int, float, int]:
    """`steps` [n, m]: row i is between pixel lines first + i and first + i + 1."""
    after = first + 1 + np.arange(len(steps))
    at_edge = after % period_px == 0
    edge, inside = steps[at_edge], steps[~at_edge & (after % GRAIN_PX == 0)]
    return (
        float(np.nansum(edge)), int(np.isfinite(edge).sum()),
        float(np.nansum(inside)), int(np.isfinite(inside).sum()),
    )  # fmt: skip


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    edge, edge_pairs, inside, inside_pairs = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((edge / edge_pairs) / (inside / inside_pairs))
