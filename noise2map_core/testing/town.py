"""An invented town from above, at two dates: roofs, streets, yards, gardens, trees, and shadows.

Coordinates are pixels of 0.3 m: x grows to the right, y downwards. Everything is drawn from one
`numpy.random.Generator`, so the same seed gives the same town.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import LineString

from noise2map_core.testing.landscape import Field, Mask, burn, fractal_noise

PIXEL_M = 0.3
DISTRICT_PX = 240
STOREY_M = 3.0

ASPHALT, EARTH, GRASS, LEAVES = (112, 110, 106), (150, 128, 100), (96, 112, 62), (58, 78, 40)
ROOFS = (
    (158, 154, 144), (186, 182, 172), (120, 116, 108), (138, 98, 78),  # concrete, brick
    (70, 116, 170), (176, 80, 72), (206, 208, 208), (92, 84, 80),  # sheets, tiles
)  # fmt: skip
FLAT_ROOFS = 3
"""The first so many are flat roofs, the others have two sides."""

BOTH, NEW, GONE = (0, 1), (1,), (0,)
"""Dates at which a house stands: 0 before, 1 after."""


@dataclass(frozen=True)
class House:
    """A rectangle turned by `angle` around its centre; lengths in pixels."""

    x: float
    y: float
    width: float
    depth: float
    angle: float
    height_m: float
    roof: int
    dates: tuple[int, ...]
    seed: int
    """Of how its roof looks, at both dates."""


@dataclass(frozen=True)
class View:
    """The town at one date."""

    picture: NDArray[np.uint8]
    """[red/green/blue, y, x]"""
    buildings: Mask
    """[y, x]: True under a roof."""


def draw_town(rng: Generator, size_px: int) -> tuple[View, View]:
    """A town of `size_px` x `size_px` pixels before and after; most of its houses stay."""
    streets = _streets(rng, size_px)
    ground = _ground(rng, size_px, streets)
    houses = list(_houses(rng, size_px))
    trees = rng.uniform((0, 0, 4), (size_px, size_px, 13), (size_px**2 // 2500, 3))
    before, after = (
        _view(rng, ground, streets, [h for h in houses if date in h.dates], trees)
        for date in (0, 1)
    )
    return before, after


def _streets(rng: Generator, size_px: int) -> Mask:
    """Straight streets from edge to edge, a few of them wide."""
    ends = rng.uniform(0, size_px, (max(2, size_px // 130), 2))
    lines = [
        LineString([(a, -9), (b, size_px + 9)] if index % 2 else [(-9, a), (size_px + 9, b)])
        for index, (a, b) in enumerate(ends)
    ]
    return burn(size_px, [(line, rng.choice([9.0, 14.0, 30.0])) for line in lines])


def _ground(rng: Generator, size_px: int, streets: Mask) -> Field:
    """Colours [3, y, x] of what lies between the houses."""
    patches, fine = fractal_noise(rng, size_px, 60, 1.8), fractal_noise(rng, size_px, 3, 1.0)
    colours = np.where(patches > 0.5, _colour(GRASS), _colour(EARTH) * (1 + 0.15 * patches))
    colours = np.where(streets, _colour(ASPHALT) * (1 + 0.05 * patches), colours)
    return np.asarray(colours * (1 + 0.14 * fine), np.float32)


def _colour(rgb: tuple[int, ...]) -> Field:
    return np.asarray(rgb, np.float32)[:, None, None]


def _houses(rng: Generator, size_px: int) -> Iterator[House]:
    """Rows of houses, in districts that are turned and built up each in its own way."""
    for top, left in np.ndindex(*[-(-size_px // DISTRICT_PX)] * 2):
        angle, share = rng.uniform(0, np.pi / 2), rng.uniform(0.3, 1.0)
        pitch = rng.uniform(24, 60, 2)
        for row, col in np.ndindex(*(DISTRICT_PX // pitch).astype(int)):
            if rng.uniform() > share:
                continue
            u, v = (np.array([col, row]) + 0.5) * pitch - DISTRICT_PX / 2
            width, depth = pitch * rng.uniform(0.6, 1.05, 2)
            yield House(
                (left + 0.5) * DISTRICT_PX + u * np.cos(angle) - v * np.sin(angle),
                (top + 0.5) * DISTRICT_PX + u * np.sin(angle) + v * np.cos(angle),
                width,
                depth,
                angle + rng.normal(0, 0.04),
                STOREY_M * rng.integers(1, 6),
                int(rng.integers(len(ROOFS))),
                (BOTH, NEW, GONE)[rng.choice(3, p=(0.78, 0.14, 0.08))],
                int(rng.integers(1 << 32)),
            )


def _view(
    rng: Generator, ground: Field, streets: Mask, houses: list[House], trees: NDArray[np.float64]
) -> View:
    """What a camera sees of what stands; sun, light and noise are drawn for each date."""
    picture, height = ground.copy(), np.zeros(ground.shape[1:], np.float32)
    for house in houses:
        _build(picture, height, streets, house)
    buildings = height > 0
    for x, y, radius in trees:
        _plant(rng, picture, height, buildings | streets, x, y, radius)
    light = np.where(_shadow(height, rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.6)), 0.45, 1.0)
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.93, 1.07, (3, 1, 1))
    seen = ndimage.gaussian_filter(picture * light * gain, (0, 0.7, 0.7)) + rng.uniform(-6, 12)
    noisy = seen + rng.normal(0, 4, seen.shape)
    return View(noisy.round().clip(1, 255).astype(np.uint8), buildings)


def _build(picture: Field, height: Field, streets: Mask, house: House) -> None:
    """Paint a roof where nothing else stands: two sides of sheets, or a parapet and clutter."""
    rng = np.random.default_rng(house.seed)
    window, u, v = _around(house.x, house.y, np.hypot(house.width, house.depth) / 2, height.shape)
    along = u * np.cos(house.angle) + v * np.sin(house.angle)
    across = v * np.cos(house.angle) - u * np.sin(house.angle)
    edge = np.minimum(house.width / 2 - abs(along), house.depth / 2 - abs(across))
    inside = (edge > 0) & ~streets[window] & (height[window] == 0)
    shade = rng.uniform(0.8, 1.2) * (1 + 0.05 * rng.standard_normal(edge.shape))
    if house.roof < FLAT_ROOFS:
        tanks = ndimage.zoom(rng.uniform(size=(9, 9)), np.array(edge.shape) / 9, order=0)
        shade *= np.where(edge < 2, 1.15, 1.0) * np.where(tanks > 0.85, rng.uniform(0.6, 1.3), 1.0)
    else:
        shade *= 1 + 0.12 * np.sign(across) + 0.06 * np.sin(along * rng.uniform(0.8, 2))
    np.copyto(picture[:, *window], _colour(ROOFS[house.roof]) * shade, where=inside)
    height[window][inside] = house.height_m


def _plant(
    rng: Generator, picture: Field, height: Field, taken: Mask, x: float, y: float, radius: float
) -> None:
    """Paint a crown, ragged at its edge, over open ground."""
    window, u, v = _around(x, y, radius, height.shape)
    crown = (np.hypot(u, v) < radius * rng.uniform(0.7, 1, u.shape)) & ~taken[window]
    colour = _colour(LEAVES) * rng.uniform(0.7, 1.4, u.shape)
    np.copyto(picture[:, *window], colour, where=crown)
    height[window][crown] = radius * PIXEL_M * 2


def _around(
    x: float, y: float, reach: float, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], Field, Field]:
    """The window around a point, and how far its pixels lie to the right and below."""
    rows, cols = (
        slice(*np.clip([int(at - reach), int(at + reach) + 2], 0, size).tolist())
        for at, size in zip((y, x), shape, strict=True)
    )
    v, u = np.mgrid[rows, cols] + 0.5
    return (rows, cols), u - x, v - y


def _shadow(height: Field, azimuth: float, slope: float) -> Mask:
    """Where something higher stands towards the sun, which falls `slope` metres a metre."""
    shadow = np.zeros(height.shape, np.bool_)
    for step in range(1, int(height.max() / slope / PIXEL_M)):
        down, right = round(step * np.cos(azimuth)), round(step * np.sin(azimuth))
        moved = ndimage.shift(height, (down, right), order=0)
        shadow |= moved - step * slope * PIXEL_M > height + 0.5
    return shadow
