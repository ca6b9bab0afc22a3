"""Sizes on the ground: how long a pixel is there, whatever the projection makes of a metre."""

import math

import numpy as np
import pyproj
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from noise2map_core.geo.turns import centre_of_grid

TRUE_TO_SCALE = 0.01
"""Relative difference of sizes under which nothing that looks at pixels can tell them apart."""

WGS84 = pyproj.Geod(ellps="WGS84")


def pixel_sides(transform: Affine) -> tuple[float, float]:
    """Lengths of a pixel's sides, along a row and along a column, in units of the CRS; the grid may
    be rotated."""
    return math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)


def ground_side(crs: str, transform: Affine, longitude: float, latitude: float) -> float:
    """Side, in metres on the ground, of a square as large as a pixel at a place.

    `transform` says how large, and how turned, a pixel is in its CRS; where its grid begins does
    not matter. NaN where the CRS does not reach the place.
    """
    to_crs = CRS("EPSG:4326").transformer_to_crs(CRS(crs))
    x, y = to_crs(np.array([longitude]), np.array([latitude]))
    corners = np.array([(0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)])
    east = x + corners @ [transform.a, transform.b]
    south = y + corners @ [transform.d, transform.e]
    to_lon_lat = CRS(crs).transformer_to_crs(CRS("EPSG:4326"))
    lon, lat = to_lon_lat(east, south)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return math.nan
    along = WGS84.inv(lon, lat, np.roll(lon, -1), np.roll(lat, -1))[2]
    across = WGS84.inv(lon[:2], lat[:2], lon[2:], lat[2:])[2]
    return math.sqrt(_area(*along, *across))


def _area(a: float, b: float, c: float, d: float, p: float, q: float) -> float:
    """Of a small quadrilateral with sides a to d and diagonals p, q (Bretschneider):
    4 K = sqrt(4 p² q² - (b² + d² - a² - c²)²)."""
    return 0.25 * math.sqrt(max(4 * p * p * q * q - (b * b + d * d - a * a - c * c) ** 2, 0.0))


def metres_per_unit(geobox: GeoBox) -> float:
    """Metres on the ground that a unit of a grid's CRS stands for, in the middle of the grid."""
    return ground_side(str(geobox.crs), Affine.identity(), *centre_of_grid(geobox))


def true_side(stated: float, on_ground: float) -> float:
    """A side as its CRS has it, unless that is off the ground's metres by more than all projections
    for their own place are: UTM by 0.1 %."""
    return stated if math.isclose(stated, on_ground, rel_tol=TRUE_TO_SCALE) else on_ground
