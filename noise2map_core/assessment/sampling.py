"""A stratified random sample of a map's pixels: how many of each class, and which ones.

After Olofsson et al. (2014), sec. 3: the map's classes are the strata, pixels the sample units.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from noise2map_core.mapping.mosaic import NO_DECISION
from noise2map_core.rasters.files import DRIVER, require_self_contained
from noise2map_core.runtime.errors import AssetReadError, ConfigError

BLOCK_PX = 512
"""Pixels are read, and their random numbers drawn, by squares of this side. Another side would draw
another sample from the same seed."""

BAND_PX = 16
"""Rows whose pixels count as equal in area, and the length of the sides that areas are made of."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """A class of the map, as sampled from."""

    value: int
    pixels: int
    area_m2: float
    """Geodesic area."""


@dataclass(frozen=True, slots=True)
class SamplePixel:
    """One sample unit."""

    row: int
    col: int
    stratum: int
    """Class of the map there."""


@dataclass(frozen=True)
class _Block:
    """A square of the map."""

    window: Window
    classes: NDArray[np.uint8]
    """uint8 [H, W]; `NO_DECISION` where the map says nothing."""
    pixel_m2: NDArray[np.float64]
    """Geodesic area of a pixel, by row: float64 [H]."""


def measure_strata(path: Path) -> list[Stratum]:
    """The classes of a map, by value, with their pixels and geodesic areas.

    Pixels of value 255, and of the file's nodata value, are of no class. One block is in memory at
    a time. Raises AssetReadError or ConfigError for a file that is not a map of classes.
    """
    pixels, area = np.zeros(256, np.int64), np.zeros(256)
    with open_map(path) as raster:
        for block in _iter_blocks(raster):
            for classes, pixel_m2 in zip(block.classes, block.pixel_m2, strict=True):
                counts = np.bincount(classes, minlength=256)
                pixels += counts
                area += counts * pixel_m2
    values = np.flatnonzero(pixels[:NO_DECISION]).tolist()
    if not values:
        raise ConfigError(f"map {path} has no pixel with a class. Give a map that decides some.")
    return [Stratum(value, int(pixels[value]), float(area[value])) for value in values]


def sample_size(strata: list[Stratum], accuracy: Mapping[int, float], target_error: float) -> int:
    """Sample units for a standard error `target_error` of overall accuracy (eq. 13; Cochran 1977,
    eq. 5.25), given the user's accuracy that each stratum is expected to have.

    n = (Σ W S)² / (error² + Σ W S² / N) with S = √(U (1 - U)), for the best allocation; for
    another, `expected_error` says what to expect.
    """
    weights = _weights(strata)
    deviations = _deviations(strata, accuracy)
    num_units = sum(stratum.pixels for stratum in strata)
    finite = float((weights * deviations**2).sum()) / num_units
    return math.ceil(float((weights * deviations).sum()) ** 2 / (target_error**2 + finite))


def allocate(strata: list[Stratum], size: int, minimum: int) -> dict[int, int]:
    """Sample units of each stratum, by class (sec. 5.1.2).

    In proportion to area, but at least `minimum` for rare strata, whose user's accuracy would be
    unknown otherwise; the others share the rest. Never more than a stratum's pixels. The sum is
    `size`, unless minima ask for more or strata hold fewer.
    """
    rare: set[int] = set()
    while True:
        common = [stratum for stratum in strata if stratum.value not in rare]
        rest = max(size - minimum * len(rare), 0)
        total = sum(stratum.area_m2 for stratum in common)
        short = {s.value for s in common if rest * s.area_m2 < minimum * total}
        if not short:
            break
        rare |= short
    sizes = dict.fromkeys(rare, minimum) | _apportion(common, rest)
    return {s.value: min(sizes[s.value], s.pixels) for s in strata}


def expected_error(
    strata: list[Stratum], accuracy: Mapping[int, float], sizes: Mapping[int, int]
) -> float:
    """The standard error of overall accuracy (eq. 5) if user's accuracies are as expected."""
    units = np.array([sizes[stratum.value] for stratum in strata])
    return float(
        np.sqrt((_weights(strata) ** 2 * _deviations(strata, accuracy) ** 2 / units).sum())
    )


def draw_sample(path: Path, sizes: Mapping[int, int], seed: int) -> list[SamplePixel]:
    """`sizes` pixels of each class, in random order: the same ones for the same map and seed.

    Within a class every pixel is as likely as its area, so that shares of the sample estimate
    shares of area on maps in degrees, too. One block and the sample are in memory. Pixels with the
    smallest of exponential random numbers, divided by area, are kept: a weighted sample without
    replacement in one pass (Efraimidis & Spirakis 2006).
    """
    kept = {value: np.zeros((0, 3)) for value in sizes}
    with open_map(path) as raster:
        for block in _iter_blocks(raster):
            keys = _keys(block, seed)
            for value, size in sizes.items():
                kept[value] = _smallest(kept[value], _candidates(block, keys, value), size)
    pixels = [
        SamplePixel(int(row), int(col), value)
        for value in sorted(kept)
        for _, row, col in kept[value]
    ]
    order = np.random.default_rng(seed).permutation(len(pixels))
    return [pixels[index] for index in order]


