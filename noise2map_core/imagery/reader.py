"""Pixels of scenes on any grid: a thin layer over rasterio."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window as FileWindow

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.errors import AssetReadError
from noise2map_core.geo.window import Window
from noise2map_core.imagery.files import SourceInfo, inspect, opened, persistent

__all__ = ["SourceInfo", "inspect", "pixel_type", "read_pixels"]

SAME_GRID_PX = 1e-3
"""Grids that agree to this fraction of a pixel, at every corner, are one grid."""

FOOTPRINT_MARGIN_DEG = 0.01
"""Item footprints are drawn roughly: a scene is passed over only if it lies farther away."""

KERNEL_PX = 3
"""Source pixels around a window that the widest kernel reaches."""


def read_pixels(
    scenes: Sequence[Scene], geobox: GeoBox, resampling: str = "bilinear"
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Image [band, H, W] in the source dtype and valid [H, W] of `scenes` on `geobox`.

    Scenes are mosaicked in their order: the first with a valid pixel gives it, in all bands. A
    pixel is valid if no band is nodata there. A file on the very grid is read as it is; others
    are resampled. Where no scene is valid: 0, and valid False. Needs one scene at least.

    Raises AssetReadError, naming the file, if one cannot be read or has another dtype.
    """
    dtype = pixel_type(scenes)
    image = np.zeros((len(scenes[0].bands), *geobox.shape), dtype)
    valid = np.zeros(geobox.shape, np.bool_)
    area = shapely.buffer(geobox.geographic_extent.geom, FOOTPRINT_MARGIN_DEG)
    for scene in scenes:
        if shapely.from_wkb(scene.footprint_wkb).intersects(area):
            _fill(image, valid, scene, geobox, Resampling[resampling])
        if valid.all():
            break
    return image, valid


def pixel_type(scenes: Sequence[Scene]) -> np.dtype[Any]:
    """The dtype that all bands of `scenes` share. Raises AssetReadError if they do not.

    Opens one file of every scene and band.
    """
    first = scenes[0].bands[0]
    dtype = inspect(first).dtype
    for source in (band for scene in scenes for band in scene.bands):
        if inspect(source).dtype != dtype:
            raise AssetReadError(
                f"asset {source.href} is {inspect(source).dtype}, but {first.href} is {dtype}: "
                "bands and scenes must share one type. Choose bands or scenes of one type."
            )
    return np.dtype(dtype)


def _fill(
    image: NDArray[Any],
    valid: NDArray[np.bool_],
    scene: Scene,
    geobox: GeoBox,
    resampling: Resampling,
) -> None:
    """Add what `scene` knows of the pixels that are not valid yet."""
    reach = _reach(inspect(scene.bands[0]), geobox)
    rows, cols = reach.slices_in(Window(0, 0, 0, 0))
    if valid[rows, cols].all():
        return
    part = geobox[rows, cols]
    bands = [_read_band(source, part, resampling) for source in scene.bands]
    fresh = np.logical_and.reduce([observed for _, observed in bands]) & ~valid[rows, cols]
    for number, (pixels, _) in enumerate(bands):
        np.copyto(image[number, rows, cols], pixels, where=fresh)
    valid[rows, cols] |= fresh


def _reach(info: SourceInfo, geobox: GeoBox) -> Window:
    """The pixels of `geobox` that a file can touch; empty if none."""
    assert geobox.crs is not None
    box = info.geobox.footprint(geobox.crs, buffer=abs(info.transform.a) * KERNEL_PX).boundingbox
    frame = Window(0, 0, geobox.shape[0], geobox.shape[1])
    return _pixels_of(box.bbox, geobox.affine).intersect(frame)


def _pixels_of(bounds: tuple[float, float, float, float], transform: Any) -> Window:
    """The pixels that a box of CRS coordinates touches, north up or not."""
    west, south, east, north = bounds
    corners = [~transform @ (x, y) for x in (west, east) for y in (south, north)]
    cols, rows = zip(*corners, strict=True)
    row, col = math.floor(min(rows)), math.floor(min(cols))
    return Window(row, col, math.ceil(max(rows)) - row, math.ceil(max(cols)) - col)


