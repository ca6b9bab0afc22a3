"""Kinds of quarters of a settlement: how their lots, houses and yards are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Key = TypeVar("Key")

Range = tuple[float, float]
Colours = NDArray[np.float32]

FLAT, GABLE, HIP, SHED = range(4)
"""Shapes of roofs: level; two sides; four sides; one side."""

(
    LAWN, ROUGH, SOIL, SAND, GRAVEL, CONCRETE, ASPHALT, CROP, WATER, WOOD, RUBBLE, POOL, SITE,
    SCRUB,
) = range(14)  # fmt: skip
"""What covers the ground. SITE: a construction site."""


def _palette(*colours: tuple[int, int, int]) -> Colours:
    return np.asarray(np.asarray(colours) / 255, np.float32)


PALETTES = {
    "tile": _palette((150, 75, 55), (176, 96, 72), (125, 70, 58), (190, 120, 95), (140, 95, 80)),
    "shingle": _palette(
        (95, 92, 90), (120, 112, 105), (140, 130, 118), (80, 75, 72), (165, 155, 140), (110, 90, 78)
    ),
    "tin": _palette(
        (190, 195, 200), (165, 168, 172), (205, 205, 200), (230, 230, 226), (150, 150, 146)
    ),
    "rust": _palette((125, 80, 60), (105, 74, 62), (150, 112, 92), (165, 140, 125), (90, 66, 58)),
    "paint": _palette(
        (50, 100, 180), (84, 140, 205), (60, 165, 205), (165, 50, 50), (176, 84, 76),
        (96, 140, 110), (150, 190, 165), (80, 190, 190), (40, 70, 130), (190, 90, 110),
    ),
    "concrete": _palette(
        (170, 165, 155), (140, 136, 128), (195, 190, 180), (120, 116, 110), (185, 175, 150),
        (150, 140, 120), (105, 100, 96),
    ),
    "membrane": _palette((225, 225, 222), (200, 200, 200), (90, 90, 92), (150, 150, 150)),
}  # fmt: skip


@dataclass(frozen=True)
class Quarter:
    """Ranges of which each quarter takes its own values; lengths in metres."""

    pitch: tuple[Range, Range]
    """Of lots, along the street and away from it."""
    fill: tuple[Range, Range]
    """Share of the lot that the house takes, along and away."""
    share: Range
    """Of lots with a house."""
    height: Range
    shapes: tuple[float, float, float, float]
    """Chances of FLAT, GABLE, HIP, SHED."""
    roofs: dict[str, float]
    """Chances of the palettes."""
    yards: dict[int, float]
    """Chances of what covers the lots."""
    rows: int = 2
    """Rows of lots between two streets."""
    street: Range = (4, 8)
    disorder: float = 0.03
    """How far houses stray in angle (radians) and place (shares of a lot)."""
    wings: float = 0.0
    """Chance of a wing."""
    trees: Range = (5, 40)
    """Per hectare."""
    walls: float = 0.0
    """Chance of walls around lots."""
    uniform: float = 0.0
    """Share of houses with the quarter's own roof."""


