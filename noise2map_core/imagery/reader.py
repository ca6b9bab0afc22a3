"""Pixels of scenes on any grid: a thin layer over rasterio."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window as FileWindow

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.errors import AssetReadError
from noise2map_core.geo.window import Window
from noise2map_core.imagery.convention import without_offset
from noise2map_core.imagery.files import SourceInfo, inspect, opened

__all__ = ["SourceInfo", "inspect", "pixel_type", "read_bands", "read_mosaic", "read_pixels"]

SAME_GRID_PX = 1e-3
"""Grids that agree to this fraction of a pixel, at every corner, are one grid."""

FOOTPRINT_MARGIN_DEG = 0.01
"""Item footprints are drawn roughly: a scene is passed over only if it lies farther away."""

KERNEL_PX = 3
"""Source pixels around a window that the widest kernel reaches."""

EDGE_POINTS = 65
"""Points of each edge of a grid that are projected to find where it lies on another."""

Pixels = NDArray[Any]
Mask = NDArray[np.bool_]
Bounds = tuple[float, float, float, float]
"""West, south, east, north."""
Hide = Callable[[Scene, GeoBox], tuple[Mask, Mask]]
"""Of a scene on a grid: [H, W] where it shows no ground (cloud), and where its mask knows."""


def read_pixels(
    scenes: Sequence[Scene], geobox: GeoBox, resampling: str = "bilinear"
) -> tuple[Pixels, Mask]:
    """Image [band, H, W] in the source dtype and valid [H, W] of `scenes` on `geobox`.

    Scenes are mosaicked in their order: the first with a valid pixel gives it, in all bands. A
    pixel is valid if no band is nodata there. A file on the very grid is read as it is; others
    are resampled. Where no scene is valid: 0, and valid False. Needs one scene at least.

    Raises AssetReadError, naming the file, if one cannot be read or has another dtype.
    """
    image, valid, _ = read_mosaic(scenes, geobox, resampling)
    return image, valid


def read_mosaic(
    scenes: Sequence[Scene], geobox: GeoBox, resampling: str = "bilinear", hide: Hide | None = None
) -> tuple[Pixels, Mask, Mask]:
    """Image and valid as of `read_pixels`, and masked [H, W]: observed, but hidden in every scene.

    A pixel that `hide` hides is left to the next scene.
    """
    dtype = pixel_type(scenes)
    image = np.zeros((len(scenes[0].bands), *geobox.shape), dtype)
    valid, masked = np.zeros(geobox.shape, np.bool_), np.zeros(geobox.shape, np.bool_)
    for scene in meeting(scenes, geobox):
        part = _missing(valid).intersect(reach(scene, geobox))
        if part.is_empty:
            continue
        place = part.slices_in(Window(0, 0, 0, 0))
        pixels, observed = read_bands(scene.bands, geobox[place], resampling)
        if hide is not None and observed.any():
            hidden, known = hide(scene, geobox[place])
            masked[place] |= observed & hidden
            observed &= known & ~hidden
        fresh = observed & ~valid[place]
        if fresh.all():  # most scenes show all of a window: no need to choose
            image[:, *place] = pixels
        else:
            np.copyto(image[:, *place], pixels, where=fresh)
        valid[place] |= fresh
        if valid.all():
            break
    return image, valid, masked & ~valid


def meeting(scenes: Sequence[Scene], geobox: GeoBox) -> list[Scene]:
    """The scenes whose footprint comes near `geobox`, in order."""
    box = _bounds_in(geobox, "EPSG:4326")
    if not all(map(math.isfinite, box)):
        return list(scenes)
    area = shapely.buffer(shapely.box(*box), FOOTPRINT_MARGIN_DEG)
    return [scene for scene in scenes if shapely.from_wkb(scene.footprint_wkb).intersects(area)]


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


def reach(scene: Scene, geobox: GeoBox) -> Window:
    """The pixels of `geobox` that a scene's first file can touch; empty if none."""
    info = inspect(scene.bands[0])
    west, south, east, north = _file_bounds(info, str(geobox.crs))
    frame = Window(0, 0, geobox.shape[0], geobox.shape[1])
    if not all(map(math.isfinite, (west, south, east, north))):
        return frame
    return _pixels_of((west, south, east, north), geobox.affine).grow(KERNEL_PX).intersect(frame)


def read_bands(
    sources: Sequence[BandSource], geobox: GeoBox, resampling: str = "bilinear"
) -> tuple[Pixels, Mask]:
    """Image [band, H, W] of one scene on `geobox`, and where all bands are observed.

    Unobserved pixels hold anything. Whole-number offsets of the sensor are taken off.
    """
    method = Resampling[resampling]
    image = np.zeros((len(sources), *geobox.shape), inspect(sources[0]).dtype)
    observed = np.ones(geobox.shape, np.bool_)
    for group in _groups(sources):
        members = [sources[number] for number in group]
        for number, (pixels, seen) in zip(group, _read_group(members, geobox, method), strict=True):
            image[number] = without_offset(pixels, seen, sources[number], inspect(sources[number]))
            observed &= seen
    return image, observed


