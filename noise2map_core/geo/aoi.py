"""Areas of interest: named polygons in EPSG:4326, from a file of polygons or the text of a box."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
import shapely
from pyproj import CRS
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry

from noise2map_core.geo.area_file import LON_LAT, WAY_OUT, read_parts, unknown_crs
from noise2map_core.geo.turns import HALF_TURN, Floats, wrapped
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.storage import local_path

MAX_CORNERS = 100_000
"""Of an area: more would take minutes to project, for outlines finer than any pixel."""

BOX_FORM = "Write a box as west,south,east,north in degrees."
_BOX = re.compile(r"[-+.\deE\s]+(?:,[-+.\deE\s]*)+")

SAME_AS_LON_LAT = (("EPSG", "4326"), ("OGC", "CRS84"))

EDGE_PARTS = 32
"""Parts of an area's edge that are straight in any CRS: off by decimetres for 100 km."""


@dataclass(frozen=True, slots=True)
class AreaOfInterest:
    """A named polygon or multipolygon, longitude and latitude in EPSG:4326."""

    name: str
    geometry: BaseGeometry


def read_aoi(path: Path | str) -> AreaOfInterest:
    """The union of a file's polygons, or a box: "west,south,east,north" in degrees.

    Files are GeoJSON (features or a geometry), GeoParquet, GeoPackage, FlatGeobuf or Shapefile, in
    any CRS that they state. A box whose west is greater than its east crosses the antimeridian.
    Raises ConfigError for what is missing, of none of these, empty, or not made of valid polygons.
    """
    if is_box(path):
        return _box(str(path))
    path = _local(path)
    parts, crs = read_parts(path)
    geometry = _in_degrees(_union(parts, path), crs, path)
    return AreaOfInterest(path.stem, _checked(geometry, path))


def is_box(text: Path | str) -> bool:
    """True if an area is not a file but numbers with commas between them."""
    return _BOX.fullmatch(str(text)) is not None


def absolute_aoi(path: Path) -> str:
    """An area as a setting that means the same in any folder."""
    return str(path) if is_box(path) else str(path.resolve())


def _box(text: str) -> AreaOfInterest:
    try:
        west, south, east, north = (float(number) for number in text.split(","))
    except ValueError:
        raise ConfigError(f"area {text} is not four numbers. {BOX_FORM}") from None
    if wrong := _wrong_with(west, south, east, north):
        raise ConfigError(f"area {text} {wrong}. {BOX_FORM}")
    spans = [(west, east)] if west < east else [(west, HALF_TURN), (-HALF_TURN, east)]
    boxes = [shapely.box(low, south, high, north) for low, high in spans if low < high]
    name = "_".join(part.strip() for part in ("box", *text.split(",")))
    return AreaOfInterest(name, shapely.union_all(boxes))


def _wrong_with(west: float, south: float, east: float, north: float) -> str | None:
    """Why four numbers are no box; None if they are one."""
    if not (max(abs(west), abs(east)) <= HALF_TURN and max(abs(south), abs(north)) <= 90):
        return "reaches outside longitude and latitude"
    if west == east or south == north:
        return "is empty"
    if south > north:
        return "has its south above its north"
    if east - west + (west > east) * 2 * HALF_TURN > HALF_TURN:
        return f"goes more than half round the world, from {west:g} eastwards to {east:g}"
    return None


def _local(path: Path | str) -> Path:
    try:
        return Path(local_path(str(path)))
    except ValueError as error:
        raise ConfigError(f"area {error}. {WAY_OUT}") from None


def _union(parts: list[BaseGeometry], path: Path) -> BaseGeometry:
    """All parts as one, without heights. Raises ConfigError for what is no valid polygon."""
    corners = 0
    for part in parts:
        if part.geom_type not in ("Polygon", "MultiPolygon"):
            raise ConfigError(
                f"area {path} holds a {part.geom_type}; only polygons have an area to map."
            )
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
    return shapely.force_2d(shapely.union_all(parts))


def _in_degrees(geometry: BaseGeometry, crs: CRS, path: Path) -> BaseGeometry:
    """A geometry in EPSG:4326; one that comes to cross the antimeridian is cut there."""
    if geometry.is_empty or crs.to_authority() in SAME_AS_LON_LAT or crs == LON_LAT:
        return geometry
    try:
        to_degrees = pyproj.Transformer.from_crs(crs, LON_LAT, always_xy=True)
    except ProjError as error:
        raise unknown_crs(path, f"{crs.name} has no place on Earth") from error
    west, south, east, north = geometry.bounds
    dense = shapely.segmentize(geometry, max(east - west, north - south) / EDGE_PARTS)
    moved = shapely.transform(dense, lambda xy: np.stack(to_degrees.transform(*xy.T), axis=1))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise ConfigError(
            f"area {path} lies where its CRS, {crs.name}, has no coordinates. Mend it."
        )
    return shapely.union_all([_cut(part, path) for part in shapely.get_parts(moved)])


def _cut(part: BaseGeometry, path: Path) -> BaseGeometry:
    """A polygon whose longitudes jump from one end of the map to the other, as its two pieces."""
    longitudes = shapely.get_coordinates(part.exterior)[:, 0]
    if not (np.abs(np.diff(longitudes)) > HALF_TURN).any():
        return part
    way = np.unwrap(longitudes, period=2 * HALF_TURN)
    if abs(way[-1] - way[0]) > HALF_TURN:
        raise ConfigError(f"area {path} goes round a pole. Cut it into parts that do not.")
    return wrapped(shapely.transform(part, _eastwards))


def _eastwards(xy: Floats) -> Floats:
    """Longitudes from 0 to 360."""
    return np.stack([xy[:, 0] % (2 * HALF_TURN), xy[:, 1]], axis=1)


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
