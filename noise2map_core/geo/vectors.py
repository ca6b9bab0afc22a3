"""Files of polygons: GeoJSON, GeoParquet, GeoPackage, FlatGeobuf and Shapefile.

The format is known by how a file begins, and each is read by what can read no other: GDAL, left to
choose, opens further files and addresses that some formats name (VRT, GDALG, virtual tables of
SQLite, a GeoJSON's link to its CRS).
"""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError

from noise2map_core.geo import geopackage
from noise2map_core.geo.arrow import pickled_columns
from noise2map_core.geo.crs import crs_of
from noise2map_core.geo.geojson import crs_of_geojson, finite_shape
from noise2map_core.geo.geopackage import read_geopackage
from noise2map_core.geo.wkb import require_shallow
from noise2map_core.runtime.digest import digest_of, file_sha256

FORMATS = "GeoJSON, GeoParquet, GeoPackage, FlatGeobuf or Shapefile"
WEB_FORMATS = "GeoJSON, GeoParquet, GeoPackage or FlatGeobuf"
PARQUET, FLATGEOBUF = b"PAR1", b"fgb\x03fgb"
SHAPEFILE = b"\x00\x00\x27\x0a"
"""Its code 9994 (ESRI Shapefile Technical Description, 1998)."""
SHAPEFILE_PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg")
"""What a Shapefile's polygons depend on; the others are indexes."""
HEAD_BYTES = 4096
READ_LIMIT_S = 600.0


def read_table(path: Path, layer: str | None = None, *, web: bool = False) -> gpd.GeoDataFrame:
    """What a file holds, in its own CRS; `web`: it is a copy of one from the web.

    Raises ValueError for what cannot be read, OSError for a file that is not there.
    """
    try:
        return _read(path, layer, web=web)
    except KeyError as error:
        raise ValueError(f"it lacks {error}") from error
    except (
        TypeError, AttributeError, RecursionError, ProjError, ShapelyError, sqlite3.Error,
        pa.ArrowException, subprocess.SubprocessError,
    ) as error:  # fmt: skip
        raise ValueError(str(error)) from error


def _read(path: Path, layer: str | None, *, web: bool) -> gpd.GeoDataFrame:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(geopackage.MAGIC):
        return read_geopackage(path, layer, private=web)
    if layer is not None:
        raise ValueError(f"only a GeoPackage has layers, and layer {layer!r} was asked for")
    if head.startswith(PARQUET):
        return _read_geoparquet(path)
    if head.startswith(FLATGEOBUF):
        return _read_by("FlatGeobuf", path)
    if head.startswith(SHAPEFILE) and path.suffix.lower() == ".shp" and not web:
        return _read_by("ESRI Shapefile", path)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
        return _read_geojson(json.loads(path.read_text(encoding="utf-8-sig")))
    formats, where = (WEB_FORMATS, "from the web, ") if web else (FORMATS, "")
    raise ValueError(f"it is not {formats}; {where}only these are read")


def _read_geojson(document: dict[str, Any]) -> gpd.GeoDataFrame:
    """RFC 7946, and the `crs` of the draft before it where that is a name."""
    kind = document.get("type")
    if kind not in ("FeatureCollection", "Feature"):
        raise ValueError(f"it is JSON of type {str(kind)[:40]!r}, not GeoJSON features")
    features = document["features"] if kind == "FeatureCollection" else [document]
    rows = [feature.get("properties") or {} for feature in features]
    names = dict.fromkeys(name for row in rows for name in row)
    if "geometry" in names:
        raise ValueError("a property is called geometry")
    found = [feature.get("geometry") for feature in features]
    shapes = [finite_shape(geometry) if geometry else None for geometry in found]
    columns = {name: [row.get(name) for row in rows] for name in names}
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=crs_of_geojson(document))


def _read_geoparquet(path: Path) -> gpd.GeoDataFrame:
    schema = pq.read_schema(path)
    if pickled := pickled_columns(schema):
        raise ValueError(f"column {pickled[0]} holds Python objects, which would run code")
    columns = json.loads((schema.metadata or {}).get(b"geo", b"{}")).get("columns", {})
    for name, column in columns.items():
        if column.get("crs") is not None:
            crs_of(column["crs"])
        if column.get("encoding") == "WKB":
            require_shallow(pq.read_table(path, columns=[name])[name].to_numpy())
    return gpd.read_parquet(path)


def _read_by(driver: str, path: Path) -> gpd.GeoDataFrame:
    """By one driver of GDAL, in a process in which it has no other."""
    others = [name for name in pyogrio.list_drivers() if name != driver]
    program = Path(__file__).with_name("one_driver.py")
    done = subprocess.run(
        [sys.executable, "-P", str(program), driver, str(path.resolve())],
        env=os.environ | {"OGR_SKIP": ",".join(others)},
        capture_output=True,
        timeout=READ_LIMIT_S,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"]
        raise ValueError(said[-1])
    table = pa.ipc.open_stream(done.stdout).read_all()
    about = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    written = table[about["geometry"]].to_numpy(zero_copy_only=False)
    require_shallow(written)
    shapes = shapely.from_wkb(written)
    columns = table.drop_columns([about["geometry"]]).to_pandas()
    crs = crs_of(about["crs"]) if about["crs"] else None
    return gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs)


def vectors_digest(path: Path, layer: str | None = None) -> str:
    """SHA-256 (hex) of a file; of several parts, or with a layer, a digest of all of these."""
    with path.open("rb") as file:
        head = file.read(len(geopackage.MAGIC))
    parts = [path]
    if head.startswith(SHAPEFILE):
        parts = [one for one in sorted(path.parent.iterdir()) if _is_part(one, path)]
    elif head == geopackage.MAGIC and (log := path.with_name(f"{path.name}-wal")).is_file():
        parts = [path, log]
    digests = [file_sha256(part) for part in parts]
    return digests[0] if len(digests) == 1 and layer is None else digest_of([*digests, layer])


def _is_part(path: Path, shapefile: Path) -> bool:
    return path.stem == shapefile.stem and path.suffix.lower() in SHAPEFILE_PARTS