@contextmanager
def open_map(path: Path) -> Iterator[DatasetReader]:
    """A map of classes. Raises AssetReadError, or ConfigError if it is not one uint8 band with a
    CRS."""
    try:
        with rasterio.open(path, driver=DRIVER) as raster:
            require_self_contained(raster)
            _require_classes(raster, path)
            yield raster
    except RasterioError as error:
        raise AssetReadError(f"map {path} cannot be read: {error}. Give a GeoTIFF.") from error


def _require_classes(raster: DatasetReader, path: Path) -> None:
    if raster.count != 1 or raster.dtypes[0] != "uint8":
        raise ConfigError(
            f"map {path} has {raster.count} band(s) of {raster.dtypes[0]}; a map of classes has "
            "one of uint8. Give change.tif or classes.tif of an output."
        )
    if raster.crs is None:
        raise ConfigError(f"map {path} has no CRS, so that its areas are unknown. Assign one.")


def _iter_blocks(raster: DatasetReader) -> Iterator[_Block]:
    """Squares of the map, by rows."""
    to_lon_lat = pyproj.Transformer.from_crs(raster.crs.to_wkt(), "EPSG:4326", always_xy=True)
    for row in range(0, raster.height, BLOCK_PX):
        for col in range(0, raster.width, BLOCK_PX):
            height, width = min(BLOCK_PX, raster.height - row), min(BLOCK_PX, raster.width - col)
            window = Window(col, row, width, height)
            classes = raster.read(1, window=window)
            if raster.nodata is not None:
                classes[classes == raster.nodata] = NO_DECISION
            yield _Block(window, classes, _pixel_areas(raster, window, to_lon_lat))


def _pixel_areas(
    raster: DatasetReader, window: Window, to_lon_lat: pyproj.Transformer
) -> NDArray[np.float64]:
    """Geodesic area of a pixel in each row of a window, m²: the mean of its band of rows."""
    geod = pyproj.Geod(ellps="WGS84")
    areas = np.empty(window.height)
    for top in range(0, window.height, BAND_PX):
        rows = min(BAND_PX, window.height - top)
        band = shapely.box(
            window.col_off, window.row_off + top,
            window.col_off + window.width, window.row_off + top + rows,
        )  # fmt: skip
        outline = shapely.get_coordinates(shapely.segmentize(band, BAND_PX))
        x, y = raster.transform @ (outline[:, 0], outline[:, 1])
        area, _ = geod.polygon_area_perimeter(*to_lon_lat.transform(x, y))
        areas[top : top + rows] = abs(area) / (rows * window.width)
    return areas


def _weights(strata: list[Stratum]) -> NDArray[np.float64]:
    """W: each stratum's part of the mapped area."""
    areas = np.array([stratum.area_m2 for stratum in strata])
    return areas / areas.sum()


def _deviations(strata: list[Stratum], accuracy: Mapping[int, float]) -> NDArray[np.float64]:
    """S = √(U (1 - U))."""
    expected = np.array([accuracy[stratum.value] for stratum in strata])
    return np.sqrt(expected * (1 - expected))


def _apportion(strata: list[Stratum], size: int) -> dict[int, int]:
    """Whole numbers in proportion to area whose sum is `size` (largest remainders)."""
    if not strata:
        return {}
    exact = size * _weights(strata)
    sizes = np.floor(exact).astype(int)
    largest = np.argsort(sizes - exact, kind="stable")[: size - sizes.sum()]
    sizes[largest] += 1
    return {s.value: int(n) for s, n in zip(strata, sizes, strict=True)}


def _keys(block: _Block, seed: int) -> NDArray[np.float64]:
    """Exponential random numbers [H, W] with the pixels' areas as rates."""
    generator = np.random.default_rng([seed, block.window.row_off, block.window.col_off])
    return generator.standard_exponential(block.classes.shape) / block.pixel_m2[:, None]


def _candidates(block: _Block, keys: NDArray[np.float64], value: int) -> NDArray[np.float64]:
    """Key, row, column [pixel, 3] of the block's pixels of a class."""
    rows, cols = np.nonzero(block.classes == value)
    places = rows + block.window.row_off, cols + block.window.col_off
    return np.column_stack([keys[rows, cols], *places])


def _smallest(
    kept: NDArray[np.float64], more: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """The `size` rows with the smallest keys."""
    both = np.concatenate([kept, more])
    if len(both) <= size:
        return both
    return both[np.argpartition(both[:, 0], size)[:size]]
