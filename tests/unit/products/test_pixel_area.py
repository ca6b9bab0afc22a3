"""Areas of pixels, against geodesic polygons along their outlines."""

import pyproj
import pytest
import shapely

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.products.pixel_area import pixel_areas


@pytest.mark.parametrize(
    ("crs", "resolution", "window"),
    [
        ("EPSG:32633", 10.0, Window(-600_000, 50_000, 2048, 2048)),
        ("EPSG:32651", 30.0, Window(-120_000, 6_000, 500, 300)),
        ("EPSG:32633", 10.0, Window(-600_000, 50_000, 3, 1)),
        ("EPSG:3857", 0.6, Window(-9_000_000, 100_000, 512, 512)),
        ("EPSG:4326", 1e-4, Window(-600_000, 100_000, 512, 512)),
        ("EPSG:32601", 10.0, Window(-10_000, 16_500, 512, 512)),  # across the antimeridian
    ],
)
def test_pixels_add_up_to_the_geodesic_area_of_their_outline(
    crs: str, resolution: float, window: Window
) -> None:
    grid = RegionGrid(crs, resolution, 0.0, 0.0, 512, window, shapely.box(0, 0, 1, 1))
    areas = pixel_areas(grid, window)
    assert areas.shape == (window.height, window.width)
    for part in (window, Window(window.row, window.col, -(-window.height // 3), 1)):
        rows_cols = part.slices_in(window)
        assert areas[rows_cols].sum() == pytest.approx(outlined(grid, part), rel=1e-7)


def outlined(grid: RegionGrid, window: Window) -> float:
    """Geodesic area of a window whose edges, straight on the map, are cut into short pieces."""
    box = shapely.segmentize(grid.bounds_polygon(window), grid.resolution)
    to_lon_lat = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_lon_lat.transform(*shapely.get_coordinates(box).T)
    return abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0])
