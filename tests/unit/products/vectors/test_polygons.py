"""Polygons: dissolved across tiles, the same as if the region had been traced whole."""

import json
import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely.geometry import shape

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import Mosaic, TileMap
from noise2map_core.products.styles.qml import polygon_style
from noise2map_core.products.vectors import polygons as module
from noise2map_core.products.vectors.pmtiles import write_tiles
from noise2map_core.products.vectors.polygon_files import GeoPackageFile, GeoParquetFile, geo_table
from noise2map_core.products.vectors.polygons import Dates, PolygonRules, iter_polygons
from noise2map_core.runtime.digest import file_sha256

CLASSES = [
    {"value": 0, "name": "unchanged", "color": "#cccccc"},
    {"value": 1, "name": "changed", "color": "#d7191c"},
    {"value": 2, "name": "lost", "color": "#2c7bb6"},
]
NAMES = {1: "changed", 2: "lost"}
DATES = Dates(datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))
REGION = Window(-600_000, 50_000, 192, 256)


def filled(path: Path, classes: np.ndarray, tile_px: int, outline: Any = None) -> Mosaic:
    """A mosaic with these classes [H, W], and probabilities that differ from pixel to pixel."""
    region = Window(REGION.row + 5, REGION.col - 3, *classes.shape)
    outline = outline or shapely.box(-1e8, -1e8, 1e8, 1e8)
    grid = RegionGrid("EPSG:32633", 10.0, 0.0, 0.0, tile_px, region, outline)
    frame = np.full((grid.tile_frame.height, grid.tile_frame.width), 255, np.uint8)
    frame[region.slices_in(grid.tile_frame)] = classes
    mosaic = Mosaic.create(path, grid, CLASSES)
    for tile in grid.tiles():
        part = frame[grid.window(tile).slices_in(grid.tile_frame)]
        mosaic.write(tile, TileMap(part, (part * 30).astype(np.uint16), part != 255, part * 0))
    return mosaic


