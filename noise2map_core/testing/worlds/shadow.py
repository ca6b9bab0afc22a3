"""Shadows."""

import numpy as np

from noise2map_core.testing.worlds.fields import Field, Mask
from noise2map_core.testing.worlds.look import Look


def shadow_of(height: Field, look: Look, gsd: float) -> Mask:
    """Where something stands between the ground and the sun.

    The highest ray that passes over each pixel, found by doubling the way that it has come.
    """
    flat = float(np.hypot(*look.sun[:2]))
    fall = float(look.sun[2]) / flat * gsd
    right, down = look.sun[:2] / flat
    ray = height
    reach = max(1, int(height.max() / fall))
    for doubling in range(reach.bit_length()):
        step = 1 << doubling
        ray = np.maximum(ray, _moved(ray, round(-down * step), round(-right * step)) - step * fall)
    return ray > height + 0.6


def _moved(field: Field, down: int, right: int) -> Field:
    """The field moved, 0 where it moved away."""
    out = np.zeros_like(field)
    rows, cols = field.shape
    if abs(down) < rows and abs(right) < cols:
        out[max(down, 0) : rows + min(down, 0), max(right, 0) : cols + min(right, 0)] = field[
            max(-down, 0) : rows + min(-down, 0), max(-right, 0) : cols + min(-right, 0)
        ]
    return out
