"""Files of areas, read as they are: polygons, and the CRS that they are in."""

from pathlib import Path
from typing import Any

from pyproj import CRS
from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from noise2map_core.geo.geojson import crs_of_geojson, finite_shape
from noise2map_core.runtime.documents import parse_json, read_text, require_file
from noise2map_core.runtime.errors import ConfigError, explained

WAY_OUT = "Set --aoi to a file of polygons, or to a box: west,south,east,north."
LON_LAT = CRS("EPSG:4326")
NO_GEOMETRY = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, ShapelyError)
"""What documents that are no GeoJSON lead to."""


def read_parts(path: Path) -> tuple[list[BaseGeometry], CRS]:
    """The geometries of a file and their CRS; nothing is said yet of whether they are polygons.

    Raises ConfigError for a file that is not there or cannot be read, or a CRS that is not known.
    """
    return _geojson_parts(path) if _is_json(path) else _table_parts(path)


def _is_json(path: Path) -> bool:
    """True for what is called GeoJSON or begins like it: it is read without geopandas."""
    try:
        require_file(path)
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        raise ConfigError(f"area {path} does not exist. {WAY_OUT}") from None
    except OSError as error:
        raise ConfigError(f"area {path} cannot be read: {explained(error)}") from error
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return path.suffix.lower() in (".geojson", ".json") or begins in (b"{", b"[")


def _geojson_parts(path: Path) -> tuple[list[BaseGeometry], CRS]:
    document = _load_json(path)
    crs = _stated_crs(document, path)
    try:
        return [finite_shape(part) for part in _geometries(document)], crs
    except NO_GEOMETRY as error:
        raise _not_geojson(path, error) from error


def _not_geojson(path: Path, error: Exception) -> ConfigError:
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
    return ConfigError(f"area {path} is not valid GeoJSON: {reason}. Check its geometry.")


def _load_json(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(read_text(path), allow_nan=True)
    except OSError as error:
        raise ConfigError(f"area {path} cannot be read: {explained(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"area {path} is not GeoJSON: {error}. {WAY_OUT}") from error
    if not isinstance(document, dict) or "type" not in document:
        raise ConfigError(f"area {path} is not GeoJSON: it has no 'type'. {WAY_OUT}")
    return document


def _geometries(document: dict[str, Any]) -> list[dict[str, Any]]:
    if document["type"] == "FeatureCollection":
        found = [feature["geometry"] for feature in document["features"]]
    elif document["type"] == "Feature":
        found = [document["geometry"]]
    else:
        found = [document]
    return [geometry for geometry in found if geometry]


def _stated_crs(document: dict[str, Any], path: Path) -> CRS:
    """The `crs` member is older than the standard, but many programs still write it."""
    try:
        return LON_LAT if document.get("crs") is None else crs_of_geojson(document)
    except (AttributeError, KeyError, TypeError, ProjError) as error:
        raise unknown_crs(path, f"{str(document['crs'])[:80]}") from error


def unknown_crs(path: Path, stated: str) -> ConfigError:
    """What to say of an area whose place on Earth is not told."""
    return ConfigError(
        f"area {path} is in a CRS that is not known: {' '.join(stated.split()).rstrip('.')}. State "
        "it as EPSG:…, or bring the area to EPSG:4326."
    )


def _table_parts(path: Path) -> tuple[list[BaseGeometry], CRS]:
    # Here and not above: geopandas takes a second, which areas in GeoJSON and boxes spare.
    from noise2map_core.geo.geopackage import SeveralLayersError
    from noise2map_core.geo.vectors import read_table

    try:
        frame = read_table(path)
    except SeveralLayersError as error:
        raise ConfigError(
            f"area {path} has several layers: {error.names}. Save the one in a file of its own."
        ) from error
    except (OSError, ValueError, ProjError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(f"area {path} cannot be read: {reason}. {WAY_OUT}") from error
    if frame.crs is None:
        raise unknown_crs(path, "it states none")
    return [part for part in frame.geometry if part is not None], frame.crs
