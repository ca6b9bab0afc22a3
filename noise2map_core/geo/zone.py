"""Where on the globe an area lies, the antimeridian and the poles included."""

import shapely
from odc.geo.crs import CRS
from shapely.geometry.base import BaseGeometry

from noise2map_core.geo.turns import HALF_TURN, shifted, within_turn

NORTHERNMOST, SOUTHERNMOST = 84.0, -80.0
"""Degrees of latitude between which UTM is defined; beyond them lies UPS."""

UPS_NORTH, UPS_SOUTH = "EPSG:32661", "EPSG:32761"


def centre_of(geometry: BaseGeometry) -> tuple[float, float]:
    """Longitude and latitude of the middle of an area, also if it is cut at the antimeridian."""
    middle = _unwrapped(geometry).centroid
    return within_turn(middle.x), middle.y


def bbox_of(geometry: BaseGeometry) -> tuple[float, float, float, float]:
    """West, south, east, north; west is more than east where it crosses the antimeridian (RFC 7946,
    5.2)."""
    west, south, east, north = _unwrapped(geometry).bounds
    return west, south, east - 2 * HALF_TURN if east > HALF_TURN else east, north


def local_crs(geometry: BaseGeometry) -> CRS:
    """The UTM zone of an area's middle; polar stereographic (UPS) where there is none."""
    longitude, latitude = centre_of(geometry)
    if latitude > NORTHERNMOST:
        return CRS(UPS_NORTH)
    if latitude < SOUTHERNMOST:
        return CRS(UPS_SOUTH)
    return CRS.utm(longitude, latitude)


def _unwrapped(geometry: BaseGeometry) -> BaseGeometry:
    """The same place with the west of the antimeridian at longitudes over 180, if it is cut there.

    An area that touches both ends of the map and is wider than half of it comes from both sides.
    """
    west, _, east, _ = geometry.bounds
    if east - west <= HALF_TURN:
        return geometry
    parts = [
        shifted(part, 2 * HALF_TURN) if part.bounds[2] <= 0 else part
        for part in shapely.get_parts(geometry)
    ]
    moved = shapely.union_all(parts)
    return moved if moved.bounds[2] - moved.bounds[0] < east - west else geometry
