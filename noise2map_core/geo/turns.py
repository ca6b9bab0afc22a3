"""Longitudes of any turn: what is written beyond ±180, or crosses the antimeridian.

Files and footprints count longitudes from 0 to 360, go on beyond 180, or jump there; so do
eastings of projections that unroll the whole globe, such as Web Mercator.
"""

import math
import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

HALF_TURN = 180.0
"""In longitude."""
WHOLE_MAP = shapely.box(-HALF_TURN, -90.0, HALF_TURN, 90.0)

MAX_TURNS = 4
"""Of one footprint."""

EDGE_POINTS = 65
"""Points of each edge of a grid that are projected to find where it lies on another."""

NEAR_SEAM = 1 / 36
"""Windows this part of a turn from the seam of a CRS, or nearer, are looked at from the other side
of the globe."""

WEB_MERCATOR = "EPSG:3857"
OTHER_WEB_MERCATOR = (
    "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=180 +x_0=0 +y_0=0 +k=1 +units=m "
    "+nadgrids=@null +wktext +no_defs"
)

Floats = NDArray[np.float64]


def edge_in(geobox: GeoBox, crs: str) -> tuple[Floats, Floats]:
    """Points x, y along the edges of a grid, once round, in another CRS."""
    height, width = geobox.shape
    way = np.arange(EDGE_POINTS) / EDGE_POINTS
    start, stop = np.zeros(EDGE_POINTS), np.ones(EDGE_POINTS)
    col = width * np.concatenate([way, stop, 1 - way, start])
    row = height * np.concatenate([start, way, stop, 1 - way])
    to_world = geobox.affine
    x = to_world.a * col + to_world.b * row + to_world.c
    y = to_world.d * col + to_world.e * row + to_world.f
    if str(geobox.crs) != crs:
        assert geobox.crs is not None
        x, y = geobox.crs.transformer_to_crs(CRS(crs))(x, y)
    return x, y


@lru_cache(maxsize=256)
def has_place(crs: str) -> bool:
    """True if a CRS can be brought to longitude and latitude: not a local one, nor another
    planet's."""
    try:
        known = pyproj.CRS(crs)
        if not (known.is_geographic or known.is_projected):
            return False
        pyproj.Transformer.from_crs(known, "EPSG:4326", always_xy=True)
    except pyproj.exceptions.ProjError:
        return False
    return True


@lru_cache(maxsize=256)
def turn_of(crs: str) -> float | None:
    """What x grows by once round the globe; None where it is no measure of longitude alone."""
    known = pyproj.CRS(crs)
    if known.is_geographic:
        return 2 * HALF_TURN if known.axis_info[0].unit_name == "degree" else None
    if not known.is_projected or known.geodetic_crs is None:
        return None
    there = pyproj.Transformer.from_crs(known.geodetic_crs, known, always_xy=True)
    x, _ = there.transform([10.0, 11.0, 71.0, 10.0], [0.0, 0.0, 0.0, 40.0])
    step = x[1] - x[0]
    straight = math.isclose(x[2] - x[0], 61 * step, rel_tol=1e-9) and abs(x[3] - x[0]) < 1e-6
    return 2 * HALF_TURN * step if straight and step > 0 else None


@lru_cache(maxsize=256)
def from_behind(crs: str) -> str:
    """The same CRS, of a kind that has a turn, with x counted from the opposite meridian."""
    known = pyproj.CRS(crs)
    if known == pyproj.CRS(WEB_MERCATOR):
        return OTHER_WEB_MERCATOR
    text = known.to_wkt("WKT1_GDAL")
    text = re.sub(r',(AUTHORITY\["[^"]*","[^"]*"\]|EXTENSION\["[^"]*","[^"]*"\])', "", text)
    if known.is_geographic:
        return re.sub(r'PRIMEM\["[^"]*",([-+.\de]+)', _moved('PRIMEM["opposite"'), text)
    parameter = 'PARAMETER["central_meridian"'
    return re.sub(re.escape(parameter) + r",([-+.\de]+)", _moved(parameter), text)


def _moved(name: str) -> Callable[[re.Match[str]], str]:
    return lambda found: f"{name},{float(found[1]) + HALF_TURN}"


def moved(crs: str, transform: Affine, half_turns: int) -> tuple[str, Affine]:
    """A file's CRS and transform with x that many half turns on: the same place on the globe."""
    if not half_turns:
        return crs, transform
    turn = turn_of(crs)
    assert turn is not None
    along = Affine.translation(half_turns * turn / 2, 0.0) @ transform
    return (from_behind(crs) if half_turns % 2 else crs), along


