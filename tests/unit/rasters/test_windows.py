"""A pixel has one value, whatever window it is read in, and it is the right one."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import rasterio
import rasterio.features
import rasterio.warp
import shapely
from hypothesis import given, settings
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from scipy import ndimage

from noise2map_core.catalog.scene import Scene
from noise2map_core.imagery.reader import read_bands, read_pixels
from noise2map_core.rasters import blocks, resample
from tests.raster_factories import CRS, frame, scene_of, write_tif

RATIOS = (0.4, 1.0, 1.3, 2.0, 2.5, 3.3, 10.0, 33.0)
OVERVIEWS = ("none", "internal", "external")
TYPES = ("uint8", "int16", "float32")
METHODS = ("nearest", "bilinear", "cubic", "average")
GRIDS = {"own": CRS, "zone": "EPSG:32632", "web": "EPSG:3857"}
SIDE = 24
"""Pixels of the coarse grid along the file."""


def ground(size: int, dtype: str) -> NDArray[Any]:
    """Noise over smooth ground, without zeros but for holes, in numbers of either sign."""
    random = np.random.default_rng(7)
    smooth = np.abs(np.sin(np.arange(size) * 9 / size))
    pixels = 2 + 200 * np.outer(smooth, smooth) + random.integers(0, 40, (size, size))
    pixels = pixels.astype(dtype)
    if dtype == "int16":
        pixels[::2] *= -100
    pixels[size // 4 : size // 3, size // 5 : size // 3] = 0
    pixels[random.random(pixels.shape) < 0.01] = 0
    return pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("windows")
    _written.cache_clear()


@lru_cache(maxsize=64)
def _written(folder: Path, ratio: float, overviews: str, dtype: str) -> Scene:
    size = math.ceil(SIDE * ratio) + 3  # no multiple of any block
    path = folder / f"{ratio}-{overviews}-{dtype}.tif"
    fine = frame(size, size, resolution=10.0 / ratio)
    write_tif(path, ground(size, dtype), fine, nodata=0)
    if overviews != "none" and size > 64:
        internal = {"internal": "NO", "external": "YES"}[overviews]
        with rasterio.Env(TIFF_USE_OVR=internal), rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4, 8, 16], Resampling.average)
    return scene_of(path, geobox=fine)


def coarse(crs: str) -> GeoBox:
    """A grid of about 10 m that reaches beyond the file on all sides."""
    if crs == CRS:
        return frame(SIDE + 14, SIDE + 14, 500_000 - 67, 5_000_000 + 73)
    box = frame(SIDE, SIDE).extent.to_crs(crs).boundingbox.buffered(60)
    return GeoBox.from_bbox(box, crs=crs, resolution=10.0 if crs != "EPSG:3857" else 14.0)


@lru_cache(maxsize=512)
def _whole(scene: Scene, crs: str, method: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    return read_pixels([scene], coarse(crs), method)


@settings(max_examples=120, deadline=None)
@given(
    ratio=st.sampled_from(RATIOS), overviews=st.sampled_from(OVERVIEWS),
    dtype=st.sampled_from(TYPES), method=st.sampled_from(METHODS),
    crs=st.sampled_from(sorted(GRIDS.values())),
    spans=st.tuples(*[st.integers(0, SIDE)] * 2, *[st.integers(1, SIDE)] * 2),
)  # fmt: skip
def test_a_window_is_the_crop_of_the_whole(
    folder: Path, ratio: float, overviews: str, dtype: str, method: str, crs: str,
    spans: tuple[int, int, int, int],
) -> None:  # fmt: skip
    scene, whole = _written(folder, ratio, overviews, dtype), coarse(crs)
    image, valid = _whole(scene, crs, method)
    row, col, height, width = spans
    rows, cols = whole.shape
    part = (slice(row, min(row + height, rows)), slice(col, min(col + width, cols)))
    seen, seen_valid = read_pixels([scene], whole[part], method)
    assert 0.3 < valid.mean() < 1
    assert np.array_equal(seen_valid, valid[part])
    assert np.array_equal(seen, image[:, *part])


def exact_places(scene: Scene, grid: GeoBox) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The file's pixels, and rows and columns in it of a grid's centres, by GDAL, one by one."""
    row, col = np.meshgrid(*(np.arange(size) + 0.5 for size in grid.shape), indexing="ij")
    x, y = grid.affine @ (col.ravel(), row.ravel())
    with rasterio.open(scene.bands[0].href) as file:
        x, y = rasterio.warp.transform(str(grid.crs), file.crs, x, y)
        cols, rows = ~file.transform @ (np.array(x), np.array(y))
        return file.read(1), rows.reshape(grid.shape), cols.reshape(grid.shape)


