"""What a camera makes of a close-up picture: blur, haze, contrast, noise, compression."""

from io import BytesIO

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Picture = NDArray[np.float32]


def photograph(rng: Generator, scene: Picture, margin_px: int) -> NDArray[np.uint8]:
    """RGB uint8 [3, y, x] of `scene` [3, y, x] (0 … 1), without its margin."""
    seen = _through_optics(rng, scene)[:, margin_px:-margin_px, margin_px:-margin_px]
    toned = _toned(rng, _through_air(rng, seen))
    noisy = toned + _grain(rng, toned.shape)
    return _compressed(rng, (noisy * 255).round().clip(1, 255).astype(np.uint8))


def _through_optics(rng: Generator, scene: Picture) -> Picture:
    """Blurred, and now and then sharpened after that; moved by parts of a pixel."""
    sigma = rng.uniform(0.4, 0.9)
    if rng.uniform() < 0.15:
        sigma = rng.uniform(0.9, 1.5)
    moved = ndimage.shift(scene, (0, *rng.uniform(-0.5, 0.5, 2)), order=1, mode="nearest")
    seen = ndimage.gaussian_filter(moved, (0, sigma, sigma), truncate=2.5)
    if rng.uniform() < 0.4:
        soft = ndimage.gaussian_filter(seen, (0, 1.2, 1.2), truncate=2)
        seen = seen + rng.uniform(0.3, 1.0) * (seen - soft)
    return seen


def _through_air(rng: Generator, seen: Picture) -> Picture:
    haze = rng.choice([rng.uniform(0, 0.08), rng.uniform(0.08, 0.35)], p=(0.7, 0.3))
    air = np.array([0.62, 0.66, 0.7]) * rng.uniform(0.8, 1.1)
    return np.asarray(seen * (1 - haze) + haze * air[:, None, None], np.float32)


def _toned(rng: Generator, seen: Picture) -> Picture:
    """Exposure, contrast, white balance and saturation as products are delivered."""
    gain = rng.lognormal(0, 0.13) * rng.normal(1, 0.04, (3, 1, 1))
    seen = (seen * gain).clip(0) ** rng.uniform(0.8, 1.3)
    contrast, middle = rng.lognormal(0.1, 0.2), seen.mean()
    grey = seen.mean(axis=0)
    seen = grey + rng.lognormal(0, 0.25) * (seen - grey)
    return np.asarray((seen - middle) * contrast + middle + rng.normal(-0.01, 0.04), np.float32)


def _grain(rng: Generator, shape: tuple[int, ...]) -> Picture:
    strength = rng.gamma(2, 0.006)
    return rng.standard_normal(shape, np.float32) * np.float32(strength)


def _compressed(rng: Generator, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if rng.uniform() < 0.3:
        return picture
    buffer = BytesIO()
    chroma = int(rng.choice([0, 2]))
    quality = int(rng.integers(50, 96))
    Image.fromarray(np.moveaxis(picture, 0, 2)).save(buffer, "JPEG", quality=quality, subsampling=chroma)
    return np.moveaxis(np.asarray(Image.open(buffer)), 2, 0).copy()