def half_turns_to(file: GeoBox, window: GeoBox) -> tuple[int, ...]:
    """By how many half turns the x of a file are to be moved for it to meet a window; it may meet
    it twice, with both of its ends. (0,): as it is; none where it does not meet it.

    Near the seam of its CRS a window is looked at from the other side of the globe, where it is in
    one piece.
    """
    crs = str(file.crs)
    turn = turn_of(crs)
    if turn is None:
        return (0,)
    x, _ = edge_in(window, crs)
    odd = bool(np.isfinite(x).all()) and float(np.abs(x).max()) > turn * (0.5 - NEAR_SEAM)
    if odd:
        x, _ = edge_in(window, from_behind(crs))
    if not np.isfinite(x).all():
        return (0,)
    low, high = float(x.min()), float(x.max())
    west, east = _span(file)
    first, last = (low - east) / (turn / 2), (high - west) / (turn / 2)
    return tuple(n for n in range(math.ceil(first), math.floor(last) + 1) if n % 2 == odd)


def _span(geobox: GeoBox) -> tuple[float, float]:
    """Least and most x of a grid in its own CRS."""
    x, _ = edge_in(geobox, str(geobox.crs))
    return float(x.min()), float(x.max())


def centre_of_grid(geobox: GeoBox) -> tuple[float, float]:
    """Longitude, in [-180, 180), and latitude of the middle of a grid."""
    assert geobox.crs is not None
    height, width = geobox.shape
    x, y = geobox.affine @ (width / 2, height / 2)
    longitude, latitude = geobox.crs.transformer_to_crs(CRS("EPSG:4326"))(x, y)
    return within_turn(float(longitude)), float(latitude)


def within_turn(longitude: float) -> float:
    """The same longitude in [-180, 180)."""
    return (longitude + HALF_TURN) % (2 * HALF_TURN) - HALF_TURN


def outline_of(geobox: GeoBox) -> BaseGeometry:
    """Where a grid lies, in EPSG:4326, cut at the antimeridian; the whole map if that is unknown.

    A grid around a pole is all that lies as far north, or south, as its edges.
    """
    x, y = edge_in(geobox, "EPSG:4326")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return WHOLE_MAP
    x = np.unwrap(np.append(x, x[0]), period=2 * HALF_TURN)
    if abs(x[-1] - x[0]) > HALF_TURN:
        south, north = (-90.0, y.max()) if y.mean() < 0 else (y.min(), 90.0)
        return shapely.box(-HALF_TURN, south, HALF_TURN, north)
    return wrapped(shapely.Polygon(np.stack([x[:-1], y], axis=1)))


def wrapped(geometry: BaseGeometry) -> BaseGeometry:
    """A place in longitude and latitude within ±180, cut there, however its longitudes are written.

    A ring that jumps by more than half a turn may be meant to cross the antimeridian or to go round
    the rest of the world: it is taken for both.
    """
    west, _, east, _ = geometry.bounds
    if west >= -HALF_TURN and east <= HALF_TURN and east - west <= HALF_TURN:
        return geometry
    parts = [reading for part in shapely.get_parts(geometry) for reading in _readings(part)]
    return shapely.union_all([piece for part in parts for piece in _within(part)])


def _readings(part: BaseGeometry) -> list[BaseGeometry]:
    west, _, east, _ = part.bounds
    if east - west <= HALF_TURN or not isinstance(part, shapely.Polygon):
        return [part]
    ring = shapely.get_coordinates(part.exterior)
    x = np.unwrap(ring[:, 0], period=2 * HALF_TURN)
    if np.array_equal(x, ring[:, 0]) or abs(x[-1] - x[0]) > HALF_TURN:
        return [part]
    return [part, shapely.Polygon(np.stack([x, ring[:, 1]], axis=1))]


def _within(part: BaseGeometry) -> list[BaseGeometry]:
    """The pieces of a geometry of each turn, brought within ±180."""
    whole = part if part.is_valid else shapely.make_valid(part)
    west, _, east, _ = whole.bounds
    first = math.floor((west + HALF_TURN) / (2 * HALF_TURN))
    last = min(math.ceil((east + HALF_TURN) / (2 * HALF_TURN)), first + MAX_TURNS)
    turned = [shifted(whole, -2 * HALF_TURN * n) for n in range(first, max(last, first + 1))]
    return [piece for one in turned if not (piece := one & WHOLE_MAP).is_empty]


def shifted(geometry: BaseGeometry, degrees: float) -> BaseGeometry:
    """A geometry so many degrees further east."""
    return shapely.transform(geometry, lambda xy: xy + np.array([degrees, 0.0]))
