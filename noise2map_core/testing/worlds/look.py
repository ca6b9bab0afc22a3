"""How one date of a close-up world looks: light, season, colours, camera; all drawn at random."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds.quarters import (
    ASPHALT,
    CONCRETE,
    CROP,
    GRAVEL,
    LAWN,
    POOL,
    ROUGH,
    RUBBLE,
    SAND,
    SCRUB,
    SITE,
    SOIL,
    WATER,
    WOOD,
)

Vector = NDArray[np.float64]
Colour = NDArray[np.float32]


def _rgb(*colour: int) -> Vector:
    return np.asarray(colour, np.float64) / 255


EARTHS = (
    _rgb(150, 128, 104), _rgb(170, 112, 82), _rgb(186, 158, 124), _rgb(128, 112, 98),
    _rgb(196, 132, 98), _rgb(206, 184, 150), _rgb(112, 92, 76),
)  # fmt: skip
GREENS = (_rgb(84, 108, 58), _rgb(98, 118, 66), _rgb(72, 98, 56), _rgb(90, 116, 78))
STRAWS = (_rgb(158, 144, 104), _rgb(140, 128, 96), _rgb(122, 112, 84))
LEAVES = (_rgb(52, 76, 42), _rgb(66, 90, 48), _rgb(44, 66, 46), _rgb(80, 98, 52))
BARE_TWIGS = _rgb(112, 100, 88)
WATERS = (
    _rgb(52, 66, 60),
    _rgb(74, 84, 62),
    _rgb(40, 52, 60),
    _rgb(104, 104, 80),
    _rgb(62, 92, 90),
)


@dataclass(frozen=True)
class Place:
    """What a place keeps at all dates."""

    earth: Vector
    green: Vector
    straw: Vector
    leaves: Vector
    asphalt: float
    concrete: Vector
    azimuth: float
    """Where the sun mostly stands, radians."""

    @classmethod
    def draw(cls, rng: Generator) -> "Place":
        """A place."""
        earth, green, straw, leaves = (
            kinds[rng.integers(len(kinds))] * rng.normal(1, 0.05, 3)
            for kinds in (EARTHS, GREENS, STRAWS, LEAVES)
        )
        concrete = _rgb(176, 172, 162) * rng.uniform(0.8, 1.15) * rng.normal(1, 0.02, 3)
        return cls(
            earth, green, straw, leaves, rng.uniform(0.28, 0.5), concrete, rng.uniform(0, 2 * np.pi)
        )


@dataclass(frozen=True)
class Look:
    """One date of a place."""

    ground: Colour
    """[cover, main/other, rgb]"""
    grain: Colour
    """[cover, fine/middle/coarse] strength of its textures."""
    crops: Colour
    """[crop, rgb] of fields."""
    crop_rows: Colour
    """[crop, (period in metres, strength)]"""
    leaves: Colour
    """[two kinds, rgb]"""
    leaf_loss: float
    """Share of the crowns through which one sees."""
    road: Colour
    """[label of road, rgb]"""
    sun: Vector
    """Unit vector to the sun (right, down, up)."""
    shade: Colour
    """[rgb] light in the shadow, of that in the sun."""
    lean: Vector
    """Pixels of displacement (right, down) a metre of height, times the pixel size in metres."""
    seed: int

    @classmethod
    def draw(cls, rng: Generator, place: Place) -> "Look":
        """Of one date."""
        dryness = rng.beta(0.8, 1.2)
        crops, rows = _crops(rng, place, dryness)
        elevation = np.radians(rng.uniform(25, 72))
        azimuth = place.azimuth + rng.normal(0, 0.5)
        flat = np.cos(elevation) * np.array([np.cos(azimuth), np.sin(azimuth)])
        lean = rng.choice([0.02, 0.12, 0.3], p=(0.4, 0.45, 0.15)) * rng.uniform()
        aside = rng.uniform(0, 2 * np.pi)
        loss = rng.choice([0.0, rng.uniform(0.3, 0.9)], p=(0.85, 0.15))
        leaves = _mix(place.leaves, place.straw * 0.7, 0.4 * dryness) * rng.normal(1, 0.04, 3)
        leaves = _mix(leaves, BARE_TWIGS, loss)
        return cls(
            ground=_ground(rng, place, dryness),
            grain=GRAIN * rng.uniform(0.7, 1.4, (len(GRAIN), 1)).astype(np.float32),
            crops=crops,
            crop_rows=rows,
            leaves=np.asarray([leaves * 0.85, leaves * rng.uniform(1.0, 1.5)], np.float32),
            leaf_loss=loss,
            road=_roads(rng, place),
            sun=np.array([*flat, np.sin(elevation)]),
            shade=np.asarray(rng.uniform(0.28, 0.62) * np.array([0.92, 1.0, 1.14]), np.float32),
            lean=lean * np.array([np.cos(aside), np.sin(aside)]),
            seed=int(rng.integers(1009)),
        )


def _mix(one: Vector, other: Vector, share: float) -> Vector:
    return one + (other - one) * share


def _ground(rng: Generator, place: Place, dryness: float) -> Colour:
    """[cover, main/other, rgb]"""
    wet = rng.uniform(0.78, 1.1)
    earth = place.earth * wet
    lawn = _mix(place.green, place.straw, dryness * rng.uniform(0.2, 0.7))
    rough = _mix(place.green * 0.92, place.straw, dryness)
    water = WATERS[rng.integers(len(WATERS))] * rng.uniform(0.7, 1.2)
    colours = {
        LAWN: (lawn, _mix(lawn, place.straw, 0.35)),
        ROUGH: (rough, _mix(rough, earth, rng.uniform(0.2, 0.8))),
        SOIL: (earth, _mix(earth * 1.12, rough, rng.uniform(0, 0.6))),
        SAND: (_mix(earth, _rgb(214, 192, 156), 0.7), _mix(earth, _rgb(190, 166, 130), 0.6)),
        GRAVEL: (_rgb(150, 146, 138) * wet, _mix(_rgb(128, 122, 112), earth, 0.3)),
        CONCRETE: (place.concrete * wet, place.concrete * wet * 0.86),
        ASPHALT: (np.full(3, place.asphalt) * wet, np.full(3, place.asphalt + 0.06) * wet),
        CROP: (rough, earth),
        WATER: (water, water * rng.uniform(0.85, 1.2)),
        WOOD: (place.leaves * 0.62, _mix(place.leaves * 0.7, earth * 0.6, 0.5)),
        RUBBLE: (_rgb(140, 134, 126), _mix(_rgb(105, 98, 92), earth, 0.4)),
        POOL: (_rgb(90, 180, 205), _rgb(110, 196, 214)),
        SITE: (earth * 1.1, _mix(earth, _rgb(190, 182, 170), rng.uniform(0.2, 0.9))),
        SCRUB: (_mix(earth, rough, 0.5), _mix(place.leaves, rough, 0.3)),
    }  # fmt: skip
    return np.asarray([colours[cover] for cover in range(len(colours))], np.float32)


GRAIN = np.array([
    (0.07, 0.06, 0.07), (0.14, 0.14, 0.10), (0.08, 0.08, 0.10), (0.04, 0.05, 0.08),
    (0.11, 0.08, 0.07), (0.04, 0.05, 0.06), (0.03, 0.04, 0.05), (0.06, 0.06, 0.06),
    (0.02, 0.03, 0.06), (0.24, 0.20, 0.10), (0.35, 0.16, 0.08), (0.03, 0.03, 0.02),
    (0.13, 0.12, 0.10), (0.18, 0.22, 0.10),
], np.float32)  # fmt: skip
"""[cover, fine/middle/coarse] as a share of the colour."""

NUM_CROPS = 12


def _crops(rng: Generator, place: Place, dryness: float) -> tuple[Colour, Colour]:
    """Colours and rows of the fields' states: green, ripe, stubble, ploughed, or under fleece."""
    earth = place.earth * rng.uniform(0.75, 1.05)
    states = np.array(
        [place.green * 0.95, _mix(place.green, _rgb(130, 150, 60), 0.5), _rgb(186, 164, 104),
         _mix(place.straw, earth, 0.4), earth * 0.86, earth * 1.08, _rgb(205, 208, 206)]
    )  # fmt: skip
    chances = np.array([3, 2, 0.3 + 2 * dryness, 1 + dryness, 1.5, 1, 0.15])
    picked = states[rng.choice(len(states), NUM_CROPS, p=chances / chances.sum())]
    tint = rng.normal(1, 0.07, (NUM_CROPS, 1)) * rng.normal(1, 0.03, (NUM_CROPS, 3))
    rows = np.stack([rng.uniform(0.8, 6, NUM_CROPS), rng.gamma(1, 0.06, NUM_CROPS)], axis=1)
    return np.asarray(picked * tint, np.float32), np.asarray(rows, np.float32)


def _roads(rng: Generator, place: Place) -> Colour:
    """[label, rgb]: none, sidewalk, carriageway, marking, track."""
    tar = np.full(3, place.asphalt * rng.uniform(0.9, 1.15)) * np.array([1, 0.99, 0.96])
    tar = place.concrete * 0.95 if place.asphalt > 0.45 else tar
    track = _mix(place.earth * 1.12, place.concrete, rng.uniform(0, 0.4))
    return np.asarray([tar, place.concrete, tar, _rgb(215, 213, 205), track], np.float32)
