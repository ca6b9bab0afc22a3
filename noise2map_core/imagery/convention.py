"""The convention of raw numbers: with the sensor's additive offset, or without.

Sentinel-2 adds 1000 to every number since processing baseline 04.00; two dates with and without it
differ everywhere. It is taken off on reading, so that all dates, and all stores and maps, come in
one convention. What other sensors add stays in the numbers, and is stated with them: every scene of
such a sensor has the same, and without it the numbers might not fit their type.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.rasters.files import SourceInfo
from noise2map_core.runtime.errors import AssetReadError


def without_offset(
    pixels: NDArray[Any], observed: NDArray[np.bool_], source: BandSource, info: SourceInfo
) -> NDArray[Any]:
    """`pixels` in the convention of all dates (`added_dn`), clipped at the dtype's limits.

    Nodata stays; what is observed never becomes nodata, but the number beside it.
    """
    if not source.added_dn:
        return pixels
    exact = pixels.astype(np.int64) if pixels.dtype.kind in "iu" else pixels
    moved = clipped(exact + source.added_dn, pixels.dtype, info.nodata)
    return np.where(observed, moved, pixels)


def clipped(values: NDArray[Any], dtype: np.dtype[Any], nodata: float | None) -> NDArray[Any]:
    """Numbers rounded and clipped to `dtype`; those that would be nodata move one step inwards."""
    if dtype.kind not in "iu":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    whole = np.rint(values).clip(limits.min, limits.max).astype(dtype)
    if nodata is not None and not math.isnan(nodata):
        inwards = nodata - 1 if nodata == limits.max else nodata + 1
        whole[whole == nodata] = inwards
    return whole


def band_convention(source: BandSource) -> dict[str, float | None]:
    """Scale and offset of the numbers as they are read: reflectance = scale · number + offset."""
    return {"scale": source.scale, "offset": 0.0 if source.added_dn else source.offset}


def require_one_convention(scenes: Sequence[Scene]) -> None:
    """Raise AssetReadError if scenes state different scales or remaining offsets for one band."""
    known: dict[str, BandSource] = {}
    for scene in scenes:
        for band in scene.bands:
            first = known.setdefault(band.name, band)
            if band.scale is None or first.scale is None:
                known[band.name] = first if band.scale is None else band
            elif band_convention(band) != band_convention(first):
                raise AssetReadError(
                    f"asset {band.href} has scale {band.scale} and offset {band.offset}, but "
                    f"{first.href} has {first.scale} and {first.offset}: their numbers cannot be "
                    "compared. Choose scenes of one product."
                )
