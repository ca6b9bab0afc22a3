"""What covers a stretch of land of some kilometres, at two dates.

Coordinates are pixels, x to the right and y downwards; arrays with a date axis are
[before/after, y, x].
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds.classes import (
    BARE,
    BUILDING,
    BURNT,
    FIELD,
    OTHER,
    ROAD,
    TREE,
    WATER,
)
from noise2map_core.testing.worlds.drawing import Canvas, rectangles
from noise2map_core.testing.worlds.fields import Field, Mask, coordinates, noise, turned

CLIMATES = ("temperate", "dry", "tropical", "desert")
NUM_DRAWS = 1021
"""Parcels and blocks far apart may share a number."""


@dataclass
class Land:
    """`classes` [date, y, x] as in `classes`; what they look like is told by the rest."""

    gsd: float
    climate: str
    classes: NDArray[np.uint8]
    parcel: NDArray[np.int32]
    """[y, x] below NUM_DRAWS: of fields."""
    rows: Field
    """[y, x] metres across the fields' rows."""
    block: NDArray[np.int32]
    """[y, x] below NUM_DRAWS: of built-up blocks."""
    house: NDArray[np.int32]
    """[y, x] below NUM_DRAWS: of cells within blocks, as large as a building's plot."""
    street: Field
    """[y, x] share of the pixel that is street, where it is built-up."""
    hall: NDArray[np.int32]
    """[y, x] 0 none, else the number of a large building with its yard."""
    height: Field
    """[y, x] deviation 1; only slopes are seen."""


def cover_land(rng: Generator, size_px: int, gsd: float, changes: bool) -> Land:
    """Land at two dates; without `changes` both have the same classes."""
    climate = CLIMATES[rng.choice(4, p=(0.42, 0.26, 0.17, 0.15))]
    height = noise(rng, size_px, rng.uniform(1.6, 2.4))
    land = _fabric(rng, size_px, gsd, climate, height)
    _nature(rng, land)
    centres = rng.uniform(-0.1, 1.1, (rng.integers(1, 5), 2)) * size_px
    closeness = _closeness(rng, size_px, centres)
    _settle(rng, land, closeness)
    _roads(rng, land, centres)
    _river(rng, land)
    land.classes[1] = land.classes[0]
    if changes:
        _happen(rng, land, closeness)
    return land


def _fabric(rng: Generator, size_px: int, gsd: float, climate: str, height: Field) -> Land:
    x, y = coordinates(size_px)
    parcel, rows = _parcels(rng, x, y, gsd)
    block, house, street = _blocks(rng, x, y, gsd)
    nothing = np.zeros((2, size_px, size_px), np.uint8)
    hall = np.zeros((size_px, size_px), np.int32)
    return Land(gsd, climate, nothing, parcel, rows, block, house, street, hall, height)


def _districts(rng: Generator, x: Field, y: Field, count: int) -> NDArray[np.int64]:
    """[y, x] the nearest of some random places, with uneven borders."""
    size = len(x)
    places = rng.uniform(0, size, (count, 2))
    bend = [noise(rng, size, 2.0) * 0.03 * size for _ in "xy"]
    away = [(x + bend[0] - px) ** 2 + (y + bend[1] - py) ** 2 for px, py in places]
    return np.argmin(away, axis=0)


def _parcels(rng: Generator, x: Field, y: Field, gsd: float) -> tuple[NDArray[np.int32], Field]:
    """Fields in strips; each district has its own size and direction."""
    district = _districts(rng, x, y, int(rng.integers(1, 7)))
    count = district.max() + 1
    angle = rng.uniform(0, np.pi, count)[district]
    scale = rng.lognormal(0, 0.5)
    depth = (scale * rng.uniform(40, 220, count) / gsd).clip(2)[district]
    length = (scale * rng.uniform(100, 600, count) / gsd).clip(3)[district]
    bend = noise(rng, len(x), 2.4) * rng.uniform(0, 6)
    across = y * np.cos(angle) - x * np.sin(angle) + bend
    row = np.floor(across / depth)
    col = np.floor(
        (x * np.cos(angle) + y * np.sin(angle)) / length + rng.random(61)[row.astype(int) % 61]
    )
    return _number(row, col, district), (across * gsd).astype(np.float32)