QUARTERS = {
    "suburb": Quarter(
        ((15, 28), (24, 40)), ((0.5, 0.8), (0.25, 0.45)),
        (0.75, 1), (3.5, 7), (0.08, 0.5, 0.4, 0.02),
        {"shingle": 0.5, "tile": 0.3, "concrete": 0.1, "tin": 0.1},
        {LAWN: 0.75, ROUGH: 0.15, SOIL: 0.1},
        street=(6, 10), wings=0.45, trees=(10, 70), walls=0.2,
    ),
    "village": Quarter(
        ((16, 40), (18, 45)), ((0.3, 0.75), (0.25, 0.5)),
        (0.35, 0.9), (3, 7), (0.15, 0.5, 0.25, 0.1),
        {"tile": 0.35, "tin": 0.25, "rust": 0.2, "concrete": 0.15, "paint": 0.05},
        {LAWN: 0.25, ROUGH: 0.3, SOIL: 0.35, CONCRETE: 0.1},
        street=(3, 6), disorder=0.2, wings=0.4, trees=(5, 60), walls=0.35,
    ),
    "rows": Quarter(
        ((5, 9), (20, 34)), ((1, 1), (0.28, 0.42)),
        (0.85, 1), (5, 9), (0.15, 0.75, 0.05, 0.05),
        {"tile": 0.4, "shingle": 0.5, "concrete": 0.1}, {LAWN: 0.5, ROUGH: 0.2, CONCRETE: 0.3},
        street=(7, 11), disorder=0.004, trees=(4, 30), walls=0.4, uniform=0.75,
    ),
    "industry": Quarter(
        ((30, 140), (22, 60)), ((0.6, 0.94), (0.6, 0.92)),
        (0.6, 1), (6, 13), (0.35, 0.5, 0.05, 0.1),
        {"tin": 0.45, "paint": 0.22, "membrane": 0.2, "rust": 0.05, "concrete": 0.08},
        {CONCRETE: 0.5, ASPHALT: 0.2, GRAVEL: 0.15, SOIL: 0.15},
        street=(8, 14), disorder=0.01, wings=0.15, trees=(0, 12), walls=0.2, uniform=0.5,
    ),
    "dense": Quarter(
        ((5, 12), (5, 14)), ((0.8, 1.12), (0.75, 1.1)),
        (0.75, 1), (2.5, 5), (0.2, 0.45, 0.05, 0.3),
        {"tin": 0.35, "rust": 0.35, "concrete": 0.15, "paint": 0.15},
        {SOIL: 0.75, RUBBLE: 0.15, GRAVEL: 0.1},
        rows=4, street=(2, 5), disorder=0.09, wings=0.2, trees=(0, 15),
    ),
    "midrise": Quarter(
        ((9, 20), (10, 22)), ((0.65, 1), (0.6, 0.98)),
        (0.65, 1), (5, 16), (0.8, 0.1, 0.02, 0.08),
        {"concrete": 0.65, "tin": 0.12, "paint": 0.13, "rust": 0.05, "tile": 0.05},
        {SOIL: 0.3, CONCRETE: 0.35, ROUGH: 0.2, GRAVEL: 0.15},
        rows=3, street=(4, 9), disorder=0.05, wings=0.3, trees=(2, 25), walls=0.3,
    ),
    "slabs": Quarter(
        ((40, 85), (30, 50)), ((0.6, 0.85), (0.28, 0.45)),
        (0.6, 1), (12, 32), (0.8, 0.1, 0.1, 0),
        {"membrane": 0.35, "concrete": 0.4, "tile": 0.15, "paint": 0.1},
        {LAWN: 0.6, ROUGH: 0.2, ASPHALT: 0.2},
        street=(7, 12), disorder=0.01, wings=0.3, trees=(10, 50), uniform=0.7,
    ),
    "scattered": Quarter(
        ((40, 110), (40, 110)), ((0.1, 0.35), (0.08, 0.2)),
        (0.03, 0.3), (3, 7), (0.15, 0.5, 0.25, 0.1),
        {"tile": 0.3, "tin": 0.3, "rust": 0.15, "paint": 0.1, "concrete": 0.15}, {},
        rows=9, street=(3, 5), disorder=0.4, wings=0.6, trees=(0, 12),
    ),
}  # fmt: skip


def within(rng: Generator, bounds: Range, size: int | None = None) -> NDArray[np.float64]:
    """Uniform draws from a range."""
    return np.asarray(rng.uniform(*bounds, size))


def one_of(rng: Generator, chances: Mapping[Key, float]) -> Key:
    """A key, by its chance; chances need not add up to 1."""
    weights = np.fromiter(chances.values(), np.float64)
    return list(chances)[rng.choice(len(weights), p=weights / weights.sum())]
