"""Images in memory: where they lie, what of them was observed, and whether they fit a model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (the accessor .odc)
import rioxarray  # noqa: F401  (the accessor .rio)
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.geo.ground import metres_per_unit, true_side
from noise2map_core.geo.window import Window
from noise2map_core.inference.planning import require_gsd
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.runtime.errors import CheckpointError, ConfigError

Pixels = xr.DataArray | NDArray[Any]
"""Raw numbers [band, y, x]."""


def as_image(pixels: Pixels) -> xr.DataArray:
    """Plain arrays as arrays with names, [band, y, x]; what is masked of them is NaN."""
    if isinstance(pixels, xr.DataArray):
        return pixels
    if isinstance(pixels, np.ma.MaskedArray):
        pixels = np.where(np.ma.getmaskarray(pixels), np.nan, pixels.data)
    array = np.asarray(pixels)
    if array.ndim != 3:
        raise ConfigError(
            f"an image has {array.ndim} dimensions; an array is [band, y, x]. Add or drop some."
        )
    return xr.DataArray(array, dims=("band", "y", "x"))


def common_place(images: Mapping[str, Pixels]) -> GeoBox | None:
    """Where images, by their names, lie: all on one grid, north up, in metres. None: they are
    arrays without a place, of one size. Raises ConfigError."""
    plain = [not isinstance(image, xr.DataArray) for image in images.values()]
    if any(plain):
        if not all(plain) or len({np.shape(image)[-2:] for image in images.values()}) > 1:
            raise ConfigError(
                f"{' and '.join(images)} must be arrays of one size, or both be xarray's, which "
                "know their place."
            )
        return None
    return _upright(images, {name: _geobox(name, as_image(one)) for name, one in images.items()})


def _geobox(name: str, image: xr.DataArray) -> GeoBox:
    geobox = image.odc.geobox
    if image.ndim != 3 or not isinstance(geobox, GeoBox) or geobox.crs is None:
        raise ConfigError(
            f"{name} must be [band, y, x] with a CRS and evenly spaced y and x, as "
            "rioxarray.open_rasterio gives it, or a plain array."
        )
    return geobox


def _upright(images: Mapping[str, Pixels], places: Mapping[str, GeoBox]) -> GeoBox:
    names, first = " and ".join(images), next(iter(places.values()))
    if any(place != first for place in places.values()):
        raise ConfigError(
            f"{names} lie on different grids. Bring one to the other's, for example with "
            "after.rio.reproject_match(before)."
        )
    assert first.crs is not None
    upright = first.transform.b == first.transform.d == 0 and first.resolution.y < 0
    if first.crs.geographic or not upright or first.resolution.x != -first.resolution.y:
        raise ConfigError(
            f"{names} must lie north up on square pixels in metres. Reproject them, for "
            "example with rio.reproject(rio.estimate_utm_crs())."
        )
    return first


def require_fit(
    images: Mapping[str, xr.DataArray], place: GeoBox | None, spec: CheckpointSpec, model: str
) -> None:
    """Raise CheckpointError unless a model, by its name, has these bands and takes such pixels;
    those without a place are taken for such."""
    if place is not None:
        side = place.resolution.x
        require_gsd(true_side(side, side * metres_per_unit(place)), spec, model)
    for image in images.values():
        if image.shape[0] != len(spec.bands):
            raise CheckpointError(
                f"checkpoint {model} expects {len(spec.bands)} bands ({', '.join(spec.bands)}); "
                f"the image has {image.shape[0]}. Select them in this order."
            )


def anchored(place: GeoBox | None, image: xr.DataArray) -> Window:
    """An image's rows and columns on the lattice that is anchored to its CRS, if it has one."""
    height, width = image.shape[1:]
    if place is None:
        return Window(0, 0, height, width)
    resolution = place.resolution.x
    left, top = place.transform.c, place.transform.f
    return Window(-_whole(top / resolution), _whole(left / resolution), height, width)


def _whole(pixels: float) -> int:
    """The whole part, downwards; numbers that are whole but for rounding stay what they are."""
    return int(np.floor(round(pixels, 6)))


def observed(image: xr.DataArray) -> xr.DataArray:
    """bool [y, x]: every band is finite, and none is nodata."""
    found = xr.apply_ufunc(np.isfinite, image, dask="allowed")
    for known in (image.attrs, image.encoding):
        for nodata in (known.get("_FillValue"), known.get("nodata")):
            if nodata is not None:
                found &= image != nodata
    return found.all(dim=str(image.dims[0]))