def _number(row: Field, col: Field, more: NDArray[np.integer]) -> NDArray[np.int32]:
    mixed = row.astype(np.int64) * 73856093 ^ col.astype(np.int64) * 19349663
    return ((mixed ^ more * 83492791) % NUM_DRAWS).astype(np.int32)


def _blocks(
    rng: Generator, x: Field, y: Field, gsd: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], Field]:
    """Blocks between streets, plots within blocks, and the share of street."""
    district = _districts(rng, x, y, int(rng.integers(2, 9)))
    count = district.max() + 1
    angle = rng.uniform(0, np.pi / 2, count)[district]
    bend = noise(rng, len(x), 2.2) * rng.uniform(0, 4)
    u = x * np.cos(angle) + y * np.sin(angle) + bend
    v = y * np.cos(angle) - x * np.sin(angle) + bend
    pitch = rng.uniform(50, 200, (2, count))[:, district] / gsd
    width = rng.uniform(5, 18, count)[district] / gsd
    row, col = np.floor(v / pitch[0]), np.floor(u / pitch[1])
    gap = np.maximum(
        abs(v / pitch[0] - row - 0.5) - 0.5 + width / 2 / pitch[0],
        abs(u / pitch[1] - col - 0.5) - 0.5 + width / 2 / pitch[1],
    )
    street = (gap * pitch.mean(axis=0) + 0.5).clip(0, 1)
    plot = rng.uniform(12, 45, count)[district] / gsd
    house = _number(np.floor(v / plot), np.floor(u / plot / 1.3), district)
    return _number(row, col, district), house, street.astype(np.float32)


def _nature(rng: Generator, land: Land) -> None:
    """Grass, woods, fields, bare ground."""
    size = len(land.height)
    chances = {
        "temperate": ((0.1, 0.6), (0.2, 0.9), 0.02), "dry": ((0.0, 0.3), (0.1, 0.7), 0.25),
        "tropical": ((0.2, 0.9), (0.05, 0.6), 0.03), "desert": ((0.0, 0.03), (0.0, 0.25), 0.85),
    }[land.climate]  # fmt: skip
    wood, farmed = (rng.uniform(*bounds) for bounds in chances[:2])
    classes = land.classes[0]
    classes[_highest(noise(rng, size, 1.9), chances[2])] = BARE
    classes[_highest(noise(rng, size, 2.3), farmed)] = FIELD
    classes[_highest(noise(rng, size, rng.uniform(1.5, 2.2)) + 0.7 * land.height, wood)] = TREE
    small = rng.uniform(size=NUM_DRAWS) < rng.uniform(0, 0.12)
    classes[small[land.parcel] & (classes == FIELD)] = OTHER
    if land.climate == "desert" and rng.uniform() < 0.4:
        _pivots(rng, land, 0)


def _highest(field: Field, share: float) -> Mask:
    """True where a field is among the highest `share` of its values."""
    return field > np.quantile(field[::4, ::4], 1 - np.clip(share, 0, 1))


def _pivots(rng: Generator, land: Land, date: int) -> Mask:
    """Round irrigated fields."""
    size, radius = len(land.height), rng.uniform(200, 450) / land.gsd
    canvas, count = Canvas(size), rng.integers(1, 9)
    middle = rng.uniform(0, size, 2) + rng.integers(-3, 4, (count, 2)) * 2.1 * radius
    canvas.discs(middle[:, 0], middle[:, 1], np.full(count, radius))
    labels = canvas.labels()
    drawn: Mask = (labels > 0) & np.isin(land.classes[date], (BARE, OTHER))
    land.parcel[drawn] = labels[drawn]
    land.classes[date][drawn] = FIELD
    return drawn


def _closeness(rng: Generator, size_px: int, centres: NDArray[np.float64]) -> Field:
    """[y, x] larger near the middle of towns; 0 at about their edge."""
    x, y = coordinates(size_px)
    found = np.full(x.shape, -9.0)
    for px, py in centres:
        radius = size_px * rng.gamma(2, 0.17)
        found = np.maximum(found, 1 - np.hypot(x - px, y - py) / radius)
    ragged = noise(rng, size_px, 1.7) * rng.uniform(0.15, 0.6)
    return np.asarray(found + ragged, np.float32)


