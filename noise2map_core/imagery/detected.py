"""Clouds that a detector finds in a scene, on any grid.

A detector looks at windows of the scene's own file, on a lattice that begins at the file's corner,
and each answer is made from the pixels of its own window alone: what it says of a place is the same
whatever grid, tile or worker asks for it.
"""

import math
from functools import lru_cache

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.scene import BandSource, Detection, Version
from noise2map_core.clouds.detector import (
    CLEAR,
    CLOUD,
    SHADOW,
    UNKNOWN,
    Classes,
    CloudDetector,
    Reflectance,
    load_detector,
)
from noise2map_core.geo.turns import edge_in, outline_of
from noise2map_core.geo.window import Window
from noise2map_core.geo.zone import local_crs
from noise2map_core.imagery.convention import band_convention
from noise2map_core.imagery.detection import pixel_m
from noise2map_core.imagery.reader import inspect, read_bands
from noise2map_core.rasters.files import SourceInfo
from noise2map_core.rasters.placement import NEAR_PX, Place, locate
from noise2map_core.runtime.errors import ConfigError

KEPT_WINDOWS = 256
"""Answers that a process keeps: neighbouring tiles ask for the same."""

SAME_SIZE = 0.01
"""Relative difference of sizes that a projection may make."""

Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]


def read_detected(detection: Detection, geobox: GeoBox) -> Classes:
    """CLEAR, CLOUD, SHADOW or UNKNOWN [H, W] on a grid: the nearest answer. Raises AssetReadError
    for bands that cannot be read."""
    frame, core = _frame(detection), _core_px(load_detector(detection.detector))
    place = locate(frame, geobox)
    shown = np.broadcast_to(np.logical_and(*place.within(frame.shape)), geobox.shape)
    rows, cols = _indices(place, (geobox.shape[0], geobox.shape[1]))
    across = -(-frame.shape[1] // core)
    windows = (rows // core) * across + cols // core
    found = np.full(geobox.shape, UNKNOWN, np.uint8)
    for window in np.unique(windows[shown]).tolist():
        here = shown & (windows == window)
        answers = _answers(detection, *divmod(window, across))
        found[here] = answers[rows[here] % core, cols[here] % core]
    return found


def _indices(place: Place, shape: tuple[int, int]) -> tuple[Indices, Indices]:
    """Row and column of the frame [H, W] that each pixel lies in; anything where in none."""
    rows, cols = (
        np.broadcast_to(
            np.floor(np.where(np.isfinite(at), at, 0) + NEAR_PX).astype(np.int64), shape
        )
        for at in (place.rows, place.cols)
    )
    return rows, cols


def _core_px(detector: CloudDetector) -> int:
    """Side of the part of a window whose answers are used."""
    return detector.window_px - 2 * detector.margin_px


def _frame(detection: Detection) -> SourceInfo:
    """The grid on which a detector looks at a scene: that of its finest file, coarser if need be;
    in metres of its zone where the file's is in degrees."""
    finest = min(detection.bands, key=pixel_m)
    info, wanted = inspect(finest), load_detector(detection.detector).pixel_m
    side = pixel_m(finest)
    if info.geobox.crs is not None and info.geobox.crs.geographic:
        return _in_zone(info, side if side * (1 + SAME_SIZE) > wanted else wanted)
    times, whole = wanted / side, round(wanted / side)
    times = max(1.0, whole if math.isclose(times, whole, rel_tol=SAME_SIZE) else times)
    height, width = (math.ceil(length / times - NEAR_PX) for length in info.shape)
    return _grid(info.crs, info.transform @ Affine.scale(times), (height, width))


def _in_zone(info: SourceInfo, side: float) -> SourceInfo:
    crs = str(local_crs(outline_of(info.geobox)))
    x, y = edge_in(info.geobox, crs)
    west, north = math.floor(x.min() / side), math.ceil(y.max() / side)
    width = math.ceil(x.max() / side) - west
    height = north - math.floor(y.min() / side)
    transform = Affine(side, 0.0, west * side, 0.0, -side, north * side)
    return _grid(crs, transform, (height, width))


def _grid(crs: str, transform: Affine, shape: tuple[int, int]) -> SourceInfo:
    return SourceInfo(crs, transform, shape, "uint8", None)


def _answers(detection: Detection, row: int, col: int) -> Classes:
    """What the detector says within one window of the lattice, its margin left out."""
    versions = tuple(band.version for band in detection.bands)
    look = _kept if None not in versions else _kept.__wrapped__  # files may change unnoticed
    return look(detection, versions, row, col)


@lru_cache(maxsize=KEPT_WINDOWS)
def _kept(
    detection: Detection, versions: tuple[Version | None, ...], row: int, col: int
) -> Classes:
    detector, frame = load_detector(detection.detector), _frame(detection)
    core, margin, size = _core_px(detector), detector.margin_px, detector.window_px
    window = Window(row * core - margin, col * core - margin, size, size)
    reflectance, observed = _read_window(detection, frame, window)
    inner = (slice(margin, margin + core), slice(margin, margin + core))
    if not observed.any():
        return np.full((core, core), UNKNOWN, np.uint8)
    bands = tuple(band.name for band in detection.bands)
    classes = _checked(detector, detector.classes(reflectance, bands, detection.level))
    return np.where(_with_neighbours(observed), classes, np.uint8(UNKNOWN))[inner]


def _read_window(
    detection: Detection, frame: SourceInfo, window: Window
) -> tuple[Reflectance, Mask]:
    """Reflectance [band, H, W] and where it is observed. Beyond the frame the picture goes on as in
    a mirror; what is not observed within it is the mean of what is."""
    part = window.intersect(Window(0, 0, *frame.shape))
    corner = frame.transform @ Affine.translation(part.col, part.row)
    image, seen = read_bands(detection.bands, GeoBox((part.height, part.width), corner, frame.crs))
    made = [_reflectance(*one, seen) for one in zip(image, detection.bands, strict=True)]
    beyond = (
        (part.row - window.row, window.row_stop - part.row_stop),
        (part.col - window.col, window.col_stop - part.col_stop),
    )
    return np.pad(np.stack(made), ((0, 0), *beyond), mode="symmetric"), np.pad(seen, beyond)


def _reflectance(pixels: NDArray[np.generic], band: BandSource, seen: Mask) -> Reflectance:
    stated = band_convention(band)
    scale, offset = stated["scale"], stated["offset"]
    assert scale is not None and offset is not None  # `plan_detection` saw to it
    values = pixels.astype(np.float64) * scale + offset
    mean = values[seen].mean() if seen.any() else 0.0
    return np.where(seen, values, mean).astype(np.float32)


def _with_neighbours(observed: Mask) -> Mask:
    """Observed, and the pixels around it: a pixel may lie half beyond the edge of what is."""
    from scipy import ndimage  # slow to import

    near: Mask = ndimage.binary_dilation(observed, np.ones((3, 3), np.bool_))
    return near


def _checked(detector: CloudDetector, classes: Classes) -> Classes:
    """Raise ConfigError for what a detector should not say."""
    size = detector.window_px
    known = (CLEAR, CLOUD, SHADOW, UNKNOWN)
    if classes.shape != (size, size) or not np.isin(classes, known).all():
        raise ConfigError(
            f"mask.detector {detector.name} does not answer by {known} for each of {size} x {size} "
            "pixels. Mend it."
        )
    return classes.astype(np.uint8)