def _read_band(
    source: BandSource, geobox: GeoBox, resampling: Resampling
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """One band on `geobox` and where it is observed."""
    shift = _grid_shift(inspect(source), geobox)
    if shift is not None:
        return _read_plain(source, geobox, *shift)
    return _read_warped(source, geobox, resampling)


def _grid_shift(info: SourceInfo, geobox: GeoBox) -> tuple[int, int] | None:
    """Row and column of the file's grid at which `geobox` begins; None: not the same grid."""
    if geobox.crs != info.geobox.crs:
        return None
    to_file = ~info.transform @ geobox.affine
    height, width = geobox.shape
    col, row = to_file @ (0, 0)
    far_col, far_row = to_file @ (width, height)
    whole = (round(row), round(col), round(row) + height, round(col) + width)
    offsets = (row - whole[0], col - whole[1], far_row - whole[2], far_col - whole[3])
    straight = abs(to_file.b) + abs(to_file.d) < SAME_GRID_PX / max(height, width)
    return whole[:2] if straight and max(map(abs, offsets)) < SAME_GRID_PX else None


def _read_plain(
    source: BandSource, geobox: GeoBox, row: int, col: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The file's own pixels: nothing is resampled."""
    info = inspect(source)
    window = Window(row, col, geobox.shape[0], geobox.shape[1])
    inside = window.intersect(Window(0, 0, *info.shape))
    pixels = np.zeros(geobox.shape, info.dtype)
    observed = np.zeros(geobox.shape, np.bool_)
    if not inside.is_empty:
        place = inside.slices_in(window)
        pixels[place], observed[place] = _read_window(source, info, inside, 1, Resampling.nearest)
    return pixels, observed


def _read_warped(
    source: BandSource, geobox: GeoBox, resampling: Resampling
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The band reprojected by GDAL, in one thread: threaded warps are wrong in places."""
    info = inspect(source)
    pixels, observed = np.zeros(geobox.shape, info.dtype), np.zeros(geobox.shape, np.bool_)
    step, window = _source_window(info, geobox)
    if window.is_empty:
        return pixels, observed
    raw, mask = _read_window(source, info, window, step, resampling)
    transform = info.geobox[window.slices_in(Window(0, 0, 0, 0))].affine
    height, width = raw.shape
    transform = transform @ transform.scale(window.width / width, window.height / height)
    frame = {
        "src_transform": transform, "src_crs": info.crs, "dst_transform": geobox.affine,
        "dst_crs": str(geobox.crs), "num_threads": 1,
    }  # fmt: skip
    if info.nodata is None:
        cover = np.zeros(geobox.shape, np.uint8)
        reproject(mask.astype(np.uint8), cover, resampling=Resampling.nearest, **frame)
        reproject(raw, pixels, resampling=resampling, **frame)
        return pixels, cover.astype(np.bool_)
    pixels[:] = info.nodata
    nodata = {"src_nodata": info.nodata, "dst_nodata": info.nodata}
    reproject(raw, pixels, resampling=resampling, **frame, **nodata)
    return pixels, _differs(pixels, info.nodata)


def _source_window(info: SourceInfo, geobox: GeoBox) -> tuple[int, Window]:
    """How far a read may be thinned, and the file's pixels that `geobox` needs."""
    box = geobox.footprint(info.crs, npoints=50).boundingbox
    exact = _pixels_of(box.bbox, info.transform)
    ratio = math.sqrt(max(exact.height * exact.width, 1) / (geobox.shape[0] * geobox.shape[1]))
    step = max(1, math.floor(ratio))
    window = exact.grow(math.ceil(KERNEL_PX * max(1.0, ratio)) + 1)
    return step, window.intersect(Window(0, 0, *info.shape))


@persistent
def _read_window(
    source: BandSource, info: SourceInfo, window: Window, step: int, resampling: Resampling
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels of a window of the file, thinned `step` times, from overviews if there are any."""
    shape = (-(-window.height // step), -(-window.width // step))
    with opened(source) as file:
        place = {
            "window": FileWindow(window.col, window.row, window.width, window.height),
            "out_shape": shape,
            "resampling": _thinning(file.nodatavals[source.band - 1], info, resampling),
        }
        pixels = file.read(source.band, **place)
        if info.nodata is not None:
            return pixels, _differs(pixels, info.nodata)
        return pixels, file.read_masks(source.band, **place) > 0


def _thinning(stated: float | None, info: SourceInfo, resampling: Resampling) -> Resampling:
    """How GDAL thins a read: means, unless it does not know of the nodata (the item alone does)."""
    known = info.nodata is None or stated == info.nodata or math.isnan(info.nodata)
    return Resampling.average if known and resampling != Resampling.nearest else Resampling.nearest


def _differs(pixels: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    different: NDArray[np.bool_] = ~np.isnan(pixels) if math.isnan(nodata) else pixels != nodata
    return different