def blobs(seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(
        np.random.default_rng(seed).normal(size=(REGION.height, REGION.width)), 4
    )
    return (noise > 0.03).astype(np.uint8) + (noise > 0.05)


def traced(mosaic: Mosaic, **rules: Any) -> gpd.GeoDataFrame:
    """All polygons, by first pixel."""
    batches = list(iter_polygons(mosaic, PolygonRules(NAMES, DATES, **rules)))
    return in_order(geo_table(pa.concat_tables(batches), mosaic.grid.crs))


def in_order(polygons: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    place = [tuple(map(int, name.split(":"))) for name in polygons["polygon_id"]]
    return polygons.iloc[sorted(range(len(place)), key=place.__getitem__)].reset_index(drop=True)


def whole_trace(mosaic: Mosaic) -> dict[str, shapely.Polygon]:
    """By id, the outlines that GDAL traces in the image as a whole."""
    region = mosaic.grid.region
    classes = mosaic.read("class", region)
    outlines = {}
    for value in NAMES:
        labels, _ = ndimage.label(classes == value)
        shapes = rasterio.features.shapes(
            labels, mask=labels > 0, connectivity=4, transform=mosaic.grid.transform(region)
        )
        for geometry, number in shapes:
            row, col = np.argwhere(labels == number)[0]
            outlines[f"{value}:{region.row + row}:{region.col + col}"] = shape(geometry)
    return outlines


@settings(max_examples=25)
@given(
    height=st.integers(1, 30), width=st.integers(1, 30), tile_px=st.sampled_from([3, 8, 16]),
    density=st.floats(0.2, 0.9), seed=st.integers(0, 1000),
)  # fmt: skip
def test_any_mask_under_any_tiles_gives_the_polygons_of_a_whole_trace(
    height: int, width: int, tile_px: int, density: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    classes = np.where(rng.random((height, width)) < density, rng.integers(1, 3), 0)
    classes = np.where(rng.random((height, width)) < 0.1, 255, classes).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        mosaic = filled(Path(folder) / "m.zarr", classes, tile_px)
        polygons, expected = traced(mosaic), whole_trace(mosaic)
    assert set(polygons["polygon_id"]) == set(expected) and polygons["polygon_id"].is_unique
    for name, polygon in zip(polygons["polygon_id"], polygons.geometry, strict=True):
        assert polygon.is_valid and polygon.equals(expected[name])
    counts = polygons.groupby("class")["pixels"].sum()
    for value in NAMES:
        assert counts.get(value, 0) == (classes == value).sum()


def test_polygons_do_not_depend_on_the_tiles(tmp_path: Path) -> None:
    classes = blobs(0)
    tables = [traced(filled(tmp_path / f"{px}.zarr", classes, px)) for px in (32, 64, 1024)]
    assert len(tables[0]) > 20
    for other in tables[1:]:
        assert other.geometry.to_wkb().equals(tables[0].geometry.to_wkb())
        np.testing.assert_allclose(other["area_m2"], tables[0]["area_m2"], rtol=1e-7)
        columns = ["polygon_id", "class", "class_name", "pixels", "probability", "before", "after"]
        pd.testing.assert_frame_equal(other[columns], tables[0][columns])


def test_probability_is_the_mean_over_the_pixels(tmp_path: Path) -> None:
    polygons = traced(filled(tmp_path / "m.zarr", blobs(3), 64))
    np.testing.assert_allclose(polygons["probability"], polygons["class"] * 30 / 10_000)


def test_a_row_of_tiles_without_area_of_interest_joins_nothing(tmp_path: Path) -> None:
    classes = np.ones((96, 20), np.uint8)
    x, y = (REGION.col - 3) * 10.0, -(REGION.row + 5) * 10.0
    outline = shapely.union_all(
        [shapely.box(x, y - 90, x + 200, y), shapely.box(x, y - 960, x + 200, y - 900)]
    )
    polygons = traced(filled(tmp_path / "m.zarr", classes, 16, outline))
    assert len(polygons) == 2


def test_areas_are_geodesic(tmp_path: Path) -> None:
    classes = np.zeros((REGION.height, REGION.width), np.uint8)
    classes[50:150, 100:200] = 1
    polygon = traced(filled(tmp_path / "m.zarr", classes, 64)).iloc[0]
    # A transverse Mercator map stretches lengths by its point scale factor in both directions.
    centre = polygon.geometry.centroid
    projection = pyproj.Proj("EPSG:32633")
    scale = projection.get_factors(*projection(centre.x, centre.y, inverse=True))
    assert polygon["area_m2"] == pytest.approx(1e6 / scale.areal_scale, rel=1e-6)
    assert polygon["area_m2"] != pytest.approx(1e6, rel=1e-4)


def test_small_polygons_are_left_out(tmp_path: Path) -> None:
    classes = np.zeros((REGION.height, REGION.width), np.uint8)
    classes[10:20, 10:20] = 1
    classes[100, 100] = 1
    mosaic = filled(tmp_path / "m.zarr", classes, 64)
    assert len(traced(mosaic)) == 2
    assert len(traced(mosaic, min_area_m2=150)) == 1


def test_simplified_outlines_are_valid_and_keep_their_numbers(tmp_path: Path) -> None:
    mosaic = filled(tmp_path / "m.zarr", blobs(5), 64)
    exact, simple = traced(mosaic), traced(mosaic, simplify_m=15)
    assert simple.is_valid.all()
    assert simple.count_coordinates().sum() < 0.6 * exact.count_coordinates().sum()
    assert simple.geometry.hausdorff_distance(exact.geometry).max() <= 15 * 1.5
    pd.testing.assert_frame_equal(
        pd.DataFrame(simple.drop(columns="geometry")), pd.DataFrame(exact.drop(columns="geometry"))
    )


def write_files(mosaic: Mosaic, folder: Path) -> None:
    folder.mkdir()
    colors = {entry["value"]: entry["color"] for entry in CLASSES}
    styles = {"polygons": polygon_style("polygons", colors, NAMES)}
    with (
        GeoParquetFile(folder / "p.parquet") as parquet,
        GeoPackageFile(folder / "p.gpkg", styles, DATES.after) as package,
    ):
        for batch in iter_polygons(mosaic, PolygonRules(NAMES, DATES)):
            parquet.append(batch, mosaic.grid.crs)
            package.append(batch, mosaic.grid.crs)


@pytest.mark.parametrize("any_change", [True, False])
def test_files_hold_the_same_polygons_with_crs_boxes_and_style(
    tmp_path: Path, any_change: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_POLYGONS", 10)
    classes = blobs(1) if any_change else np.zeros((REGION.height, REGION.width), np.uint8)
    mosaic = filled(tmp_path / "m.zarr", classes, 64)
    write_files(mosaic, tmp_path / "files")
    polygons = traced(mosaic)
    parquet = gpd.read_parquet(tmp_path / "files" / "p.parquet")
    package = gpd.read_file(tmp_path / "files" / "p.gpkg", layer="polygons")
    for found in (parquet, package):
        assert found.crs.to_epsg() == 32633 and (len(found) > 0) == any_change
        assert in_order(found).geometry.geom_equals(polygons.geometry).all()
        assert list(in_order(found)["polygon_id"]) == list(polygons["polygon_id"])
    assert parquet["before"].dt.tz is not None
    assert (pq.ParquetFile(tmp_path / "files" / "p.parquet").num_row_groups > 2) == any_change
    with sqlite3.connect(tmp_path / "files" / "p.gpkg") as database:
        ((layer, style),) = database.execute("SELECT f_table_name, styleQML FROM layer_styles")
    assert layer == pyogrio.list_layers(tmp_path / "files" / "p.gpkg")[0][0] == "polygons"
    assert 'attr="class"' in style and 'label="lost"' in style
    if any_change:
        box = tuple(polygons.geometry.iloc[0].bounds)
        near = gpd.read_parquet(tmp_path / "files" / "p.parquet", bbox=box)
        assert 0 < len(near) < len(polygons)


def test_version_2_has_geometries_of_parquets_own_type_and_reads_the_same(tmp_path: Path) -> None:
    mosaic = filled(tmp_path / "m.zarr", blobs(1), 64)
    paths = {}
    for version in ("1.1", "2.0"):
        paths[version] = tmp_path / f"{version}.parquet"
        with GeoParquetFile(paths[version], version) as file:
            for batch in iter_polygons(mosaic, PolygonRules(NAMES, DATES)):
                file.append(batch, mosaic.grid.crs)
        about = pq.ParquetFile(paths[version])
        assert json.loads(about.metadata.metadata[b"geo"])["version"] == f"{version}.0"
        column = about.schema.column(about.schema.names.index("geometry"))
        assert ("Geometry" in str(column.logical_type)) == (version == "2.0")
    older, newer = (gpd.read_parquet(path) for path in paths.values())
    assert newer.crs == older.crs and newer.equals(older)
    assert write_tiles(paths["2.0"], tmp_path / "t.pmtiles", mosaic.grid)


def test_the_same_mosaic_gives_the_same_files(tmp_path: Path) -> None:
    mosaic = filled(tmp_path / "m.zarr", blobs(2), 64)
    for run in ("one", "two"):
        write_files(mosaic, tmp_path / run)
    for name in ("p.parquet", "p.gpkg"):
        assert file_sha256(tmp_path / "one" / name) == file_sha256(tmp_path / "two" / name)