def _settle(rng: Generator, land: Land, closeness: Field) -> None:
    """Towns of whole blocks, some of them open; hamlets."""
    town = _by_block(land, closeness) > rng.uniform(-0.1, 0.5)
    hamlets = _highest(noise(rng, len(closeness), 1.2), rng.uniform(0, 0.02))
    open_blocks = rng.uniform(size=NUM_DRAWS) < rng.uniform(0, 0.2)
    land.classes[0][(town & ~open_blocks[land.block]) | hamlets] = BUILDING
    parks = rng.uniform(size=NUM_DRAWS) < 0.4
    land.classes[0][town & open_blocks[land.block] & parks[land.block]] = TREE
    halls = _plots(rng, land, closeness, int(rng.integers(0, 40)), 0.3)
    land.hall[halls > 0] = halls[halls > 0]
    land.classes[0][halls > 0] = BUILDING


def _by_block(land: Land, field: Field) -> Field:
    """The mean of a field over each block, spread over it, with some of its own left."""
    flat = land.block.ravel()
    sums = np.bincount(flat, field.ravel(), NUM_DRAWS)
    counts = np.bincount(flat, minlength=NUM_DRAWS).clip(1)
    return 0.5 * field + 0.5 * (sums / counts)[land.block]


def _plots(
    rng: Generator, land: Land, closeness: Field, count: int, reach: float
) -> NDArray[np.int32]:
    """Rectangles along the edge of towns [y, x]: 0 none, else a number below NUM_DRAWS."""
    size = len(closeness)
    x, y = rng.uniform(0, size, (2, 8 * count + 1))
    near = abs(closeness[y.astype(int), x.astype(int)] - 0.1) < reach
    x, y = x[near][:count], y[near][:count]
    length = rng.lognormal(np.log(90), 0.6, len(x)).clip(20, 500) / land.gsd
    width = length * rng.uniform(0.3, 1, len(x))
    angle = rng.uniform(0, np.pi) + rng.choice([0, np.pi / 2], len(x)) + rng.normal(0, 0.3, len(x))
    canvas = Canvas(size)
    canvas.polygons(rectangles(x, y, length, width, angle), rng.integers(1, NUM_DRAWS, len(x)))
    return canvas.labels()


def _roads(rng: Generator, land: Land, centres: NDArray[np.float64]) -> None:
    """From town to town and over the edge."""
    canvas, size = Canvas(len(land.height)), len(land.height)
    ends = [*centres, *rng.uniform(-0.4, 1.4, (rng.integers(1, 4), 2)) * size]
    for start, end in pairwise(ends):
        _road(rng, canvas, land, np.array([start, end]))
    land.classes[0][canvas.labels() > 0] = ROAD


def _road(rng: Generator, canvas: Canvas, land: Land, ends: NDArray[np.float64]) -> None:
    t = np.linspace(-0.5, 1.5, 40)[:, None]
    line = ends[0] + t * (ends[1] - ends[0])
    swing = rng.normal(0, 0.03) * len(land.height) * np.sin(t * rng.uniform(2, 8))
    canvas.line(line + swing * [1, -1], rng.choice([10, 15, 35]) / land.gsd, 1)


def _river(rng: Generator, land: Land) -> None:
    """A river, lakes in low ground, or the sea; or nothing."""
    kind = rng.choice(["none", "river", "lakes", "sea"], p=(0.4, 0.3, 0.2, 0.1))
    if kind == "none":
        return
    depth = _depth(rng, land, kind)
    land.classes[0][depth > 0] = WATER


def _depth(rng: Generator, land: Land, kind: str) -> Field:
    """[y, x] positive in water."""
    size = len(land.height)
    if kind == "lakes":
        return -land.height - rng.uniform(1.4, 2.4)
    across = turned(*coordinates(size), rng.uniform(0, np.pi))[1]
    bend = noise(rng, size, 2.3) * rng.uniform(2, 18)
    middle = rng.uniform(0.1, 0.9) * np.ptp(across) + across.min()
    if kind == "river":
        return np.asarray(rng.uniform(15, 250) / land.gsd - abs(across + bend - middle))
    return np.asarray(across + bend - max(middle, np.quantile(across, 0.7)))


