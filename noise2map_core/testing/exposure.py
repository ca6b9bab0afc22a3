"""What a satellite sees of a landscape: reflectance, light, haze, cloud, sensor, scene classes."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.testing.landscape import NUM_PARCEL_DRAWS, Field, Landscape, Mask, fractal_noise

BANDS = ("blue", "green", "red", "nir", "swir16")
SCALE = 10_000
"""Digital numbers are reflectance times SCALE; 0 is nodata."""
VEIL = 0.1
"""Share of the signal from which cloud counts as cloud; its fringes look like anything."""
SHADE = 0.25
"""Share of a cloud's density from which its shadow counts as shadow."""
SCL_NO_DATA, SCL_SHADOW, SCL_GROUND, SCL_CLOUD, SCL_DENSE_CLOUD = 0, 3, 5, 8, 9
"""Scene classes of Sentinel-2; ground is all that is neither cloud nor shadow."""
DENSE = 0.6
"""Share of the signal from which cloud is dense."""

Image = NDArray[np.float32]


def _spectrum(*values: float) -> Image:
    return np.array(values, dtype=np.float32)[:, None, None]


SOIL = _spectrum(0.078, 0.104, 0.134, 0.215, 0.30)
DRY_LITTER = _spectrum(0.06, 0.085, 0.115, 0.21, 0.25)
GRASS = _spectrum(0.035, 0.075, 0.055, 0.36, 0.21)
BROADLEAF = _spectrum(0.020, 0.045, 0.025, 0.37, 0.15)
CONIFER = _spectrum(0.017, 0.030, 0.020, 0.22, 0.085)
WATER = _spectrum(0.055, 0.060, 0.040, 0.018, 0.008)
MUD = _spectrum(0.080, 0.105, 0.120, 0.14, 0.12)
ASPHALT = _spectrum(0.085, 0.095, 0.105, 0.135, 0.15)
YARD = _spectrum(0.110, 0.130, 0.145, 0.215, 0.225)
CLOUD = _spectrum(0.62, 0.61, 0.60, 0.62, 0.42)
HAZE = _spectrum(0.260, 0.235, 0.215, 0.20, 0.10)
ROOFS = np.array(
    [
        (0.000, 0.000, 0.000, 0.000, 0.000),
        (0.075, 0.100, 0.185, 0.250, 0.290),  # tile
        (0.175, 0.190, 0.205, 0.235, 0.250),  # concrete
        (0.060, 0.062, 0.066, 0.085, 0.100),  # dark
        (0.330, 0.345, 0.355, 0.370, 0.330),  # bright metal
        (0.205, 0.170, 0.125, 0.190, 0.200),  # blue steel
    ],
    dtype=np.float32,
)
CROPS = np.array(
    [
        (0.032, 0.066, 0.040, 0.43, 0.19),  # green cereal
        (0.080, 0.118, 0.158, 0.30, 0.30),  # ripe cereal
        (0.048, 0.115, 0.090, 0.41, 0.20),  # rapeseed
        (0.034, 0.076, 0.045, 0.52, 0.20),  # beet, maize
        (0.036, 0.078, 0.056, 0.38, 0.22),  # meadow
        (0.075, 0.100, 0.125, 0.25, 0.29),  # stubble, hay
        (0.200, 0.220, 0.235, 0.34, 0.30),  # fleece over vegetables
    ],
    dtype=np.float32,
)
CROP_CHANCES = (0.24, 0.18, 0.10, 0.20, 0.16, 0.09, 0.03)
MEADOW = 4


@dataclass(frozen=True)
class Sky:
    """Light and air of one date."""

    gain: tuple[float, ...]
    """Per band; sun, atmosphere and calibration together."""
    haze_from: float
    """Haze in the upper left corner, as a share of the signal …"""
    haze_to: float
    """… and in the lower right corner."""
    cloud_centre: tuple[float, float]
    """Row and column as shares of the side."""
    cloud_radius: float
    """Share of the side."""


