"""Small pictures of days, for choosing among them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from noise2map_core.imagery.days import CoarseArea, Day
from noise2map_core.imagery.reader import read_pixels

Picture = NDArray[np.float32]
"""RGB [H, W, 3] in 0–1."""

PERCENTILES = (2, 98)
CLOUD = np.array([0.85, 0.1, 0.55], np.float32)
"""Colour laid over what is masked: nothing on the ground has it."""
TINT = 0.45
"""How much of it."""
OUTSIDE = 0.35
"""How much of white is laid over what is not of the area."""


def draw_day(day: Day, coarse: CoarseArea) -> Picture:
    """RGB [H, W, 3] in 0–1 of the scenes' first three bands, or of the first; white where nothing
    is shown, tinted where it is masked, paler beyond the area.

    Stretched on what is not masked. Raises AssetReadError.
    """
    number = 3 if len(day.scenes[0].bands) >= 3 else 1
    scenes = [replace(scene, bands=scene.bands[:number]) for scene in day.scenes]
    image, valid = read_pixels(scenes, coarse.geobox)
    picture = _stretched(image, valid, valid & coarse.inside & ~day.hidden)
    picture[day.hidden & valid] *= 1 - TINT
    picture[day.hidden & valid] += TINT * CLOUD
    beyond = valid & ~coarse.inside
    picture[beyond] += OUTSIDE * (1 - picture[beyond])
    return picture


def _stretched(
    image: NDArray[np.generic], valid: NDArray[np.bool_], clear: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """[H, W, 3] in 0–1 of image [band, H, W]; all that is valid counts where nothing is clear."""
    measured = clear if clear.any() else valid
    channels = []
    for band in image.astype(np.float32):
        low, high = np.percentile(band[measured], PERCENTILES) if measured.any() else (0.0, 1.0)
        channels.append(np.clip((band - low) / max(high - low, 1e-6), 0, 1))
    picture = np.stack(channels if len(channels) == 3 else channels * 3, axis=2)
    return np.where(valid[..., None], picture, 1).astype(np.float32)
