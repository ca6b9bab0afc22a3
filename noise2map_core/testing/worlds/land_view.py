"""What a satellite sees of a stretch of land at one date: six bands of reflectance."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.testing.worlds.classes import BARE, BUILDING, BURNT, FIELD, ROAD, TREE, WATER
from noise2map_core.testing.worlds.fields import Field, noise
from noise2map_core.testing.worlds.land_cover import NUM_DRAWS, Land

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
SCALE = 10_000
"""Digital numbers are reflectance times SCALE; 0 is nodata."""

Spectrum = NDArray[np.float32]
"""[..., band] reflectance."""
Image = NDArray[np.float32]
"""[band, y, x] reflectance."""


def _spectra(*rows: tuple[float, ...]) -> Spectrum:
    return np.asarray(rows, np.float32)


EARTHS = _spectra(
    (0.060, 0.090, 0.120, 0.190, 0.270, 0.235), (0.050, 0.085, 0.155, 0.240, 0.310, 0.260),
    (0.075, 0.105, 0.140, 0.220, 0.310, 0.270), (0.045, 0.062, 0.080, 0.135, 0.190, 0.165),
)  # fmt: skip
DESERTS = _spectra(
    (0.150, 0.215, 0.290, 0.360, 0.440, 0.400), (0.110, 0.165, 0.250, 0.330, 0.410, 0.370),
    (0.180, 0.230, 0.270, 0.320, 0.360, 0.330), (0.120, 0.150, 0.180, 0.230, 0.290, 0.270),
)  # fmt: skip
GRASS, HAY = _spectra(
    (0.035, 0.075, 0.052, 0.380, 0.200, 0.100), (0.070, 0.100, 0.135, 0.250, 0.310, 0.220)
)
BROADLEAF, CONIFER, TWIGS = _spectra(
    (0.020, 0.045, 0.025, 0.370, 0.150, 0.065), (0.017, 0.030, 0.020, 0.220, 0.085, 0.040),
    (0.045, 0.060, 0.070, 0.190, 0.200, 0.130),
)  # fmt: skip
WATERS = _spectra(
    (0.050, 0.045, 0.025, 0.012, 0.006, 0.004), (0.080, 0.100, 0.100, 0.050, 0.015, 0.010),
    (0.045, 0.062, 0.045, 0.030, 0.010, 0.006), (0.095, 0.120, 0.135, 0.090, 0.030, 0.020),
)  # fmt: skip
ASH = _spectra((0.040, 0.046, 0.052, 0.095, 0.150, 0.160))[0]
STREET = _spectra((0.085, 0.095, 0.105, 0.135, 0.150, 0.140))[0]
YARD = _spectra((0.110, 0.130, 0.145, 0.215, 0.225, 0.200))[0]
ROOFS = _spectra(
    (0.075, 0.100, 0.185, 0.250, 0.290, 0.260), (0.130, 0.145, 0.160, 0.190, 0.210, 0.200),
    (0.175, 0.190, 0.205, 0.235, 0.250, 0.230), (0.060, 0.062, 0.066, 0.085, 0.100, 0.100),
    (0.330, 0.345, 0.355, 0.370, 0.330, 0.290), (0.205, 0.170, 0.125, 0.190, 0.200, 0.180),
    (0.450, 0.480, 0.500, 0.500, 0.420, 0.380), (0.110, 0.120, 0.140, 0.190, 0.240, 0.230),
)  # fmt: skip
CROPS = _spectra(
    (0.032, 0.066, 0.040, 0.430, 0.190, 0.090), (0.048, 0.115, 0.090, 0.410, 0.200, 0.105),
    (0.034, 0.076, 0.045, 0.520, 0.200, 0.085), (0.036, 0.078, 0.056, 0.380, 0.220, 0.120),
    (0.040, 0.070, 0.050, 0.300, 0.120, 0.060),
)  # fmt: skip
RIPE = _spectra((0.080, 0.118, 0.160, 0.300, 0.310, 0.210))[0]
RAYLEIGH = _spectra((0.070, 0.042, 0.024, 0.008, 0.003, 0.001))[0]


@dataclass(frozen=True)
class Ground:
    """What stays in place at all dates."""

    earth: Spectrum
    bare: Spectrum
    water: Spectrum
    conifers: Field
    """[y, x] share of the woods that is conifers."""
    evergreen: bool
    greenery: float
    """Share of built-up plots that is green."""
    fine: Field
    middle: Field
    coarse: Field
    roof: NDArray[np.int64]
    """[NUM_DRAWS] roof of a plot or hall."""
    tint: Field
    """[NUM_DRAWS] brightness of each."""
    filled: Field
    """[NUM_DRAWS] share of each plot under a roof."""

    @classmethod
    def draw(cls, rng: Generator, land: Land) -> "Ground":
        """Of one stretch of land."""
        size = len(land.height)
        bright = land.climate == "desert"
        chances = rng.gamma(0.7, size=len(ROOFS)) + 0.02
        return cls(
            earth=_one(rng, DESERTS if bright and rng.uniform() < 0.5 else EARTHS),
            bare=_one(rng, DESERTS if bright or rng.uniform() < 0.5 else EARTHS),
            water=_one(rng, WATERS),
            conifers=(0.5 + noise(rng, size, 1.8) + rng.normal()).clip(0, 1),
            evergreen=land.climate == "tropical" or rng.uniform() < 0.3,
            greenery=rng.uniform(0, 0.25 if bright else 0.6),
            fine=noise(rng, size, 0.3),
            middle=noise(rng, size, 0.9),
            coarse=noise(rng, size, 1.7),
            roof=rng.choice(len(ROOFS), NUM_DRAWS, p=chances / chances.sum()),
            tint=rng.lognormal(-0.05, 0.18, NUM_DRAWS).astype(np.float32),
            filled=rng.beta(1.5, 1.2, NUM_DRAWS).astype(np.float32),
        )


def _one(rng: Generator, spectra: Spectrum) -> Spectrum:
    mixed = rng.dirichlet(np.full(len(spectra), 0.4)) @ spectra
    return np.asarray(mixed * rng.lognormal(0, 0.1) * rng.normal(1, 0.03, mixed.shape), np.float32)


def view(rng: Generator, land: Land, ground: Ground, date: int) -> NDArray[np.uint16]:
    """uint16 [band, y, x] of one date: season, sun, air and sensor are drawn for each."""
    season = float(rng.uniform())
    seen = _reflectance(rng, land, ground, date, season)
    lit = seen * _light(rng, land, date)
    return _recorded(rng, _through_air(rng, lit), land.gsd)


def _reflectance(rng: Generator, land: Land, ground: Ground, date: int, season: float) -> Image:
    """[band, y, x] of the ground; `season` is the time of the year, 0.5 in high summer."""
    classes = land.classes[date]
    green = float(np.clip(np.sin(np.pi * season) * rng.uniform(0.4, 1.2), 0, 1))
    green = green if land.climate in ("temperate", "tropical") else green * rng.uniform(0, 0.8)
    image = _grassland(rng, ground, green)
    bare = ground.bare * rng.uniform(0.85, 1.1)
    _lay(image, classes == BARE, bare, 0.13 * ground.coarse + 0.06 * ground.middle)
    _farm(rng, image, land, ground, classes, season)
    _woods(rng, image, ground, classes, green)
    ash = ASH + rng.uniform(0, 0.35) * (ground.earth - ASH)
    _lay(image, classes == BURNT, ash, 0.2 * ground.middle + 0.1 * ground.coarse)
    water = ground.water + rng.uniform(0, 0.5) * (_one(rng, WATERS) - ground.water)
    _lay(image, classes == WATER, water, 0.06 * ground.coarse + 0.02 * ground.fine)
    _town(rng, image, land, ground, classes, green)
    _lay(image, classes == ROAD, STREET * rng.uniform(0.9, 1.2), 0.1 * ground.middle)
    return image.clip(0.002, 1.0)


def _lay(image: Image, where: NDArray[np.bool_], spectrum: Spectrum, texture: Field) -> None:
    image[:, where] = spectrum[:, None] * (1 + texture[where])


def _grassland(rng: Generator, ground: Ground, green: float) -> Image:
    """Grass and shrubs, more or less green, over earth."""
    lush = (green + 0.25 * ground.coarse + 0.1 * ground.middle).clip(0, 1)
    plants = HAY[:, None, None] + (GRASS - HAY)[:, None, None] * lush
    cover = (rng.uniform(0.35, 0.9) + 0.15 * ground.coarse + 0.08 * ground.middle).clip(0, 1)
    earth = ground.earth[:, None, None]
    return np.asarray((earth + cover * (plants - earth)) * (1 + 0.05 * ground.fine), np.float32)


def _farm(
    rng: Generator,
    image: Image,
    land: Land,
    ground: Ground,
    classes: NDArray[np.uint8],
    season: float,
) -> None:
    """Each field has its crop, which comes up, ripens and goes in its own time."""
    here = classes == FIELD
    parcel = land.parcel[here]
    sown = rng.choice(rng.uniform(-0.1, 0.6, 3), NUM_DRAWS) + rng.normal(0, 0.05, NUM_DRAWS)
    age = ((season - sown) % 1.0) / rng.uniform(0.25, 0.55, NUM_DRAWS)
    leaves = np.where(age < 1, np.sin(np.pi * age.clip(0, 1)) ** 0.7, 0.0)
    leaves = np.maximum(leaves, (rng.uniform(size=NUM_DRAWS) < rng.uniform(0, 0.5)) * 0.7)
    ripe = ((age - 0.6) / 0.4).clip(0, 1) * (age < 1.15)
    crop = CROPS[rng.integers(len(CROPS), size=NUM_DRAWS)]
    crop = crop + ripe[:, None] * (RIPE - crop)
    earth = ground.earth * rng.lognormal(0, 0.16, (NUM_DRAWS, 1))
    cover = np.maximum(leaves, ripe)[parcel] * (1 + 0.1 * ground.middle[here])
    field = earth[parcel] + cover.clip(0, 1)[:, None] * (crop - earth)[parcel]
    rows = 1 + 0.05 * np.sin(land.rows[here] * (2 * np.pi / (3.3 * land.gsd)))
    shade = rows * (1 + 0.06 * ground.coarse[here] + 0.03 * ground.fine[here])
    image[:, here] = (field * shade[:, None]).T


def _woods(
    rng: Generator, image: Image, ground: Ground, classes: NDArray[np.uint8], green: float
) -> None:
    here = classes == TREE
    leaves = 1.0 if ground.evergreen else min(1.0, 1.6 * green)
    broad = TWIGS + leaves * (BROADLEAF - TWIGS)
    broad = broad * rng.lognormal(0, 0.08)
    mixed = broad + ground.conifers[here][:, None] * (CONIFER - broad)
    crowns = 1 + 0.1 * ground.fine[here] + 0.1 * ground.middle[here]
    image[:, here] = (mixed * crowns[:, None].clip(0.4)).T


def _town(
    rng: Generator,
    image: Image,
    land: Land,
    ground: Ground,
    classes: NDArray[np.uint8],
    green: float,
) -> None:
    """Plots of roofs, yards and gardens between streets, and large halls."""
    here = classes == BUILDING
    house, hall = land.house[here], land.hall[here]
    garden = HAY + max(green, 0.2) * (BROADLEAF - HAY)
    block_green = (ground.greenery * 2 * ground.filled[::-1][land.block[here]]).clip(0, 1)
    open_ground = YARD + block_green[:, None] * (garden - YARD)
    number = np.where(hall > 0, hall, house)
    roof = ROOFS[ground.roof] * ground.tint[:, None]
    filled = np.where(hall > 0, 0.93, 0.85 * ground.filled[house] * (1 - 0.45 * block_green))
    filled = (filled + 0.12 * ground.fine[here]).clip(0, 1)
    plot = open_ground + filled[:, None] * (roof[number] - open_ground)
    street = np.where(hall > 0, 0, land.street[here])[:, None]
    texture = 1 + 0.06 * ground.fine[here] + 0.05 * ground.middle[here]
    image[:, here] = ((plot + street * (STREET - plot)) * texture[:, None]).T


def _light(rng: Generator, land: Land, date: int) -> Field:
    """[y, x] sun on the slopes, and shadow beside woods and halls."""
    slope = np.gradient(land.height)
    towards = rng.uniform(0, 2 * np.pi)
    relief = np.cos(towards) * slope[0] + np.sin(towards) * slope[1]
    light = 1 + np.clip(relief * rng.gamma(1, 0.6), -0.5, 0.5)
    high = (land.classes[date] == TREE) | ((land.classes[date] == BUILDING) & (land.hall > 0))
    beside = ndimage.shift(high, (round(np.cos(towards)), round(np.sin(towards))), order=0)
    return np.asarray(np.where(beside & ~high, light * rng.uniform(0.7, 0.95), light), np.float32)


def _through_air(rng: Generator, lit: Image) -> Image:
    """Haze, more of it somewhere, and what calibration gets wrong."""
    size = lit.shape[1]
    air = rng.uniform(0.1, 1.4) * (1 + 0.08 * noise(rng, size, 2.0)) + rng.gamma(0.5, 0.15)
    gain = rng.lognormal(-0.07, 0.18) * rng.normal(1, 0.03, (len(BANDS), 1, 1))
    offset = rng.normal(0, 0.003, (len(BANDS), 1, 1))
    seen = lit * (1 - 0.1 * air) * gain + RAYLEIGH[:, None, None] * air + offset
    return np.asarray(seen, np.float32)


def _recorded(rng: Generator, seen: Image, gsd: float) -> NDArray[np.uint16]:
    """Blur of the optics, coarser short-wave bands as of Sentinel-2, noise, digital numbers."""
    sigma = rng.uniform(0.4, 0.75)
    blurred = ndimage.gaussian_filter(seen, (0, sigma, sigma))
    if gsd < 20 and rng.uniform() < 0.8:
        blurred[4:] = _coarser(blurred[4:], smooth=rng.uniform() < 0.4)
    grain = rng.standard_normal(seen.shape, np.float32) * rng.uniform(0.0005, 0.003)
    numbers = (blurred + grain * (1 + 4 * blurred)) * SCALE
    return numbers.round().clip(1, 65_535).astype(np.uint16)


def _coarser(bands: Image, smooth: bool) -> Image:
    """Bands of pixels twice as large, brought to the others by the nearest or smoothly."""
    soft = ndimage.gaussian_filter(bands, (0, 0.8, 0.8))
    if smooth:
        return np.asarray(soft)
    height, width = bands.shape[1:]
    return soft[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width]
