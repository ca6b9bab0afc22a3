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
    sigma = rng.uniform(0.45, 0.85) if rng.uniform() < 0.7 else rng.uniform(0.85, 1.4)
    moved = _nudged(_nudged(scene, rng.uniform(-1, 1), axis=1), rng.uniform(-1, 1), axis=2)
    seen = ndimage.gaussian_filter(moved, (0, sigma, sigma), truncate=2.5)
    if rng.uniform() < 0.5:
        soft = ndimage.gaussian_filter(seen, (0, 1.2, 1.2), truncate=2)
        seen = seen + rng.uniform(0.4, 1.6) * (seen - soft)
    return seen


def _nudged(scene: Picture, share: float, axis: int) -> Picture:
    """Moved by a share of a pixel; what leaves at one edge comes in at the other."""
    return scene + np.float32(abs(share)) * (np.roll(scene, int(np.sign(share)), axis) - scene)


def _through_air(rng: Generator, seen: Picture) -> Picture:
    haze = rng.choice([rng.uniform(0, 0.08), rng.uniform(0.08, 0.35)], p=(0.7, 0.3))
    air = np.array([0.62, 0.66, 0.7]) * rng.uniform(0.8, 1.1)
    return seen * np.float32(1 - haze) + np.asarray(haze * air[:, None, None], np.float32)


def _toned(rng: Generator, seen: Picture) -> Picture:
    """Exposure, white balance, saturation and contrast, as products are delivered."""
    warmth, magenta = rng.normal(-0.05, 0.06), rng.normal(0, 0.025)
    balance = np.array([1 + warmth, 1 - magenta, 1 - warmth], np.float32)
    wanted = rng.normal(0.43, 0.09)
    seen = seen * balance[:, None, None] * float(wanted / seen.mean()) ** rng.uniform(0.3, 1)
    grey = seen.mean(axis=0)
    seen = grey + rng.lognormal(-0.5, 0.35) * (seen - grey)
    middle, contrast = seen.mean(), rng.lognormal(0.05, 0.18)
    seen = (seen - middle) * contrast + middle + rng.normal(0, 0.03)
    return _rolled_off(np.asarray(seen, np.float32), rng.uniform(0.7, 0.95))


def _rolled_off(seen: Picture, knee: float) -> Picture:
    """Lights above the knee are compressed, most of them below 1."""
    top = np.float32(1.02 - knee)
    return np.where(seen > knee, knee + top * np.tanh((seen - knee) / top), seen)


def _grain(rng: Generator, shape: tuple[int, ...]) -> Picture:
    strength = rng.gamma(2, 0.006)
    return rng.standard_normal(shape, np.float32) * np.float32(strength)


def _compressed(rng: Generator, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if rng.uniform() < 0.3:
        return picture
    buffer = BytesIO()
    chroma = int(rng.choice([0, 2]))
    quality = int(rng.integers(50, 96))
    Image.fromarray(np.moveaxis(picture, 0, 2)).save(
        buffer, "JPEG", quality=quality, subsampling=chroma
    )
    return np.moveaxis(np.asarray(Image.open(buffer)), 2, 0).clip(1)
