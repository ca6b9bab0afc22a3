"""GeoJSON: its geometries and its CRS. RFC 7946, and the draft before it."""

from typing import Any

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from noise2map_core.geo.crs import crs_by_name


def finite_shape(document: dict[str, Any]) -> BaseGeometry:
    """A GeoJSON geometry. Raises ValueError if a coordinate is no number or a polygon has no ring,
    and what shapely raises for what is no geometry."""
    try:
        with np.errstate(invalid="ignore"):
            found = shape(document)
    except IndexError:
        raise ValueError("a polygon has no ring") from None
    if not np.isfinite(shapely.get_coordinates(found)).all():
        raise ValueError("a coordinate is not a finite number")
    return found


def crs_of_geojson(document: dict[str, Any]) -> CRS:
    """EPSG:4326 as RFC 7946 has it, or the `crs` of the draft before it where that is a name.

    Raises CRSError for what is none; KeyError, TypeError or AttributeError for other shapes.
    """
    if "crs" not in document:
        return crs_by_name("EPSG:4326")
    stated = document["crs"] or {}
    if stated.get("type") != "name":
        raise CRSError("its crs is not a name, and a link is not followed")
    return crs_by_name(str(stated["properties"]["name"]))
