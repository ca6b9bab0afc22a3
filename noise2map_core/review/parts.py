"""Which verdicts are to learn from, and which to choose by: apart in space."""

import math
from collections import Counter

import geopandas as gpd

from noise2map_core.labels.splits import block_split
from noise2map_core.review.scenes import SliceScenes
from noise2map_core.settings.labels import BlockSplit

SIDES = (512, 256, 128, 64)
"""Of blocks, pixels: the largest that parts the verdicts."""
SEEDS = 64
VAL_SHARE = 0.25
TOLERANCE = 0.15


def plan_parts(judged: gpd.GeoDataFrame, shown: SliceScenes) -> BlockSplit | None:
    """Blocks by which about a quarter of the verdicts are val, each kind of verdict in both parts;
    None if there are too few, or all lie too near to each other.

    `judged` has the column verdict, in the CRS of the slices.
    """
    kinds, places = judged["verdict"].tolist(), _pixels(judged, shown)
    best: tuple[float, BlockSplit] | None = None
    for side in SIDES:
        for seed in range(SEEDS):
            fractions = {"train": 1 - VAL_SHARE, "val": VAL_SHARE}
            config = BlockSplit(side_px=side, seed=seed, fractions=fractions)
            off = _off(config, places, kinds)
            if off is not None and (best is None or off < best[0]):
                best = off, config
        if best is not None and best[0] <= TOLERANCE:
            return best[1]
    return None


def _pixels(judged: gpd.GeoDataFrame, shown: SliceScenes) -> list[tuple[int, int]]:
    """Row and column of each, on the anchored grid."""
    points = judged.geometry.representative_point()
    x, y = shown.origin
    return [
        (math.floor((y - point.y) / shown.resolution), math.floor((point.x - x) / shown.resolution))
        for point in points
    ]


def _off(config: BlockSplit, places: list[tuple[int, int]], kinds: list[str]) -> float | None:
    """How far the share of val is from what it is to be; None if a part lacks a kind."""
    side = config.side_px
    parts = [block_split(config, row // side, col // side) for row, col in places]
    found = Counter(zip(parts, kinds, strict=True))
    if any(not found[part, kind] for part in ("train", "val") for kind in set(kinds)):
        return None
    return abs(parts.count("val") / len(parts) - VAL_SHARE)
