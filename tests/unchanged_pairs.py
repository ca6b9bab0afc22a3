"""Pairs of dates without change: where a detector's alarms are false, by whatever it was asked.

Landsat and aerial scenes are set against themselves: moved by a part of a pixel, under another
light, with the noise of a sensor. Of real pairs the land counts that was labelled unchanged, or
that shows the same crops to the eye.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.testing import exposure
from noise2map_core.testing.landscape import Landscape, build_landscape

Pair = tuple[NDArray[Any], NDArray[np.bool_]]
"""Image [date, band, H, W], and the unchanged pixels [H, W] that are counted."""

SHIFTS_PX = {"other light": (0.0, 0.0), "and 0.25 px off": (0.2, -0.15)}
"""How scenes are set against themselves; rows and columns."""
NOISE = 0.1
"""Of each band's standard deviation, at both dates: the sensor's and the ground's."""
INVENTED_PX = 512
NAIP_PART = np.s_[0:300, 320:650]
"""Grown with the same crops in 2019 and 2020, lakes and their banks aside."""


def unchanged_pairs(data: Path) -> dict[str, list[Pair]]:
    """All there are, by name."""
    stac = data / "stac"
    naip = sorted((stac / "naip-north-dakota").glob("*/image.tif"))
    taizhou = sorted((stac / "landsat-taizhou").glob("landsat-taizhou-2*"))
    sets = {
        "NAIP": [_read(path) for path in naip[::3]],
        "Landsat": [_bands(date) for date in taizhou],
    }
    themselves = {
        f"{name} itself, {how}": [
            against_itself(scene, seed, shift) for seed, scene in enumerate(scenes)
        ]
        for name, scenes in sets.items()
        for how, shift in SHIFTS_PX.items()
    }
    return {
        "invented, other light": [invented(seed, season=False) for seed in range(4)],
        "invented, crops grown anew": [invented(seed, season=True) for seed in range(4)],
        **themselves,
        "NAIP 2019 to 2020, same crops": [_naip_part(*naip[-2:])],
    }


def against_itself(scene: NDArray[Any], seed: int, shift: tuple[float, float]) -> Pair:
    """A scene [band, H, W], and the same moved, under another light; each with its own noise."""
    rng = np.random.default_rng(seed)
    spread = scene.std(axis=(1, 2), keepdims=True) * NOISE
    moved = np.stack([ndimage.shift(band.astype(float), shift, mode="nearest") for band in scene])
    gain = rng.uniform(0.85, 1.15, (len(scene), 1, 1))
    mean = scene.mean(axis=(1, 2), keepdims=True)
    lit = mean + gain * (moved - mean) + rng.uniform(-5, 5, (len(scene), 1, 1))
    before, after = (one + rng.normal(0, 1, scene.shape) * spread for one in (scene, lit))
    top = np.iinfo(scene.dtype).max
    image = np.stack([before, after]).round().clip(0, top).astype(scene.dtype)
    counted = np.zeros(scene.shape[1:], bool)
    counted[8:-8, 8:-8] = True  # beyond the edge there is nothing to move in
    return image, counted


def invented(seed: int, season: bool) -> Pair:
    """An invented landscape on which nothing was built; with `season`, crops grew otherwise."""
    rng = np.random.default_rng(seed)
    land = _kept(build_landscape(rng, INVENTED_PX))
    texture = exposure._Texture.draw(rng, INVENTED_PX)
    crops, _ = exposure._crops(rng)
    grounds = [exposure._ground(rng, land, 0, crops, texture) for _ in range(1 + season)]
    pictures = [
        exposure._record(rng, _seen(rng, exposure._shade(land, ground, 0), date))
        for date, ground in enumerate((grounds[0], grounds[-1]))
    ]
    return np.stack(pictures), np.ones((INVENTED_PX, INVENTED_PX), bool)


def _kept(land: Landscape) -> Landscape:
    """The land as it was before, at both dates."""
    names = ("forest", "water", "road", "plot", "roof")
    return replace(land, **{name: np.stack([getattr(land, name)[0]] * 2) for name in names})


def _seen(rng: np.random.Generator, ground: Any, date: int) -> Any:
    clear = replace(exposure.SKIES[date], cloud_radius=1e-6)
    return exposure._through_air(rng, ground, clear)[0]


def _bands(folder: Path) -> NDArray[Any]:
    return np.concatenate([_read(band) for band in sorted(folder.glob("*.tif"))])


def _naip_part(before: Path, after: Path) -> Pair:
    first, last = _read(before), _read(after)
    image = np.stack([first, last])
    counted = np.zeros(image.shape[2:], bool)
    counted[NAIP_PART] = True
    return image, counted


def _read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        return np.asarray(file.read())
