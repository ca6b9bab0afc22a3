import math
from itertools import product
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.search import search_scenes
from noise2map_core.geo.aoi import AreaOfInterest, read_aoi
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.ground import ground_side, metres_per_unit
from noise2map_core.imagery.reader import read_mosaic
from noise2map_core.imagery.region import plan_grid
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.grid import GridConfig
from tests.raster_factories import frame, noise, scene_of, write_tif

AUTO = GridConfig()


def test_taizhou_is_mapped_on_exactly_its_own_pixels(real_data: Path, checkout: Path) -> None:
    aoi = read_aoi(checkout / "pipelines" / "aois" / "taizhou.geojson")
    catalog = str(real_data / "stac" / "catalog.json")
    where = SearchConfig(catalog=catalog, collection="landsat-taizhou")
    scenes = search_scenes(where, aoi, "2000/2003", ["red"])
    grid = plan_grid(aoi, AUTO, scenes)
    assert (grid.x_origin, grid.y_origin, grid.tile_px) == (15.0, 15.0, 512)
    with rasterio.open(scenes[0].bands[0].href) as file:
        assert grid.geobox(grid.region) == GeoBox(file.shape, file.transform, file.crs)


def test_a_geographic_source_is_mapped_in_utm_at_its_own_resolution(real_data: Path) -> None:
    aoi = AreaOfInterest("pucallpa", shapely.box(-74.6, -8.5, -74.4, -8.35))
    catalog = str(real_data / "stac" / "catalog.json")
    where = SearchConfig(catalog=catalog, collection="landsat-pucallpa")
    grid = plan_grid(aoi, AUTO, search_scenes(where, aoi, "1990", ["red"]))
    assert (grid.crs, grid.x_origin, grid.y_origin) == ("EPSG:32718", 0.0, 0.0)
    # 0.00080848° of a great circle of 40,008 km, on both axes, narrowed by the latitude on one
    assert grid.resolution == pytest.approx(0.00080848 * 40_008_000 / 360, rel=0.01)
    assert f"{grid.resolution:.3g}" == f"{grid.resolution:g}"


def area_of(geobox: GeoBox) -> AreaOfInterest:
    return AreaOfInterest("area", geobox.geographic_extent.geom)


def test_the_finest_of_several_resolutions_is_taken(tmp_path: Path) -> None:
    coarse, fine = frame(10, 10, resolution=20), frame(20, 20, resolution=10)
    paths = [
        write_tif(tmp_path / f"{n}.tif", noise(*box.shape), box)
        for n, box in enumerate((coarse, fine))
    ]
    grid = plan_grid(area_of(fine), AUTO, [scene_of(*paths, geobox=fine)])
    assert grid.resolution == 10 and grid.region.height == grid.region.width == 20


def test_scenes_of_two_projections_meet_in_the_utm_zone_of_the_area(tmp_path: Path) -> None:
    box = frame(10, 10)
    other = GeoBox.from_bbox(box.geographic_extent.boundingbox, crs="EPSG:4326", shape=(10, 10))
    scenes = [
        scene_of(write_tif(tmp_path / f"{n}.tif", noise(10, 10), g), geobox=g, proj_code=str(g.crs))
        for n, g in enumerate((box, other))
    ]
    assert plan_grid(area_of(box), AUTO, scenes).crs == "EPSG:32633"


def test_the_file_is_trusted_over_the_item(tmp_path: Path) -> None:
    box = frame(10, 10)
    path = write_tif(tmp_path / "a.tif", noise(10, 10), box)
    scene = scene_of(path, geobox=box, proj_code="EPSG:32601")
    assert plan_grid(area_of(box), AUTO, [scene]).crs == "EPSG:32633"


def test_settings_decide_and_another_grid_is_anchored_to_its_crs(tmp_path: Path) -> None:
    box = frame(10, 10, x=500_003.0)
    scene = scene_of(write_tif(tmp_path / "a.tif", noise(10, 10), box), geobox=box)
    own = plan_grid(area_of(box), GridConfig(crs="EPSG:32633", resolution=10), [scene])
    other = plan_grid(area_of(box), GridConfig(crs="EPSG:32633", resolution=20), [scene])
    assert (own.x_origin, other.x_origin, other.resolution) == (3.0, 0.0, 20)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:2263", "EPSG:0", "nonsense"])
def test_a_crs_that_cannot_hold_square_metres_is_refused(tmp_path: Path, crs: str) -> None:
    box = frame(10, 10)
    scene = scene_of(write_tif(tmp_path / "a.tif", noise(10, 10), box), geobox=box)
    with pytest.raises(ConfigError, match=r"grid\.crs"):
        plan_grid(area_of(box), GridConfig(crs=crs), [scene])


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 135, 180, 270, 299.5])
def test_a_pixel_of_a_rotated_grid_is_as_long_as_its_sides(tmp_path: Path, angle: float) -> None:
    turned = Affine.translation(500_000, 5_000_000) @ Affine.rotation(angle) @ Affine.scale(10, -10)
    box = GeoBox((64, 64), turned, "EPSG:32633")
    numbers = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) + 1
    path = write_tif(tmp_path / "a.tif", numbers, box, nodata=0)
    middle = shapely.Point(turned @ (32, 32)).buffer(150)
    place = shapely.transform(
        middle,
        lambda xy: np.stack(
            pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform(*xy.T), axis=1
        ),
    )
    scene = scene_of(path, geobox=box)
    grid = plan_grid(AreaOfInterest("a", place), AUTO, [scene])
    assert grid.resolution == 10 and grid.crs == "EPSG:32633"
    image, valid, *_ = read_mosaic([scene], grid.geobox(grid.region))
    assert valid.all()
    if angle % 90 == 0:  # the file's own numbers, turned
        assert np.isin(image[0], numbers).all()


