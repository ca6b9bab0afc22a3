"""Footprints on a grid never leave out a scene that shows a part of it."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.turns import outline_of
from noise2map_core.imagery.footprints import footprints_on
from tests.raster_factories import scene_of

AREA = AreaOfInterest("a", shapely.box(14.9, 48, 15.1, 48.1))
GRID = RegionGrid.covering(AREA, "EPSG:32633", 10.0)


def on_grid(box: GeoBox) -> shapely.Geometry:
    from dataclasses import replace

    scene = replace(
        scene_of(Path("a.tif"), geobox=box), footprint_wkb=shapely.to_wkb(outline_of(box))
    )
    return footprints_on(GRID, [scene])[0]


@pytest.mark.parametrize(
    "box",
    [
        GeoBox((1800, 3600), Affine(0.1, 0, -180, 0, -0.1, 90), "EPSG:4326"),
        GeoBox((1800, 3600), Affine(0.1, 0, 0, 0, -0.1, 90), "EPSG:4326"),
        GeoBox((400, 1000), Affine(0.1, 0, -60, 0, -0.1, 70), "EPSG:4326"),
        GeoBox((1000, 1000), Affine(40_000, 0, -2e7, 0, -40_000, 2e7), "EPSG:3857"),
        GeoBox((100, 100), Affine(5000, 0, 4.5e6, 0, -5000, 3.1e6), "EPSG:3035"),
    ],
)
def test_a_file_of_a_continent_or_of_the_globe_covers_the_area(box: GeoBox) -> None:
    assert on_grid(box).covers(GRID.outline)


def test_a_file_of_the_other_side_of_the_globe_does_not_touch_it() -> None:
    box = GeoBox((400, 300), Affine(0.1, 0, 170, 0, -0.1, 70), "EPSG:4326")
    assert not on_grid(box).intersects(GRID.outline)


def test_a_file_in_the_grids_own_crs_ends_where_it_ends() -> None:
    west, _, east, north = GRID.outline.bounds
    middle = round((west + east) / 2, -1)
    box = GeoBox((2000, 1000), Affine(10, 0, middle - 10_000, 0, -10, north + 1000), "EPSG:32633")
    assert on_grid(box).bounds[2] == pytest.approx(middle, abs=0.5)
    assert np.isclose(on_grid(box).area, 2000 * 1000 * 100, rtol=1e-5)
