"""Polygons that a setting names: a file, or an address on the web."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import requests
from pyproj.exceptions import ProjError

from noise2map_core.catalog.access import grant_for, request
from noise2map_core.geo.vectors import read_table, vectors_digest
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.storage import local_path


@dataclass(frozen=True)
class Vectors:
    """The polygons of one file."""

    frame: gpd.GeoDataFrame
    digest: str
    """SHA-256 (hex) of the file; of a Shapefile, or with a layer named, a digest of all parts."""


def read_vectors(path: str, crs: str, setting: str, layer: str | None = None) -> Vectors:
    """All polygons of a file or URL, brought into `crs`; of a GeoPackage, those of `layer`.

    Raises ConfigError, naming the file and the `setting` that chose it, for what holds none.
    """
    try:
        path = local_path(path)
    except ValueError as error:
        raise ConfigError(f"file {error}. Set {setting}.") from None
    try:
        with _on_disk(path, setting) as local:
            frame = read_table(local, layer, web="://" in path).to_crs(crs)
            digest = vectors_digest(local, layer)
    except (OSError, ValueError, ProjError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(
            f"file {path} cannot be read as polygons: {reason}. Set {setting} to another."
        ) from error
    kinds = set(frame.geom_type.dropna()) - {"Polygon", "MultiPolygon"}
    if kinds:
        raise ConfigError(
            f"file {path} holds {', '.join(sorted(kinds))}: polygons are needed. Set {setting}."
        )
    return Vectors(frame[frame.geometry.notna()], digest)


@contextmanager
def _on_disk(path: str, setting: str) -> Iterator[Path]:
    """The file, or a copy of what the address gives. Raises ConfigError."""
    if "://" not in path:
        local = Path(path).expanduser()
        if not local.is_file():
            raise ConfigError(f"file {path} does not exist. Set {setting} to another.")
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="noise2map-") as folder:
        local = Path(folder) / "vectors"
        local.write_bytes(_fetched(path, setting))
        yield local


def _fetched(path: str, setting: str) -> bytes:
    try:
        answer = request("GET", grant_for(path))
        answer.raise_for_status()
        return answer.content
    except (OSError, requests.RequestException) as error:
        raise ConfigError(f"file {path} cannot be read: {error}. Set {setting}.") from error