SKIES = (
    Sky((1.00, 1.00, 1.00, 1.00, 1.00), 0.02, 0.10, (0.27, 0.13), 0.07),
    Sky((1.10, 1.07, 1.04, 0.93, 0.90), 0.20, 0.03, (0.58, 0.76), 0.10),
)
"""Before and after: one cloud in the west before, a larger one in the east after."""


def expose(rng: Generator, land: Landscape) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Pictures uint16 [before/after, band, y, x] and their scene classes [before/after, y, x].

    Crops are drawn for each date on their own, so that fields differ wherever they please.
    """
    texture = _Texture.draw(rng, land.parcel.shape[0])
    crops = _crops(rng)
    pictures, classes = [], []
    for date, sky in enumerate(SKIES):
        ground = _shade(land, _ground(rng, land, date, crops[date], texture), date)
        seen, scene_classes = _through_air(rng, ground, sky)
        pictures.append(_record(rng, seen))
        classes.append(scene_classes)
    return np.stack(pictures), np.stack(classes)


def is_cloud(classes: NDArray[np.uint8]) -> Mask:
    """Where scene classes say cloud."""
    cloudy: Mask = classes >= SCL_CLOUD
    return cloudy


@dataclass(frozen=True)
class _Texture:
    """Patterns that stay in place between the dates, deviation 1."""

    fine: Field
    medium: Field
    crowns: Field

    @classmethod
    def draw(cls, rng: Generator, size_px: int) -> "_Texture":
        return cls(
            fractal_noise(rng, size_px, 2, 1.0),
            fractal_noise(rng, size_px, 24, 1.6),
            fractal_noise(rng, size_px, 3, 2.0),
        )


def _crops(rng: Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Crop of each field number at each date; meadows mostly stay, the rest rotates."""
    before, after = (rng.choice(len(CROPS), NUM_PARCEL_DRAWS, p=CROP_CHANCES) for _ in range(2))
    stays = (before == MEADOW) & (rng.uniform(size=NUM_PARCEL_DRAWS) < 0.85)
    return before, np.where(stays, MEADOW, after)


def _ground(
    rng: Generator, land: Landscape, date: int, crops: NDArray[np.int64], texture: _Texture
) -> Image:
    """Reflectance [band, y, x] of everything, painted from the fields upwards."""
    soil = SOIL * (1 + 0.22 * land.soil + 0.05 * texture.medium)
    ground = _farmland(rng, land, crops, soil, texture)
    woods = BROADLEAF + (CONIFER - BROADLEAF) * (land.conifer > 0.3)
    woods = woods * (1 + 0.22 * texture.crowns + 0.06 * texture.medium)
    garden = GRASS * (1 + 0.10 * texture.medium) + (woods - GRASS) * (texture.crowns > 0.5)
    cleared = DRY_LITTER * (1 + 0.15 * texture.crowns)
    yards = YARD * (1 + 0.25 * texture.medium) + (GRASS - YARD) * 0.5 * (texture.crowns > 0.1)
    _paint(ground, land.garden, garden)
    _paint(ground, land.hedge | land.forest[date], woods)
    _paint(ground, land.forest[0] & ~land.forest[1] & (date == 1), cleared)
    _paint(ground, land.water[0] & ~land.water[1] & (date == 1), MUD * (1 + 0.1 * texture.medium))
    _paint(ground, land.water[date], WATER * (1 + 0.08 * texture.medium))
    _paint(ground, land.road[date], ASPHALT * (1 + 0.12 * texture.fine))
    _paint(ground, land.plot[date], yards)
    roofs = np.moveaxis(ROOFS[land.roof[date]], -1, 0) * (1 + 0.12 * texture.fine)
    _paint(ground, land.roof[date] > 0, roofs)
    return ground.clip(0.003, 1.0)


def _paint(ground: Image, where: Mask, colour: Image) -> None:
    np.copyto(ground, colour, where=where)


