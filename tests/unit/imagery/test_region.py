from pathlib import Path

import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox

from noise2map_core.catalog.config import SearchConfig
from noise2map_core.catalog.search import search_scenes
from noise2map_core.errors import ConfigError
from noise2map_core.geo.aoi import AreaOfInterest, read_aoi
from noise2map_core.geo.config import GridConfig
from noise2map_core.imagery.region import plan_grid
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
