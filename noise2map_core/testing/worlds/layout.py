"""Lays out a close-up world: open country, quarters, roads, water, woods."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds.fields import Field, coordinates, noise, turned
from noise2map_core.testing.worlds.plan import CARRIAGEWAY, Plan, sampled
from noise2map_core.testing.worlds.quarters import (
    CROP,
    LAWN,
    QUARTERS,
    ROUGH,
    SAND,
    SCRUB,
    SITE,
    SOIL,
    WATER,
    WOOD,
    one_of,
)
from noise2map_core.testing.worlds.roads import lay_main_roads
from noise2map_core.testing.worlds.settlement import settle
from noise2map_core.testing.worlds.trees import plant_woods

SETTINGS: dict[str, dict[str, float]] = {
    "town": {"suburb": 3, "rows": 1, "midrise": 2, "slabs": 1, "industry": 1, "village": 1},
    "crowded": {"dense": 4, "midrise": 3, "village": 1, "industry": 0.5},
    "works": {"industry": 5, "slabs": 1, "village": 0.7, "scattered": 1},
    "country": {"village": 3, "scattered": 3, "suburb": 0.5, "industry": 0.7},
    "wild": {"scattered": 1},
}  # fmt: skip

SETTING_CHANCES = {"town": 0.3, "crowded": 0.22, "works": 0.23, "country": 0.2, "wild": 0.05}

WATER_CHANCE = 0.25
NATURE: dict[str, dict[int, float]] = {
    "town": {LAWN: 2, ROUGH: 3, SOIL: 2, WOOD: 1, SCRUB: 1},
    "crowded": {ROUGH: 2, SOIL: 3, LAWN: 1, CROP: 1, WOOD: 0.5, SCRUB: 1},
    "works": {SOIL: 3, ROUGH: 3, CROP: 1, SCRUB: 1, SITE: 1, WOOD: 0.5},
    "country": {CROP: 4, ROUGH: 1, WOOD: 1.5, SCRUB: 1, LAWN: 0.5, SOIL: 0.5},
    "wild": {WOOD: 3, CROP: 1.5, SCRUB: 1.5, SAND: 1.5, SOIL: 1, ROUGH: 1},
}  # fmt: skip


def lay_out(rng: Generator, size_px: int, gsd: float, changes: bool) -> Plan:
    """A place at two dates; without `changes` all its houses stand at both."""
    setting = one_of(rng, SETTING_CHANCES)
    plan = _open_country(rng, size_px, gsd, NATURE[setting])
    sides, cuts = _cut(rng, size_px)
    for side in np.unique(sides).tolist():
        kind = one_of(rng, SETTINGS[setting])
        settle(rng, plan, QUARTERS[kind], kind, sides == side, changes)
    lay_main_roads(rng, plan, cuts)
    if rng.uniform() < WATER_CHANCE:
        _water(rng, plan)
    _clear_houses(plan)
    plant_woods(rng, plan)
    return plan


def _open_country(rng: Generator, size_px: int, gsd: float, chances: dict[int, float]) -> Plan:
    """Two covers in patches, the same at both dates, and the fields below them."""
    first, second = one_of(rng, chances), one_of(rng, chances)
    patches = noise(rng, size_px, 2.2, 150 / gsd) > rng.uniform(-0.3, 1.5)
    cover = np.where(patches, second, first).astype(np.uint8)
    parcel, rows = _fields(rng, size_px, gsd)
    empty = np.zeros((2, size_px, size_px), np.int32)
    return Plan(
        size_px, gsd, np.stack([cover, cover]), empty, empty.copy(), parcel, rows,
        np.full((2, size_px, size_px), -1e3, np.float32),
    )  # fmt: skip


def _fields(rng: Generator, size_px: int, gsd: float) -> tuple[NDArray[np.int32], Field]:
    x, y = coordinates(size_px)
    along, across = turned(x, y, rng.uniform(0, np.pi))
    bend = noise(rng, size_px, 2.5) * rng.uniform(0, 5) / gsd
    depth, length = rng.uniform(12, 120) / gsd, rng.uniform(40, 250) / gsd
    row = np.floor((across + bend) / depth)
    col = np.floor(along / length + row * 0.37)
    return ((row * 31 + col * 17).astype(np.int32) % 997), (across + bend) * np.float32(gsd)


def _cut(rng: Generator, size_px: int) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """The quarters [y, x] that up to two curves cut the canvas into, and the curves."""
    x, y = coordinates(size_px)
    sides, curves = np.zeros(x.shape, np.int64), []
    for number in range(rng.choice(3, p=(0.3, 0.45, 0.25))):
        angle = rng.uniform(0, np.pi)
        along, across = turned(x - size_px / 2, y - size_px / 2, angle)
        offset, swing = rng.normal(0, size_px / 5), rng.uniform(-0.08, 0.08) * size_px
        sides += (across > offset + swing * np.sin(along * 3 / size_px)) << number
        t = np.linspace(-size_px, size_px, 30)
        v = offset + swing * np.sin(t * 3 / size_px)
        cos, sin = np.cos(angle), np.sin(angle)
        curve = np.stack([t * cos - v * sin, t * sin + v * cos], axis=1) + size_px / 2
        curves.append(curve)
    return sides, curves


def _water(rng: Generator, plan: Plan) -> None:
    """A river or ponds, whose level differs between the dates."""
    x, y = coordinates(plan.size_px)
    if rng.uniform() < 0.4:
        across = turned(x, y, rng.uniform(0, np.pi))[1]
        bend = noise(rng, plan.size_px, 2.6) * rng.uniform(2, 12) / plan.gsd
        middle = rng.uniform(0.1, 0.9) * np.ptp(across) + across.min()
        depth = rng.uniform(4, 40) - abs(across + bend - middle) * plan.gsd
    else:
        ponds = noise(rng, plan.size_px, 2.6, 120 / plan.gsd)
        depth = (ponds - rng.uniform(1.2, 2.0)) * 30
    drop = rng.choice([0.0, rng.normal(0, 2)])
    plan.water_depth = np.stack([depth, depth - drop]).astype(np.float32)
    for date in (0, 1):
        wet = plan.water_depth[date] > 0
        shore = (plan.water_depth[date] > -rng.uniform(0, 3)) & ~wet & (plan.roads[date] == 0)
        plan.cover[date][shore] = SOIL
        plan.cover[date][wet & (plan.roads[date] == 0)] = WATER
    plan.walls[plan.cover == WATER] = 0


def _clear_houses(plan: Plan) -> None:
    """Take away houses that stand in a road or in water at any date."""
    streets = plan.roads == CARRIAGEWAY
    taken = (streets | (plan.water_depth > -2)).any(axis=0)
    kept = []
    for houses in plan.houses:
        blocked = np.zeros(len(houses), np.bool_)
        for u, v in ((0, 0), (0.4, 0.4), (-0.4, 0.4), (0.4, -0.4), (-0.4, -0.4)):
            along, across = u * houses["length"], v * houses["width"]
            cos, sin = np.cos(houses["angle"]), np.sin(houses["angle"])
            x = houses["x"] + along * cos - across * sin
            blocked |= sampled(taken, x, houses["y"] + along * sin + across * cos)
        kept.append(houses[~blocked])
    plan.houses = kept