def _farmland(
    rng: Generator, land: Landscape, crops: NDArray[np.int64], soil: Image, texture: _Texture
) -> Image:
    """Crops over soil: each field covers a share of its ground, with rows and uneven growth."""
    share = np.clip(rng.normal(0.75, 0.3, NUM_PARCEL_DRAWS), 0.0, 1.0)
    share[rng.uniform(size=NUM_PARCEL_DRAWS) < 0.16] = 0.0  # ploughed
    vigour = rng.normal(1.0, 0.12, NUM_PARCEL_DRAWS)
    rows = rng.uniform(0.0, 0.10, NUM_PARCEL_DRAWS)
    stripes = np.sin(2 * np.pi * land.across / 3.7)
    tilth = rng.normal(1.0, 0.14, NUM_PARCEL_DRAWS).astype(np.float32)
    soil = soil * tilth[land.parcel]
    growth = 1 + 0.07 * texture.medium + 0.025 * texture.fine + rows[land.parcel] * stripes
    cover = np.clip(share[land.parcel] * growth, 0, 1).astype(np.float32)
    table = (CROPS[crops] * vigour[:, None]).astype(np.float32)
    grown: Image = soil + cover * (np.moveaxis(table[land.parcel], -1, 0) - soil)
    return grown


def _shade(land: Landscape, ground: Image, date: int) -> Image:
    """Slopes towards the sun (south-east) are brighter; woods and buildings cast shadows."""
    slope_y, slope_x = np.gradient(land.relief)
    light = 1 - 1.6 * (slope_y + slope_x)
    high = land.forest[date] | (land.roof[date] > 0)
    shadow = np.zeros_like(high)
    shadow[:-1, :-1] = high[1:, 1:]
    light = np.where(shadow & ~high, light * 0.68, light)
    shaded: Image = ground * light.astype(np.float32)
    return shaded


def _through_air(rng: Generator, ground: Image, sky: Sky) -> tuple[Image, NDArray[np.uint8]]:
    """The ground under haze, cloud and its shadow; and where these are, as scene classes."""
    size = ground.shape[1]
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    wisps = 0.02 * fractal_noise(rng, size, size / 6, 1.8)
    haze = np.clip(sky.haze_from + (sky.haze_to - sky.haze_from) * (x + y) / 2 + wisps, 0, 1)
    puffs = fractal_noise(rng, size, size / 12, 1.7)
    away = np.hypot(y - sky.cloud_centre[0], x - sky.cloud_centre[1]) / sky.cloud_radius
    cloud = np.clip(1.25 * (1.0 - away) + 0.32 * puffs * np.exp(-(away**2) / 2), 0, 1)
    cloud = (cloud * cloud * (3 - 2 * cloud)).astype(np.float32)
    offset = (round(-0.09 * size), round(-0.075 * size))
    shadow = ndimage.shift(cloud, offset, order=0, mode="constant")
    lit = ground * (1 - 0.58 * shadow) * np.array(sky.gain, dtype=np.float32)[:, None, None]
    hazy = lit * (1 - haze) + HAZE * haze
    return hazy * (1 - cloud) + CLOUD * (1 + 0.05 * puffs) * cloud, _scene_classes(cloud, shadow)


def _scene_classes(cloud: Field, shadow: Field) -> NDArray[np.uint8]:
    classes = np.where(shadow > SHADE, SCL_SHADOW, SCL_GROUND).astype(np.uint8)
    classes[cloud > VEIL] = SCL_CLOUD
    classes[cloud > DENSE] = SCL_DENSE_CLOUD
    return classes


def _record(rng: Generator, seen: Image) -> NDArray[np.uint16]:
    """Blur of the optics, noise of the detector, digital numbers from 1 (0 is nodata)."""
    blurred = ndimage.gaussian_filter(seen, (0, 0.55, 0.55))
    noise = rng.standard_normal(seen.shape, dtype=np.float32)
    noisy = blurred + noise * (0.0015 + 0.012 * blurred)
    numbers: NDArray[np.uint16] = (noisy * SCALE).round().clip(1, 65_535).astype(np.uint16)
    return numbers