@pytest.mark.parametrize("crs", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("ratio", [0.4, 1.0, 3.3, 10.0])
def test_nearest_is_the_pixel_of_the_file_that_the_centre_lies_in(
    folder: Path, ratio: float, crs: str
) -> None:
    """With overviews by mean in the file, which hold numbers that the file does not."""
    scene, grid = _written(folder, ratio, "internal", "uint8"), coarse(crs)
    image, valid = read_pixels([scene], grid, "nearest")
    pixels, rows, cols = exact_places(scene, grid)
    inside = (rows >= 0) & (rows < len(pixels)) & (cols >= 0) & (cols < len(pixels))
    row, col = ((np.floor(at + 1e-6).clip(0, len(pixels) - 1)).astype(int) for at in (rows, cols))
    expected = np.where(inside, pixels[row, col], 0)
    between = np.minimum(np.abs(rows - np.rint(rows)), np.abs(cols - np.rint(cols))) < 1e-4 * ratio
    sure = ~between if crs != CRS else np.full(grid.shape, True)
    assert sure.mean() > 0.98
    assert np.array_equal(image[0][sure & valid], expected[sure & valid])
    assert np.array_equal(valid[sure], expected[sure] > 0)


@pytest.mark.parametrize("crs", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("dtype", TYPES)
def test_bilinear_is_the_mean_of_the_observed_neighbours(
    folder: Path, dtype: str, crs: str
) -> None:
    scene, grid = _written(folder, 1.0, "none", dtype), coarse(crs)
    image, valid = read_pixels([scene], grid, "bilinear")
    pixels, rows, cols = exact_places(scene, grid)
    seen = (pixels != 0).astype(float)
    weight, total = (
        ndimage.map_coordinates(values, [rows - 0.5, cols - 0.5], order=1, mode="nearest")
        for values in (seen, pixels.astype(float) * seen)
    )
    away = np.abs(image[0] - total / np.maximum(weight, 1e-9))[valid]
    rounding = 0.5 if dtype != "float32" else 1e-5
    assert valid.mean() > 0.4
    assert away.max() < rounding + 1e-4 * np.ptp(pixels.astype(float))  # of a pixel's place


@pytest.mark.parametrize("ratio", [2.0, 2.5, 3.3, 10.0])
@pytest.mark.parametrize("method", ["bilinear", "cubic", "average"])
def test_on_coarser_grids_a_pixel_is_the_mean_of_what_lies_under_it(
    folder: Path, ratio: float, method: str
) -> None:
    """Against GDAL's own weighted average, in which what is not observed weighs nothing."""
    scene, grid = _written(folder, ratio, "none", "int16"), coarse(CRS)
    image, valid = read_pixels([scene], grid, method)
    expected = np.full(grid.shape, np.nan)
    with rasterio.open(scene.bands[0].href) as file:
        pixels = np.where(file.read(1) == 0, np.nan, file.read(1).astype(float))
        rasterio.warp.reproject(
            pixels, expected, src_transform=file.transform, src_crs=CRS, src_nodata=np.nan,
            dst_transform=grid.affine, dst_crs=CRS, dst_nodata=np.nan,
            resampling=Resampling.average,
        )  # fmt: skip
    edge = frame(
        SIDE, SIDE
    ).extent  # a pixel that the file's edge cuts is weighed otherwise by GDAL
    inner = valid & (
        rasterio.features.rasterize([edge.geom], grid.shape, transform=grid.affine) > 0
    )
    inner[:8] = inner[:, :7] = False
    assert inner.mean() > 0.2 and np.isfinite(expected[inner]).mean() > 0.98
    away = np.abs(image[0] - expected)[inner & np.isfinite(expected)]
    coarser = ratio >= 4  # means of blocks of pixels, which the grid's edges may cut
    assert away.mean() < 0.3 * np.nanstd(expected) if coarser else away.max() <= 1


def test_on_a_grid_of_whole_blocks_a_pixel_is_their_mean_to_the_digit(folder: Path) -> None:
    scene = _written(folder, 10.0, "none", "int16")
    image, valid = read_pixels([scene], frame(SIDE, SIDE))
    with rasterio.open(scene.bands[0].href) as file:
        pixels = file.read(1)[: SIDE * 10, : SIDE * 10].astype(float)
    tiles = np.where(pixels == 0, np.nan, pixels).reshape(SIDE, 10, SIDE, 10)
    seen = np.isfinite(tiles).any(axis=(1, 3))
    assert np.array_equal(valid, seen)
    expected = np.nanmean(np.where(seen[:, None, :, None], tiles, 0), axis=(1, 3))
    assert np.abs(image[0] - expected)[valid].max() <= 0.5 + 1e-6


def test_an_overview_is_read_only_where_it_is_twice_finer_and_never_for_nearest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = {ratio: _written(folder, ratio, "internal", "uint8") for ratio in (3.3, 10.0, 33.0)}
    read: list[int | None] = []
    monkeypatch.setattr(
        blocks, "read_window", lambda *place: read.append(place[3]) or ONE_WINDOW(*place)
    )
    for ratio, expected in ((3.3, None), (10.0, 1), (33.0, 3)):
        read.clear()
        read_pixels([scenes[ratio]], coarse(CRS), "bilinear")
        assert set(read) == {expected}
    read.clear()
    read_pixels([scenes[33.0]], coarse(CRS), "nearest")
    assert not read


ONE_WINDOW = blocks.read_window


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_however_fine_the_file_little_of_it_is_held_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    scene, grid = _written(folder, 33.0, "none", "uint8"), coarse("EPSG:32632")
    expected = read_pixels([scene], grid, method)
    held: list[int] = []

    def watched(*place: Any) -> Any:
        held.append(place[2].height * place[2].width)
        return ONE_WINDOW(*place)

    monkeypatch.setattr(resample, "MAX_WINDOW_PX", 30_000)
    for module in (blocks, resample):
        monkeypatch.setattr(module, "read_window", watched)
    found = read_pixels([scene], grid, method)
    assert len(held) > 20 and max(held) <= 30_000
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_the_same_grid_is_known_by_the_file_not_by_the_window(tmp_path: Path) -> None:
    """Pixels longer by a hundred-thousandth: a small window would not notice."""
    pixels = ground(300, "uint8")
    stretched = frame(300, 300, resolution=10.0002)
    path = write_tif(tmp_path / "stretched.tif", pixels, stretched, nodata=0)
    scene, whole = scene_of(path, geobox=stretched), frame(300, 300)
    image, _ = read_pixels([scene], whole)
    assert np.array_equal(
        read_pixels([scene], whole[280:290, 280:290])[0], image[:, 280:290, 280:290]
    )
    assert np.array_equal(read_pixels([scene], whole[:10, :10])[0], image[:, :10, :10])


@pytest.mark.parametrize("west", [175.0, -185.0, 535.0])
def test_longitudes_are_taken_as_the_file_counts_them(tmp_path: Path, west: float) -> None:
    """A file across 180 degrees, under three spellings, on a grid of metres on both sides of it."""
    pixels = ground(100, "uint8")
    spelt = GeoBox((100, 100), rasterio.Affine(0.1, 0, west, 0, -0.1, -12.0), "EPSG:4326")
    path = write_tif(tmp_path / "date_line.tif", pixels, spelt, nodata=0)
    scene = replace(
        scene_of(path, geobox=spelt), footprint_wkb=shapely.to_wkb(shapely.box(-180, -90, 180, 90))
    )
    grid = GeoBox.from_bbox((0, 7_900_000, 400_000, 8_400_000), "EPSG:32701", resolution=5000)
    found, valid = read_bands(scene.bands, grid, "nearest")
    _, rows, cols = exact_places(scene, grid)
    cols = cols % 3600
    expected = pixels[np.floor(rows).astype(int), np.floor(cols).astype(int)]
    between = np.minimum(np.abs(rows - np.rint(rows)), np.abs(cols - np.rint(cols))) < 1e-3
    assert np.array_equal(found[0][~between], expected[~between])
    assert np.array_equal(valid[~between], expected[~between] > 0)