def _happen(rng: Generator, land: Land, closeness: Field) -> None:
    """One to three of what changes land, some of them backwards in time."""
    events = (_grow, _grow, _build, _build, _fell, _burn, _flood, _dam, _mine, _irrigate, _pave)
    weights = np.array([3, 2, 4, 2, 2.5, 1.3, 1.3, 0.8, 1, 0.6 + (land.climate == "desert"), 1])
    chosen = rng.choice(len(events), rng.integers(1, 4), replace=False, p=weights / weights.sum())
    for number in chosen:
        events[number](rng, land, closeness)
    if rng.uniform() < 0.12:
        land.classes = land.classes[::-1].copy()


def _grow(rng: Generator, land: Land, closeness: Field) -> None:
    """Towns take whole blocks more."""
    wider = _by_block(land, closeness) > rng.uniform(-0.4, 0.2)
    some = rng.uniform(size=NUM_DRAWS) < rng.uniform(0.1, 0.8)
    fresh = wider & some[land.block] & ~np.isin(land.classes[0], (WATER, ROAD, BUILDING))
    waiting = rng.uniform(size=NUM_DRAWS) < rng.uniform(0, 0.4)
    land.classes[1][fresh] = np.where(waiting[land.block], BARE, BUILDING)[fresh]


def _build(rng: Generator, land: Land, closeness: Field) -> None:
    """Single large buildings, within towns too."""
    halls = _plots(rng, land, closeness, int(rng.integers(1, 30)), rng.uniform(0.3, 3))
    fresh = (halls > 0) & ~np.isin(land.classes[0], (WATER, ROAD, BUILDING))
    land.hall[fresh] = halls[fresh]
    land.classes[1][fresh] = BUILDING if rng.uniform() < 0.85 else BARE


def _blob(rng: Generator, land: Land, share: float, within: tuple[int, ...]) -> Mask:
    blob = _highest(noise(rng, len(land.height), rng.uniform(1.8, 2.6)), share)
    found: Mask = blob & np.isin(land.classes[1], within)
    return found


def _fell(rng: Generator, land: Land, closeness: Field) -> None:
    """Woods cleared in parcels or blobs."""
    if rng.uniform() < 0.6:
        felled = (rng.uniform(size=NUM_DRAWS) < rng.uniform(0.03, 0.3))[land.parcel]
        felled = felled & (land.classes[1] == TREE)
    else:
        felled = _blob(rng, land, rng.uniform(0.02, 0.2), (TREE,))
    land.classes[1][felled] = rng.choice([BARE, OTHER, FIELD], p=(0.6, 0.25, 0.15))


def _burn(rng: Generator, land: Land, closeness: Field) -> None:
    land.classes[1][_blob(rng, land, rng.uniform(0.02, 0.3), (TREE, OTHER))] = BURNT


def _flood(rng: Generator, land: Land, closeness: Field) -> None:
    """Low ground, and all ground near to water, under water."""
    low = _highest(-land.height + 0.3 * noise(rng, len(closeness), 1.2), rng.uniform(0.02, 0.25))
    land.classes[1][low & np.isin(land.classes[1], (OTHER, FIELD, BARE, TREE))] = WATER


def _dam(rng: Generator, land: Land, closeness: Field) -> None:
    land.classes[1][_blob(rng, land, rng.uniform(0.01, 0.1), (TREE, OTHER, FIELD, BARE))] = WATER


def _mine(rng: Generator, land: Land, closeness: Field) -> None:
    land.classes[1][_blob(rng, land, rng.uniform(0.01, 0.12), (TREE, OTHER, FIELD))] = BARE


def _irrigate(rng: Generator, land: Land, closeness: Field) -> None:
    _pivots(rng, land, 1)


def _pave(rng: Generator, land: Land, closeness: Field) -> None:
    """A new road."""
    size = len(closeness)
    canvas = Canvas(size)
    _road(rng, canvas, land, rng.uniform(0, size, (2, 2)))
    land.classes[1][(canvas.labels() > 0) & (land.classes[1] != BUILDING)] = ROAD
