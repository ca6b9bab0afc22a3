"""How the share of change jumps where parts of a map meet that come from other scenes."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.detectors.parts import NOWHERE
from noise2map_core.mapping.ledger import TileRecord
from noise2map_core.mapping.mosaic import NO_DECISION

STRIP_PX = 8
"""Pixels of a part that lie this near to another's are compared; no more than a tile's halo has, so
that it does not matter how the region is cut."""
LARGE = 0.05
"""A jump of the share of change from which it is said."""
PATCH_PX = 100
"""Pixels that change together, about: so many count as one."""
SIGMAS = 3.0

Counts = dict[str, list[int]]
"""By "part part": decided and changed pixels of the one, then of the other."""


@dataclass(frozen=True)
class PartEdge:
    """What changed on both sides of the edge between two parts, within STRIP_PX of it."""

    parts: tuple[str, str]
    """For people."""
    decided_px: tuple[int, int]
    changed_px: tuple[int, int]

    @property
    def shares(self) -> tuple[float, float]:
        """Share of change of each side."""
        one, other = (
            changed / decided
            for changed, decided in zip(self.changed_px, self.decided_px, strict=True)
        )
        return one, other

    @property
    def jump(self) -> float:
        """By how much these differ."""
        return abs(self.shares[0] - self.shares[1])

    @property
    def is_large(self) -> bool:
        """True if the jump is large, and no accident of where the changed patches lie."""
        share = sum(self.changed_px) / sum(self.decided_px)
        patches = sum(PATCH_PX / decided for decided in self.decided_px)
        return self.jump >= max(LARGE, SIGMAS * math.sqrt(share * (1 - share) * patches))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for manifests."""
        shares = [round(share, 4) for share in self.shares]
        return {**asdict(self), "share_changed": shares, "jump": round(self.jump, 4)}


def part_edges(
    part: NDArray[np.uint8],
    at_core: tuple[slice, slice],
    classes: NDArray[np.uint8],
) -> str:
    """Counts of one tile as JSON; empty if it has no edge.

    `part` [H, W] covers the tile and its halo, `classes` [height, width] the tile.
    """
    present = [number for number in np.unique(part).tolist() if number != NOWHERE]
    near = {number: _near(part == number)[at_core] for number in present if len(present) > 1}
    counts: Counts = {}
    for one, other in combinations(near, 2):
        sides = [
            classes[(part[at_core] == mine) & near[theirs] & (classes != NO_DECISION)]
            for mine, theirs in ((one, other), (other, one))
        ]
        numbers = [int(n) for side in sides for n in (side.size, (side == 1).sum())]
        if any(numbers):
            counts[f"{one} {other}"] = numbers
    return json.dumps(counts) if counts else ""


def _near(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grown = ndimage.maximum_filter(mask.view(np.uint8), 2 * STRIP_PX + 1, mode="constant")
    return np.asarray(grown.astype(np.bool_))


def summed_edges(records: Iterable[TileRecord], names: list[str]) -> list[PartEdge]:
    """The edges of a region, the largest jump first; `names` of parts by number."""
    total: dict[str, list[int]] = {}
    for record in records:
        counts: Counts = json.loads(record.part_edges or "{}")
        for pair, numbers in counts.items():
            before = total.get(pair, [0] * len(numbers))
            total[pair] = [a + b for a, b in zip(before, numbers, strict=True)]
    edges = [_edge(pair, numbers, names) for pair, numbers in total.items() if all(numbers[::2])]
    return sorted(edges, key=lambda edge: (-edge.jump, edge.parts))


def _edge(pair: str, numbers: list[int], names: list[str]) -> PartEdge:
    one, other = (names[int(number)] for number in pair.split())
    return PartEdge((one, other), (numbers[0], numbers[2]), (numbers[1], numbers[3]))
