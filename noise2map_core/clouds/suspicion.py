"""Clouds that no mask knows: bright, white, smooth and large at one date, and not at the other.

The numbers that they are judged by are fixed for a whole region, and each pixel is judged by the
pixels within `Suspicion.reach_px`: the same answer whatever the window.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

VISIBLE = ("blue", "green", "red")

BRIGHT = 4.0
"""Standard deviations above the mean, of every visible band, from which a pixel is bright …"""
BRIGHTER = 0.75
"""… and share of it by which it must be brighter than at the other date."""
TOP_SHARE = 0.8
"""Numbers of a byte end before that: this share of the way from the mean to their top will do."""
COLOURED = 0.5
"""Spread of the visible bands over their mean, both in standard deviations, from which a pixel is
no longer white."""
ROUGH = 0.35
"""Standard deviation over mean of `FILTER_PX`² pixels from which they are no longer smooth."""
FILTER_PX = 5
FRINGE = 0.7
"""Standard deviations by which the fringe of a cloud is brighter than the other date."""

RADIUS_M = 120.0
"""A cloud holds a disc of this radius: few roofs and yards do. With 4 and 120 m, no labelled change
of 14 cities of OSCD is hidden, nor any pixel between ten years of NAIP."""
RADIUS_PX = (3, 40)
"""Where that is fewer pixels, a disc says nothing; where more, imagery is so fine that a cloud
cannot be told from a roof within what a tile reads."""
FRINGE_RADII = 2
"""How far the fringe reaches from the disc, radii."""

Mask = NDArray[np.bool_]


class Suspicion(BaseModel):
    """What clouds are suspected by, for one region; a value of `PixelRecipe`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    bands: tuple[int, ...]
    """Numbers of the visible bands."""
    mean: tuple[tuple[float, ...], ...]
    """[date][visible band]"""
    unit: tuple[float, ...]
    """[date] mean standard deviation of the visible bands."""
    bright: tuple[float, ...]
    """[date] units above the mean from which a pixel is bright."""
    radius_px: int

    @property
    def fringe_px(self) -> int:
        """How far a fringe reaches from the disc."""
        return FRINGE_RADII * self.radius_px

    @property
    def reach_px(self) -> int:
        """How far away pixels lie that a pixel is judged by, at most."""
        return FILTER_PX // 2 + 2 * self.radius_px + self.fringe_px + 3


def plan_suspicion(
    bands: Sequence[str],
    mean: Sequence[Sequence[float]],
    std: Sequence[Sequence[float]],
    pixel_m: float,
    top: float | None,
) -> Suspicion | None:
    """What clouds of two dates are suspected by, from mean and std [date][band] of the numbers, and
    their `top`, if clouds reach it. None if the imagery does not allow a suspicion: it lacks a
    visible band, or its pixels are too fine or too coarse.
    """
    radius = round(RADIUS_M / pixel_m)
    if not set(VISIBLE) <= set(bands) or len(mean) != 2:
        return None
    if not RADIUS_PX[0] <= radius <= RADIUS_PX[1]:
        return None
    shown = tuple(bands.index(name) for name in VISIBLE)
    means = tuple(tuple(of_date[band] for band in shown) for of_date in mean)
    units = tuple(float(np.mean([of_date[band] for band in shown])) for of_date in std)
    highs = [BRIGHT if top is None else min(BRIGHT, TOP_SHARE * (top - max(of_date)) / unit)
             for of_date, unit in zip(means, units, strict=True)]  # fmt: skip
    if min(highs) <= 0:
        return None
    return Suspicion(bands=shown, mean=means, unit=units, bright=tuple(highs), radius_px=radius)


def suspected_clouds(
    image: NDArray[np.generic], valid: Mask, suspicion: Suspicion
) -> NDArray[np.bool_]:
    """Where [date, H, W] a cloud is suspected, of image [date, band, H, W] and valid [date, H, W].

    Right for all pixels but those within `reach_px` of an edge beyond which there are more.
    """
    found = np.zeros(valid.shape, np.bool_)
    both = np.asarray(valid.all(axis=0))
    for date in (0, 1):
        if _any_bright(image[date], both, suspicion, date):
            seen = _standardised(image[date], both, suspicion, date)
            other = _standardised(image[1 - date], both, suspicion, 1 - date)
            found[date] = both & _cloud(seen, other, suspicion, suspicion.bright[date])
    return found


def _any_bright(pixels: NDArray[np.generic], both: Mask, suspicion: Suspicion, date: int) -> bool:
    """Whether any pixel is bright: most windows have none, and this costs least."""
    bright = both.copy()
    high = suspicion.bright[date] * suspicion.unit[date]
    for band, mean in zip(suspicion.bands, suspicion.mean[date], strict=True):
        bright &= np.asarray(pixels[band] > mean + high, np.bool_)
    return bool(bright.any())


def _standardised(
    pixels: NDArray[np.generic], both: Mask, suspicion: Suspicion, date: int
) -> NDArray[np.float32]:
    """Visible bands in units above their means; 0 where not both dates are valid."""
    mean = np.asarray(suspicion.mean[date], np.float32)[:, None, None]
    seen = pixels[list(suspicion.bands)].astype(np.float32)
    return np.where(both, (seen - mean) / np.float32(suspicion.unit[date]), np.float32(0))


def _cloud(
    seen: NDArray[np.float32], other: NDArray[np.float32], suspicion: Suspicion, bright: float
) -> Mask:
    """Discs of cloud and their fringes."""
    brighter = (seen - other).min(axis=0)
    spread = seen.max(axis=0) - seen.min(axis=0)
    core = (seen.min(axis=0) > bright) & (brighter > BRIGHTER * bright)
    core &= (spread < COLOURED * seen.mean(axis=0)) & _smooth(seen.mean(axis=0))
    discs = _within(~_within(~core, suspicion.radius_px), suspicion.radius_px)
    return discs | (_within(discs, suspicion.fringe_px) & (brighter > FRINGE))


def _smooth(values: NDArray[np.float32]) -> Mask:
    """Where `values` [H, W] vary little around a pixel. Sums in one order, so that the last bit
    does not depend on where the window begins: running sums would not do."""
    from scipy import ndimage  # slow to import; clear scenes do without

    weights = np.full(FILTER_PX, 1 / FILTER_PX)
    mean, square = (
        ndimage.correlate1d(ndimage.correlate1d(part, weights, axis=0), weights, axis=1)
        for part in (values.astype(np.float64), values.astype(np.float64) ** 2)
    )
    smooth: Mask = square - mean**2 < (ROUGH * mean) ** 2
    return smooth


def _within(mask: Mask, radius: int) -> Mask:
    """Masked, and all that lies within `radius` pixels of it."""
    from scipy import ndimage  # as above

    if not mask.any():
        return mask
    near: Mask = ndimage.distance_transform_edt(~mask) <= radius
    return near