def _groups(sources: Sequence[BandSource]) -> list[list[int]]:
    """Numbers of the bands that lie on one grid, with one nodata: they are resampled together."""
    groups: dict[SourceInfo, list[int]] = {}
    for number, source in enumerate(sources):
        groups.setdefault(inspect(source), []).append(number)
    return list(groups.values())


def _missing(valid: Mask) -> Window:
    """The smallest window that holds every pixel not yet valid; empty if there is none."""
    rows, cols = (np.flatnonzero(~valid.all(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Window(0, 0, 0, 0)
    top, left = int(rows[0]), int(cols[0])
    return Window(top, left, int(rows[-1]) + 1 - top, int(cols[-1]) + 1 - left)


@lru_cache(maxsize=4096)
def _file_bounds(info: SourceInfo, crs: str) -> Bounds:
    return _bounds_in(info.geobox, crs)


def _bounds_in(geobox: GeoBox, crs: str) -> Bounds:
    """West, south, east, north of a grid in another CRS, along its projected edges."""
    return _box_of(*_edge_in(geobox, crs))


def _box_of(x: Pixels, y: Pixels) -> Bounds:
    return float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))


def _edge_in(geobox: GeoBox, crs: str) -> tuple[Pixels, Pixels]:
    """Points x, y along the edges of a grid, once round, in another CRS."""
    height, width = geobox.shape
    way = np.arange(EDGE_POINTS) / EDGE_POINTS
    start, stop = np.zeros(EDGE_POINTS), np.ones(EDGE_POINTS)
    col = width * np.concatenate([way, stop, 1 - way, start])
    row = height * np.concatenate([start, way, stop, 1 - way])
    to_world = geobox.affine
    x = to_world.a * col + to_world.b * row + to_world.c
    y = to_world.d * col + to_world.e * row + to_world.f
    if str(geobox.crs) != crs:
        assert geobox.crs is not None
        x, y = geobox.crs.transformer_to_crs(CRS(crs))(x, y)
    return x, y


def _pixels_of(bounds: Bounds, transform: Any) -> Window:
    """The pixels that a box of CRS coordinates touches, north up or not."""
    west, south, east, north = bounds
    corners = [~transform @ (x, y) for x in (west, east) for y in (south, north)]
    cols, rows = zip(*corners, strict=True)
    row, col = math.floor(min(rows)), math.floor(min(cols))
    return Window(row, col, math.ceil(max(rows)) - row, math.ceil(max(cols)) - col)


def _read_group(
    sources: Sequence[BandSource], geobox: GeoBox, resampling: Resampling
) -> list[tuple[Pixels, Mask]]:
    """Bands of one grid on `geobox`, and where each is observed."""
    info = inspect(sources[0])
    zoom = _zoom(info, geobox) if resampling == Resampling.nearest else 1
    shift = _grid_shift(info, geobox, zoom)
    if shift is not None:
        return [_read_plain(source, geobox, *shift, zoom) for source in sources]
    return _read_warped(sources, geobox, resampling)


def _zoom(info: SourceInfo, geobox: GeoBox) -> int:
    """How many pixels of `geobox` fit along a pixel of the file, about: 2 for a mask of 20 m."""
    ratio = abs(info.transform.determinant / geobox.affine.determinant)
    return max(1, round(math.sqrt(ratio)))


def _grid_shift(info: SourceInfo, geobox: GeoBox, zoom: int = 1) -> tuple[int, int] | None:
    """Row and column of the file's grid, made `zoom` times as fine, at which `geobox` begins; None:
    not the same grid."""
    if geobox.crs != info.geobox.crs:
        return None
    to_file = ~(info.transform @ info.transform.scale(1 / zoom)) @ geobox.affine
    height, width = geobox.shape
    col, row = to_file @ (0, 0)
    far_col, far_row = to_file @ (width, height)
    whole = (round(row), round(col), round(row) + height, round(col) + width)
    offsets = (row - whole[0], col - whole[1], far_row - whole[2], far_col - whole[3])
    straight = abs(to_file.b) + abs(to_file.d) < SAME_GRID_PX / max(height, width)
    return whole[:2] if straight and max(map(abs, offsets)) < SAME_GRID_PX else None


def _read_plain(
    source: BandSource, geobox: GeoBox, row: int, col: int, zoom: int
) -> tuple[Pixels, Mask]:
    """The file's own pixels, each `zoom` times along its sides: nothing is resampled."""
    info = inspect(source)
    window = Window(row, col, geobox.shape[0], geobox.shape[1])
    inside = window.intersect(Window(0, 0, info.shape[0] * zoom, info.shape[1] * zoom))
    if inside == window:
        return _read_zoomed(source, info, inside, zoom)
    pixels = np.zeros(geobox.shape, info.dtype)
    observed = np.zeros(geobox.shape, np.bool_)
    if not inside.is_empty:
        place = inside.slices_in(window)
        pixels[place], observed[place] = _read_zoomed(source, info, inside, zoom)
    return pixels, observed


def _read_zoomed(
    source: BandSource, info: SourceInfo, inside: Window, zoom: int
) -> tuple[Pixels, Mask]:
    """A window of the file in pixels `zoom` times as fine."""
    if zoom == 1:
        return _read_window(source, info, inside, 1, Resampling.nearest)
    top, left = inside.row // zoom, inside.col // zoom
    bottom, right = -(-inside.row_stop // zoom), -(-inside.col_stop // zoom)
    coarse = Window(top, left, bottom - top, right - left)
    pixels, observed = _read_window(source, info, coarse, 1, Resampling.nearest)
    place = inside.slices_in(Window(top * zoom, left * zoom, 0, 0))
    return _zoomed(pixels, zoom)[place], _zoomed(observed, zoom)[place]


def _zoomed(values: NDArray[Any], zoom: int) -> NDArray[Any]:
    return values.repeat(zoom, axis=1).repeat(zoom, axis=0)


def _read_warped(
    sources: Sequence[BandSource], geobox: GeoBox, resampling: Resampling
) -> list[tuple[Pixels, Mask]]:
    """Bands of one grid reprojected by GDAL, in one thread: threaded warps are wrong in places.

    Each pixel is projected exactly, and weighs its neighbours by the ratio of the pixels' sizes
    alone: nothing depends on the window but the last bit.
    """
    info = inspect(sources[0])
    ratio, window = _source_window(info, geobox)
    if window.is_empty:
        return [
            (np.zeros(geobox.shape, info.dtype), np.zeros(geobox.shape, np.bool_)) for _ in sources
        ]
    step = max(1, math.floor(ratio))
    read = [_read_window(source, info, window, step, resampling) for source in sources]
    transform = info.geobox[window.slices_in(Window(0, 0, 0, 0))].affine
    height, width = read[0][0].shape
    transform = transform @ transform.scale(window.width / width, window.height / height)
    scale = min(1.0, step / ratio)  # else GDAL takes it from the window's size, and blurs
    frame = {
        "src_transform": transform, "src_crs": info.crs, "dst_transform": geobox.affine,
        "dst_crs": str(geobox.crs), "num_threads": 1, "tolerance": 0, "XSCALE": scale,
        "YSCALE": scale,
    }  # fmt: skip
    if _is_clear_of_nodata(read, info, resampling):
        return _warp_together(np.stack([raw for raw, _ in read]), info, geobox, resampling, frame)
    return [_warp_apart(raw, mask, info, geobox, resampling, frame) for raw, mask in read]


def _is_clear_of_nodata(
    read: Sequence[tuple[Pixels, Mask]], info: SourceInfo, resampling: Resampling
) -> bool:
    """True if no pixel is nodata, nor could become so: then GDAL need not look for it."""
    if info.nodata is None or resampling not in (Resampling.nearest, Resampling.bilinear):
        return False
    if not all(mask.all() for _, mask in read):
        return False
    limits = np.iinfo(info.dtype) if np.dtype(info.dtype).kind in "iu" else None
    return math.isnan(info.nodata) or (
        limits is not None and info.nodata in (limits.min, limits.max)
    )


def _warp_together(
    raw: Pixels, info: SourceInfo, geobox: GeoBox, resampling: Resampling, frame: dict[str, Any]
) -> list[tuple[Pixels, Mask]]:
    """Bands without nodata in one warp, which finds each pixel's place once: 3 times as fast."""
    assert info.nodata is not None
    pixels = np.full((len(raw), *geobox.shape), info.nodata, info.dtype)
    reproject(raw, pixels, resampling=resampling, init_dest_nodata=False, **frame)
    return [(band, _differs(band, info.nodata)) for band in pixels]


def _warp_apart(
    raw: Pixels,
    mask: Mask,
    info: SourceInfo,
    geobox: GeoBox,
    resampling: Resampling,
    frame: dict[str, Any],
) -> tuple[Pixels, Mask]:
    """One band, of which GDAL weighs only the observed pixels."""
    pixels = np.zeros(geobox.shape, info.dtype)
    if info.nodata is None:
        cover = np.zeros(geobox.shape, np.uint8)
        reproject(mask.astype(np.uint8), cover, resampling=Resampling.nearest, **frame)
        reproject(raw, pixels, resampling=resampling, **frame)
        return pixels, cover.astype(np.bool_)
    pixels[:] = info.nodata
    nodata = {"src_nodata": info.nodata, "dst_nodata": info.nodata}
    reproject(raw, pixels, resampling=resampling, **frame, **nodata)
    return pixels, _differs(pixels, info.nodata)


def _source_window(info: SourceInfo, geobox: GeoBox) -> tuple[float, Window]:
    """Source pixels per pixel of `geobox`, along a side, and the file's pixels that it needs."""
    x, y = _edge_in(geobox, info.crs)
    frame = Window(0, 0, *info.shape)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return 1.0, frame
    exact = _pixels_of(_box_of(x, y), info.transform)
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    pixel = abs(info.transform.determinant) * geobox.shape[0] * geobox.shape[1]
    ratio = round(math.sqrt(area / pixel), 1)
    return ratio, exact.grow(math.ceil(KERNEL_PX * max(1.0, ratio)) + 1).intersect(frame)


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
