"""Files of polygons: GeoJSON, GeoParquet and what else GDAL reads."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import requests
from pyproj.exceptions import CRSError

from noise2map_core.catalog.access import grant_for, request
from noise2map_core.catalog.geoparquet import pickled_columns
from noise2map_core.errors import ConfigError
from noise2map_core.storage import local_path

PLAIN_FORMATS = (b"PAR1", b"SQLite format 3\0", b"fgb")
"""How GeoParquet, GeoPackage and FlatGeobuf begin."""

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True)
class Vectors:
    """The polygons of one file."""

    frame: "gpd.GeoDataFrame"
    digest: str
    """SHA-256 (hex) of the file."""


def read_vectors(path: str, crs: str, setting: str) -> Vectors:
    """All polygons of a file or URL, brought into `crs`.

    Raises ConfigError, naming the file and the `setting` that chose it, for what holds none.
    """
    import geopandas as gpd  # slow to import, and workers do without

    try:
        path = local_path(path)
    except ValueError as error:
        raise ConfigError(f"file {error}. Set {setting}.") from None
    body = _fetched(path, setting)
    if "://" in path:
        _require_plain(path, body, setting)
    source = io.BytesIO(body) if "://" in path else Path(path).expanduser()
    parquet = path.endswith((".parquet", ".geoparquet"))
    reader = gpd.read_parquet if parquet else gpd.read_file
    try:
        if parquet and (pickled := pickled_columns(pq.read_schema(io.BytesIO(body)))):
            raise ValueError(f"column {pickled[0]} holds Python objects, which would run code")
        frame: gpd.GeoDataFrame = reader(source).to_crs(crs)
    except (OSError, ValueError, RuntimeError, CRSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"file {path} cannot be read as polygons: {reason}. Set {setting} to another."
        ) from error
    kinds = set(frame.geom_type.dropna()) - {"Polygon", "MultiPolygon"}
    if kinds:
        raise ConfigError(
            f"file {path} holds {', '.join(sorted(kinds))}: polygons are needed. Set {setting}."
        )
    return Vectors(frame[frame.geometry.notna()], hashlib.sha256(body).hexdigest())


def _require_plain(path: str, body: bytes, setting: str) -> None:
    """Raises ConfigError for a file of the web that could make GDAL open others.

    VRT, GML and their like name further files, local ones too; so may what is inside a zip.
    """
    if body.lstrip()[:1] != b"{" and not body.startswith(PLAIN_FORMATS):
        raise ConfigError(
            f"file {path} is not GeoJSON, GeoParquet, GeoPackage or FlatGeobuf; from the web, only "
            f"these are read. Set {setting} to a copy on disk."
        )


def _fetched(path: str, setting: str) -> bytes:
    try:
        if "://" not in path:
            return Path(path).expanduser().read_bytes()
        answer = request("GET", grant_for(path))
        answer.raise_for_status()
        return answer.content
    except FileNotFoundError:
        raise ConfigError(f"file {path} does not exist. Set {setting} to another.") from None
    except (OSError, requests.RequestException) as error:
        raise ConfigError(f"file {path} cannot be read: {error}. Set {setting}.") from error
