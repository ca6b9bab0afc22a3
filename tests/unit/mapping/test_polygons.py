"""Polygons: dissolved across tiles, the same as if the region had been traced whole."""

from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio.features
import shapely
from scipy import ndimage
from shapely.geometry import shape

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import Mosaic, TileMap
from noise2map_core.mapping.polygons import Dates, trace_polygons, write_polygons

CLASSES = [
    {"value": 0, "name": "unchanged", "color": "#cccccc"},
    {"value": 1, "name": "changed", "color": "#d7191c"},
]
DATES = Dates(datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))
REGION = Window(-600_000, 50_000, 192, 256)


def filled(path: Path, classes: np.ndarray, tile_px: int) -> Mosaic:
    outline = shapely.box(-1e8, -1e8, 1e8, 1e8)
    grid = RegionGrid("EPSG:32633", 10.0, 0.0, 0.0, tile_px, REGION, outline)
    frame = np.full((grid.tile_frame.height, grid.tile_frame.width), 255, np.uint8)
    frame[REGION.slices_in(grid.tile_frame)] = classes
    mosaic = Mosaic.create(path, grid, CLASSES)
    for tile in grid.tiles():
        part = frame[grid.window(tile).slices_in(grid.tile_frame)]
        mosaic.write(tile, TileMap(part, (part * 30).astype(np.uint16), part != 255, part * 0))
    return mosaic


def blobs(seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(
        np.random.default_rng(seed).normal(size=(REGION.height, REGION.width)), 4
    )
    return (noise > 0.03).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_polygons_do_not_depend_on_the_tiles(tmp_path: Path, seed: int) -> None:
    classes = blobs(seed)
    tables = [
        trace_polygons(filled(tmp_path / f"{px}.zarr", classes, px), 1, "changed", DATES)
        for px in (64, 32, 1024)
    ]
    assert len(tables[0]) > 5
    for other in tables[1:]:
        assert list(other["polygon_id"]) == list(tables[0]["polygon_id"])
        assert other["pixels"].tolist() == tables[0]["pixels"].tolist()
        assert (
            shapely.get_num_coordinates(other.geometry)
            == shapely.get_num_coordinates(tables[0].geometry)
        ).all()
        assert tables[0].geometry.geom_equals(other.geometry).all()


def test_polygons_equal_a_whole_trace(tmp_path: Path) -> None:
    classes = blobs(7)
    mosaic = filled(tmp_path / "m.zarr", classes, 64)
    polygons = trace_polygons(mosaic, 1, "changed", DATES)
    traced = rasterio.features.shapes(
        classes, mask=classes == 1, connectivity=4, transform=mosaic.grid.transform(REGION)
    )
    expected = sorted(shape(geometry).area for geometry, _ in traced)
    np.testing.assert_allclose(sorted(polygons.area), expected)
    assert polygons.is_valid.all()
    assert polygons.area.sum() == pytest.approx(100 * (classes == 1).sum())
    assert polygons["pixels"].sum() == (classes == 1).sum()


def test_areas_are_geodesic(tmp_path: Path) -> None:
    classes = np.zeros((REGION.height, REGION.width), np.uint8)
    classes[50:150, 100:200] = 1
    polygon = trace_polygons(filled(tmp_path / "m.zarr", classes, 64), 1, "changed", DATES).iloc[0]
    # A transverse Mercator map stretches lengths by its point scale factor in both directions.
    centre = polygon.geometry.centroid
    projection = pyproj.Proj("EPSG:32633")
    scale = projection.get_factors(*projection(centre.x, centre.y, inverse=True))
    assert polygon["area_m2"] == pytest.approx(1e6 / scale.areal_scale, rel=1e-5)
    assert polygon["area_m2"] != pytest.approx(1e6, rel=1e-4)
    assert polygon["polygon_id"] == f"1:{REGION.row + 50}:{REGION.col + 100}"


def test_small_polygons_are_left_out(tmp_path: Path) -> None:
    classes = np.zeros((REGION.height, REGION.width), np.uint8)
    classes[10:20, 10:20] = 1
    classes[100, 100] = 1
    mosaic = filled(tmp_path / "m.zarr", classes, 64)
    assert len(trace_polygons(mosaic, 1, "changed", DATES)) == 2
    assert len(trace_polygons(mosaic, 1, "changed", DATES, min_area_m2=150)) == 1


@pytest.mark.parametrize("any_change", [True, False])
def test_geoparquet_reads_back_with_crs_and_boxes(tmp_path: Path, any_change: bool) -> None:
    classes = blobs(1) if any_change else np.zeros((REGION.height, REGION.width), np.uint8)
    polygons = trace_polygons(filled(tmp_path / "m.zarr", classes, 64), 1, "changed", DATES)
    write_polygons(polygons, tmp_path / "polygons.parquet")
    found = gpd.read_parquet(tmp_path / "polygons.parquet")
    assert found.crs.to_epsg() == 32633
    assert len(found) == len(polygons) and (len(found) > 0) == any_change
    if any_change:
        west, south, east, north = polygons.geometry.iloc[0].bounds
        near = gpd.read_parquet(tmp_path / "polygons.parquet", bbox=(west, south, east, north))
        assert 0 < len(near) < len(polygons)
