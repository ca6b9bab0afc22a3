"""Small pictures of days, for choosing among them."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noise2map_core.imagery.days import CoarseArea, Day
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.report.contact_sheet import Picture, write_sheet
from noise2map_core.runtime.errors import AssetReadError

MOST_PICTURES = 120
"""On one sheet."""
PERCENTILES = (2, 98)
CLOUD = np.array([0.85, 0.1, 0.55], np.float32)
"""Colour laid over what is masked: nothing on the ground has it."""
TINT = 0.45
"""How much of it."""
OUTSIDE = 0.35
"""How much of white is laid over what is not of the area."""

_LOGGER = logging.getLogger(__name__)


def write_days(path: Path, days: Sequence[tuple[str, Day]], coarse: CoarseArea, about: str) -> None:
    """Write a PNG of the first days, each under its name and how much cloud it shows; `about` is
    its foot. A day that cannot be read has an empty frame."""
    drawn = days[:MOST_PICTURES]
    entries = [(f"{name}\n{_caption(day)}", _picture(day, coarse)) for name, day in drawn]
    more = f"; {len(days) - len(drawn)} more dates are not shown" if len(days) > len(drawn) else ""
    bands = [band.name for band in days[0][1].scenes[0].bands]
    shown = ", ".join(bands[: 3 if len(bands) >= 3 else 1])
    write_sheet(path, entries, f"{about}: {shown}; cloud tinted{more}")


def _caption(day: Day) -> str:
    shown = f", {100 * day.coverage:.0f} % shown" if day.coverage < 0.995 else ""
    return f"cloud {day.cloud_text}{shown}"


def _picture(day: Day, coarse: CoarseArea) -> Picture | None:
    try:
        return draw_day(day, coarse)
    except AssetReadError as error:
        _LOGGER.warning("no picture of %s: %s", day.day, error)
        return None


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