@pytest.mark.parametrize(
    ("crs", "latitude"),
    [
        *product(("EPSG:3857", "EPSG:4326", "EPSG:32633"), (0.0, 30.0, 60.0, -60.0)),
        ("EPSG:3035", 60.0), ("EPSG:3395", 45.0),
    ],
)  # fmt: skip
def test_a_pixel_is_as_long_as_it_is_on_the_ground(
    tmp_path: Path, crs: str, latitude: float
) -> None:
    to_crs = pyproj.Transformer.from_crs(4326, crs, always_xy=True)
    x, y = to_crs.transform(14.0, latitude)
    size = 1e-4 if crs == "EPSG:4326" else 10.0
    box = GeoBox((200, 200), Affine(size, 0, x - 100 * size, 0, -size, y + 100 * size), crs)
    path = write_tif(tmp_path / "a.tif", noise(200, 200), box)
    area = AreaOfInterest("a", shapely.Point(14, latitude).buffer(0.002))
    grid = plan_grid(area, AUTO, [scene_of(path, geobox=box, proj_code=crs)])
    back, geod = pyproj.Transformer.from_crs(crs, 4326, always_xy=True), pyproj.Geod(ellps="WGS84")
    lon, lat = back.transform([x, x + size, x], [y, y, y + size])
    sides = [geod.inv(lon[0], lat[0], lon[n], lat[n])[2] for n in (1, 2)]
    truth = math.sqrt(sides[0] * sides[1])
    assert grid.ground_m == pytest.approx(truth, rel=0.01)
    assert grid.resolution == pytest.approx(truth, rel=0.06)  # metres are metres on the ground
    assert ground_side(crs, box.affine, 14.0, latitude) == pytest.approx(truth, rel=0.001)


def test_a_metre_of_web_mercator_at_60_degrees_is_half_a_metre(tmp_path: Path) -> None:
    x, y = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(14.0, 60.0)
    box = GeoBox((20, 20), Affine(10, 0, x, 0, -10, y), "EPSG:3857")
    assert metres_per_unit(box) == pytest.approx(0.5, rel=0.005)
    scene = scene_of(write_tif(tmp_path / "a.tif", noise(20, 20), box), geobox=box)
    own = plan_grid(area_of(box), AUTO, [scene])
    asked = plan_grid(area_of(box), GridConfig(crs="EPSG:3857"), [scene])
    assert own.crs == "EPSG:32633" and own.resolution == pytest.approx(5, rel=0.01)
    assert asked.resolution == 10 and asked.ground_m == pytest.approx(5, rel=0.01)


@pytest.mark.parametrize("asked", [0.5, 0.6, 4.9])
def test_pixels_more_than_twice_finer_than_the_scenes_are_refused_unless_told_so(
    tmp_path: Path, asked: float
) -> None:
    box = frame(40, 40)
    scene = scene_of(write_tif(tmp_path / "a.tif", noise(40, 40), box), geobox=box)
    with pytest.raises(ConfigError, match=r"the scenes have 10 m.*choose finer imagery"):
        plan_grid(area_of(box), GridConfig(resolution=asked), [scene])
    told = plan_grid(area_of(box), GridConfig(resolution=asked, allow_upsampling=True), [scene])
    assert told.resolution == asked
    window = told.geobox(told.region)[:50, :50]
    image, valid, *_ = read_mosaic([scene], window)
    assert valid.any() and image.any()


@pytest.mark.parametrize("asked", [5.0, 10.0, 60.0])
def test_coarser_pixels_and_those_of_half_the_size_are_made(tmp_path: Path, asked: float) -> None:
    box = frame(40, 40)
    scene = scene_of(write_tif(tmp_path / "a.tif", noise(40, 40), box), geobox=box)
    assert plan_grid(area_of(box), GridConfig(resolution=asked), [scene]).resolution == asked


def test_the_finest_scene_of_one_projection_decides(tmp_path: Path) -> None:
    coarse, fine = frame(10, 10, resolution=30), frame(30, 30, resolution=10)
    scenes = [
        scene_of(write_tif(tmp_path / f"{n}.tif", noise(*box.shape), box), geobox=box, name=f"{n}")
        for n, box in enumerate((coarse, fine))
    ]
    assert plan_grid(area_of(fine), AUTO, scenes).resolution == 10


def test_an_area_at_both_ends_of_a_grid_is_refused() -> None:
    area = AreaOfInterest(
        "fiji",
        shapely.MultiPolygon(
            [shapely.box(179.9, -17, 180, -16), shapely.box(-180, -17, -179.9, -16)]
        ),
    )
    with pytest.raises(ConfigError, match=r"crosses the antimeridian.*Set grid\.crs to auto"):
        RegionGrid.covering(area, "EPSG:3857", 100.0)
