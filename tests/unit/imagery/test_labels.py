from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from odc.geo.geobox import GeoBox
from shapely import contains_xy

from noise2map_core.catalog.config import SearchConfig
from noise2map_core.errors import AssetReadError, CatalogError, ConfigError
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.config import NoLabels, PolygonLabels, RasterLabels
from noise2map_core.imagery.labels import LabelSource, open_labels
from tests.raster_factories import CRS, frame, write_tif

BOX = frame(40, 50)
AOI = AreaOfInterest("area", BOX.geographic_extent.geom)
GRID = RegionGrid.covering(AOI, CRS, 10.0)
SEARCH = SearchConfig(catalog="unused", collection="unused")


def opened(config: Any) -> LabelSource:
    source = open_labels(config, SEARCH, AOI, "2000/2001", GRID)
    assert source is not None
    return source


def test_values_of_a_raster_mean_what_the_settings_say_and_the_rest_nothing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 6, (40, 50)).astype(np.uint8)
    path = write_tif(tmp_path / "labels.tif", pixels, BOX, nodata=5)
    config = RasterLabels(path=str(path), changed=(2, 5), unchanged=(0, 1))
    labels = opened(config).read(BOX)
    assert np.array_equal(labels == 1, pixels == 2)
    assert np.array_equal(labels == 0, pixels <= 1)
    assert set(np.unique(labels)) == {0, 1, 255}


def test_labels_beside_the_raster_are_unknown(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "labels.tif", np.ones((40, 50), np.uint8), BOX)
    labels = opened(RasterLabels(path=str(path))).read(BOX.pad(3))
    assert (labels == 1).sum() == 40 * 50 and (labels == 255).sum() == 46 * 56 - 40 * 50


def test_labels_of_another_grid_come_by_nearest_neighbour(tmp_path: Path) -> None:
    coarse = frame(20, 25, resolution=20.0)
    pixels = np.random.default_rng(0).integers(0, 2, (20, 25)).astype(np.uint8)
    path = write_tif(tmp_path / "labels.tif", pixels, coarse)
    labels = opened(RasterLabels(path=str(path))).read(BOX)
    assert np.array_equal(labels, pixels.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize(
    ("name", "crs"),
    [("labels.geojson", "EPSG:4326"), ("labels.parquet", CRS), ("labels.gpkg", "EPSG:4326")],
)
def test_pixels_are_changed_whose_centre_lies_in_a_polygon(
    tmp_path: Path, name: str, crs: str
) -> None:
    shapes = shapely.buffer(shapely.points([(500_123, 4_999_841), (500_410, 4_999_700)]), [66, 47])
    frame_of = gpd.GeoDataFrame(geometry=shapes, crs=CRS).to_crs(crs)
    path = tmp_path / name
    frame_of.to_parquet(path) if name.endswith(".parquet") else frame_of.to_file(path)
    labels = opened(PolygonLabels(path=path)).read(BOX)
    x, y = np.meshgrid(BOX.coordinates["x"].values, BOX.coordinates["y"].values)
    inside = contains_xy(shapely.union_all(shapes), x, y)
    assert inside.sum() > 100
    assert np.array_equal(labels, inside.astype(np.uint8))


def test_no_labels_are_no_source() -> None:
    assert open_labels(NoLabels(), SEARCH, AOI, "2000/2001", GRID) is None


def far_polygons(path: Path) -> None:
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326").to_file(path)


def points(path: Path) -> None:
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs="EPSG:4326").to_file(path)


def text(path: Path) -> None:
    path.write_text("hello")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "do not exist"),
        (far_polygons, "no polygon in the region"),
        (points, "hold Point: they must be polygons"),
        (text, "cannot be read as polygons"),
    ],
)
def test_polygons_that_cannot_serve_are_named(tmp_path: Path, write: Any, message: str) -> None:
    path = tmp_path / "labels.geojson"
    write(path)
    with pytest.raises(ConfigError, match=rf"labels\.geojson.*{message}"):
        opened(PolygonLabels(path=path))


def test_rasters_that_cannot_serve_are_named(tmp_path: Path, real_data: Path) -> None:
    with pytest.raises(AssetReadError, match=r"labels\.tif does not exist"):
        opened(RasterLabels(path=str(tmp_path / "labels.tif")))
    far = write_tif(tmp_path / "far.tif", np.ones((9, 9), np.uint8), frame(9, 9, y=ORIGIN_FAR))
    with pytest.raises(ConfigError, match=r"far\.tif do not cover area area"):
        opened(RasterLabels(path=str(far)))
    catalog = str(real_data / "stac" / "catalog.json")
    taizhou = AreaOfInterest("taizhou", shapely.box(119.85, 32.45, 119.95, 32.5))
    where = SearchConfig(catalog=catalog, collection="landsat-taizhou")
    with pytest.raises(CatalogError, match="no band 'buildings'"):
        open_labels(RasterLabels(asset="buildings"), where, taizhou, "2000/2003", GRID)


ORIGIN_FAR = 5_500_000.0


def test_settings_name_exactly_one_source() -> None:
    for wrong in ({}, {"asset": "a", "path": "b"}, {"asset": "a", "changed": (0,)}):
        with pytest.raises(ValueError, match=r"either asset or path|cannot mean both"):
            RasterLabels(**wrong)


def test_boxes_have_dense_outlines() -> None:
    """A guard of the tests above: the area is the frame itself, to the pixel."""
    assert isinstance(BOX, GeoBox)
    assert (GRID.region.height, GRID.region.width) == BOX.shape
