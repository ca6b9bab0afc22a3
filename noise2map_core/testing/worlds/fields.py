"""Smooth random fields over a canvas."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft

Field = NDArray[np.float32]
Numbers = NDArray[np.floating]
"""Of any precision."""
Mask = NDArray[np.bool_]


def noise(rng: Generator, size_px: int, roughness: float, scale_px: float = 1e3) -> Field:
    """Field [y, x] of mean 0 and deviation 1 whose amplitude falls as frequency ** -roughness.

    Nothing in it is larger than about `scale_px`; it wraps around at its edges.
    """
    amplitude = _amplitude(size_px, roughness, scale_px)
    real, imaginary = rng.standard_normal((2, *amplitude.shape), np.float32)
    field: Field = fft.irfft2((real + 1j * imaginary) * amplitude, s=(size_px, size_px))
    field -= field.mean()
    return np.asarray(field / field.std(), np.float32)


@lru_cache(maxsize=64)
def _amplitude(size_px: int, roughness: float, scale_px: float) -> Field:
    frequency = np.hypot(fft.fftfreq(size_px)[:, None], fft.rfftfreq(size_px)[None])
    softened = np.maximum(frequency, 1 / min(scale_px, size_px))
    return np.asarray(softened**-roughness, np.float32)


def coordinates(size_px: int) -> tuple[Field, Field]:
    """x and y of the pixel centres, [y, x] each."""
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32) + np.float32(0.5)
    return x, y


def turned(x: Field, y: Field, angle: float) -> tuple[Field, Field]:
    """Coordinates along and across the direction `angle`."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cos + y * sin, y * cos - x * sin
