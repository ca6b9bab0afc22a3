"""Areas of interest: named polygons in EPSG:4326, read from GeoJSON."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from noise2map_core.runtime.documents import parse_json, read_text
from noise2map_core.runtime.errors import ConfigError, explained
from noise2map_core.runtime.storage import local_path

MAX_CORNERS = 100_000
"""Of an area: more would take minutes to project, for outlines finer than any pixel."""

WAY_OUT = "Set --aoi to a GeoJSON file."


@dataclass(frozen=True, slots=True)
class AreaOfInterest:
    """A named polygon or multipolygon, longitude and latitude in EPSG:4326."""

    name: str
    geometry: BaseGeometry


def read_aoi(path: Path | str) -> AreaOfInterest:
    """The area in a GeoJSON file: a geometry, a Feature, or the union of a FeatureCollection.

    Raises ConfigError if the file is missing, not GeoJSON, in a CRS other than EPSG:4326, empty,
    crosses itself, or is not made of polygons.
    """
    path = _local(path)
    document = _load_json(path)
    _require_lon_lat(document, path)
    try:
        geometry = shapely.union_all([finite_shape(part) for part in _geometries(document, path)])
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        ShapelyError,
    ) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise ConfigError(
            f"area {path} is not valid GeoJSON: {reason}. Check its geometry."
        ) from error
    return AreaOfInterest(path.stem, _checked(shapely.force_2d(geometry), path))


def _local(path: Path | str) -> Path:
    try:
        return Path(local_path(str(path)))
    except ValueError as error:
        raise ConfigError(f"area {error}. {WAY_OUT}") from None


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


def _load_json(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(read_text(path), allow_nan=True)
    except FileNotFoundError:
        raise ConfigError(f"area {path} does not exist. {WAY_OUT}") from None
    except OSError as error:
        raise ConfigError(f"area {path} cannot be read: {explained(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"area {path} is not GeoJSON: {error}. {WAY_OUT}") from error
    if not isinstance(document, dict) or "type" not in document:
        raise ConfigError(f"area {path} is not GeoJSON: it has no 'type'. {WAY_OUT}")
    return document


def _geometries(document: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    if document["type"] == "FeatureCollection":
        found = [feature["geometry"] for feature in document["features"]]
    elif document["type"] == "Feature":
        found = [document["geometry"]]
    else:
        found = [document]
    found = [geometry for geometry in found if geometry]
    corners = 0
    for geometry in found:
        if geometry["type"] not in ("Polygon", "MultiPolygon"):
            raise ConfigError(
                f"area {path} holds a {geometry['type']}; only polygons have an area to map."
            )
        part = finite_shape(geometry)
        corners += shapely.get_num_coordinates(part)
        if corners > MAX_CORNERS:
            raise ConfigError(
                f"area {path} has more than {MAX_CORNERS:,} corners. Simplify it, for instance to "
                "half a pixel in a GIS."
            )
        if not part.is_valid:
            raise ConfigError(
                f"area {path} is not a valid polygon: {shapely.is_valid_reason(part)}. "
                "Repair it, for instance by a buffer of 0 in a GIS."
            )
    return found


def _require_lon_lat(document: dict[str, Any], path: Path) -> None:
    """The `crs` member is older than the standard, but many programs still write it."""
    stated = json.dumps(document.get("crs"))
    if stated != "null" and not re.search(r"\bCRS84\b|\b4326\b", stated):
        raise ConfigError(
            f"area {path} is in {stated}; GeoJSON areas must be in EPSG:4326. Reproject it."
        )


def _checked(geometry: BaseGeometry, path: Path) -> BaseGeometry:
    if geometry.is_empty or geometry.area == 0:
        raise ConfigError(f"area {path} is empty. Draw a polygon with an area.")
    west, south, east, north = geometry.bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise ConfigError(
            f"area {path} reaches ({west:g}, {south:g}, {east:g}, {north:g}), outside longitude "
            "and latitude: it is not in EPSG:4326, or crosses the antimeridian. Reproject it, or "
            "cut it in two at longitude 180 (RFC 7946, 3.1.9)."
        )
    _require_one_side(geometry, path)
    return geometry


def _require_one_side(geometry: BaseGeometry, path: Path) -> None:
    """A ring that jumps over the antimeridian would be read as one round the rest of the world."""
    for part in shapely.get_parts(geometry):
        west, _, east, _ = part.bounds
        if east - west > 180:
            raise ConfigError(
                f"area {path} has a polygon from longitude {west:g} to {east:g}, more than half of "
                "the world. If it crosses the antimeridian, cut it there in two (RFC 7946, 3.1.9)."
            )
