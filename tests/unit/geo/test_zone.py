from itertools import combinations

import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from pyproj import Geod

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.zone import bbox_of, centre_of, local_crs

EARTH = Geod(ellps="WGS84")


def cut_box(west: float, south: float, width: float, height: float) -> shapely.MultiPolygon:
    """A box that starts at `west` and goes east, cut at the antimeridian as RFC 7946 asks."""
    east = west + width
    if east <= 180:
        return shapely.MultiPolygon([shapely.box(west, south, east, south + height)])
    return shapely.MultiPolygon(
        [
            shapely.box(west, south, 180, south + height),
            shapely.box(-180, south, east - 360, south + height),
        ]
    )


places = st.builds(
    cut_box,
    st.one_of(st.floats(179.5, 179.99), st.floats(-180, 179)),
    st.floats(-89.0, 88.5),
    st.floats(0.05, 0.6),
    st.floats(0.05, 0.4),
)


def diameter_m(area: shapely.MultiPolygon) -> float:
    """Between the corners that are furthest apart, along the ground."""
    corners = {corner for part in area.geoms for corner in part.exterior.coords}
    return max(EARTH.inv(*one, *other)[2] for one, other in combinations(corners, 2))


@example(area=cut_box(13.0, 88.5, 0.0546, 0.25))
@given(area=places)
def test_an_area_anywhere_has_its_true_size_on_its_own_grid(area: shapely.MultiPolygon) -> None:
    true = sum(abs(EARTH.geometry_area_perimeter(part)[0]) for part in area.geoms)
    grid = RegionGrid.covering(AreaOfInterest("area", area), str(local_crs(area)), 30.0)
    # Edges along parallels are bent on the ground but straight in longitude and latitude.
    assert grid.outline.area == pytest.approx(true, rel=0.03)
    # A box around a shape that lies aslant is as wide and as high as the shape is long, at most;
    # its own area says nothing about that: a strip near a pole, 28 km by 150 m, fills 2 % of one.
    longest_px = 1.03 * diameter_m(area) / grid.resolution + 2
    assert max(grid.region.height, grid.region.width) <= longest_px


@given(area=places)
def test_the_middle_and_the_box_do_not_know_of_the_cut(area: shapely.MultiPolygon) -> None:
    west, south, east, north = bbox_of(area)
    assert (east - west) % 360 < 1 and (south, north) == (area.bounds[1], area.bounds[3])
    longitude, latitude = centre_of(area)
    assert (longitude - west) % 360 <= (east - west) % 360 + 1e-9
    assert south <= latitude <= north


@pytest.mark.parametrize(
    ("area", "code"),
    [
        (cut_box(179.9, -17, 0.3, 0.2), "EPSG:32701"),
        (cut_box(179.7, -17, 0.4, 0.2), "EPSG:32760"),
        (cut_box(10, 88, 20, 1), "EPSG:32661"),
        (cut_box(-60, -85, 5, 1), "EPSG:32761"),
        (cut_box(15, 48, 0.1, 0.1), "EPSG:32633"),
    ],
)
def test_zones(area: shapely.MultiPolygon, code: str) -> None:
    assert str(local_crs(area)) == code
