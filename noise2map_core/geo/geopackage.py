"""Layers of a GeoPackage, read as the SQLite tables that they are.

GDAL would also load what a table's SQL names, other files and addresses among it (VirtualOGR,
VirtualText, functions in views). SQLite alone has no such modules, and here plain tables only are
read. Format: OGC 12-128r19, GeoPackage Encoding Standard 1.4.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import geopandas as gpd
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from noise2map_core.geo.crs import crs_of
from noise2map_core.geo.wkb import require_shallow

MAGIC = b"SQLite format 3\0"
MAX_VALUE_BYTES = 1 << 30
MAX_SWELLING = 10
"""A layer's texts and geometries are at most so many times as long as the file: a default is stored
once and read in every row."""
COMPUTED = (2, 3)
"""Columns that are expressions, which may take any time and memory: SQLite's numbers for them."""
UNDEFINED = (-1, 0)
"""Numbers of a CRS that is not known."""
_ENVELOPE_BYTES = (0, 32, 48, 48, 64)
"""By the code in the flags: none, xy, xyz, xym, xyzm (2.1.3.1)."""
_EXTENDED = 0b10_0000
"""Flag of a geometry that is not of the standard."""


class SeveralLayersError(ValueError):
    """Raised for a GeoPackage with several layers of which none was named."""

    def __init__(self, names: str) -> None:
        super().__init__(f"it has several layers: {names}. Labels name one by labels.layer")
        self.names = names


def read_geopackage(path: Path, layer: str | None, *, private: bool) -> gpd.GeoDataFrame:
    """A layer of a GeoPackage: geometries and columns, without the key.

    Without `layer` there must be one only. `private`: nobody else writes the file. Raises
    ValueError, CRSError or sqlite3.Error for what cannot be read.
    """
    with _opened(path, private) as database:
        name, column, srs = _layer(database, layer)
        crs = _crs(database, srs)
        return _table(database, name, column, crs, MAX_SWELLING * path.stat().st_size)


@contextmanager
def _opened(path: Path, private: bool) -> Iterator[sqlite3.Connection]:
    mode = "mode=ro&immutable=1" if private else "mode=ro"
    address = f"file:{quote(str(path.resolve()))}?{mode}"
    with closing(sqlite3.connect(address, uri=True)) as database:
        longest = min(MAX_SWELLING * path.stat().st_size, MAX_VALUE_BYTES)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
        database.execute("PRAGMA trusted_schema = OFF")
        yield database


def _layer(database: sqlite3.Connection, wanted: str | None) -> tuple[str, str, int]:
    """Table, column of the geometries and number of the CRS of a layer."""
    for name in ("gpkg_contents", "gpkg_geometry_columns", "gpkg_spatial_ref_sys"):
        _require_table(database, name)
    layers = database.execute(
        "SELECT c.table_name, g.column_name, g.srs_id FROM gpkg_contents c JOIN "
        "gpkg_geometry_columns g ON lower(c.table_name) = lower(g.table_name) "
        "WHERE c.data_type = 'features' ORDER BY c.table_name"
    ).fetchall()
    names = ", ".join(name for name, _, _ in layers) or "none"
    chosen = [one for one in layers if wanted in (None, one[0])]
    if not chosen:
        asked = "layer with geometries" if wanted is None else f"layer {wanted!r} with geometries"
        raise ValueError(f"it has no {asked}; its layers are: {names}")
    if len(chosen) > 1:
        raise SeveralLayersError(names)
    _require_table(database, chosen[0][0])
    return chosen[0]


def _require_table(database: sqlite3.Connection, name: str) -> None:
    found = database.execute(
        "SELECT type, sql FROM sqlite_master WHERE lower(name) = lower(?)", (name,)
    ).fetchall()
    if not found:
        raise ValueError(f"it is not a GeoPackage: it has no table {name}")
    kind, sql = found[0]
    if len(found) > 1 or kind != "table" or "VIRTUAL" in str(sql).upper().split("(")[0].split():
        raise ValueError(f"its {name} is not a plain table, and is not read")


def _crs(database: sqlite3.Connection, number: int) -> CRS | None:
    """None where it is said to be undefined (1.1.2.1.2), or is of no place on Earth."""
    if number in UNDEFINED:
        return None
    rows = database.execute(
        "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys "
        "WHERE srs_id = ?", (number,),
    ).fetchall()  # fmt: skip
    if not rows:
        raise CRSError(f"it does not say what its CRS {number} is")
    organization, code, definition = rows[0]
    crs = crs_of(f"{organization}:{code}" if organization.upper() == "EPSG" else definition)
    return None if crs.is_engineering else crs


def _table(
    database: sqlite3.Connection, name: str, geometry: str, crs: CRS | None, max_bytes: int
) -> gpd.GeoDataFrame:
    quoted = name.replace('"', '""')
    about = database.execute(f'PRAGMA table_xinfo("{quoted}")').fetchall()
    if computed := [column[1] for column in about if column[6] in COMPUTED]:
        raise ValueError(f"its column {computed[0]} is computed, and is not read. Store its values")
    cursor = database.execute(f'SELECT * FROM "{quoted}"')
    names, rows = [column[0] for column in cursor.description], _bounded(cursor, max_bytes)
    keys = {column[1] for column in about if column[5]}
    logical = {column[1] for column in about if str(column[2]).upper() == "BOOLEAN"}
    columns: dict[str, list[Any]] = {
        column: [_value(row[place], column in logical) for row in rows]
        for place, column in enumerate(names)
        if column not in keys and column != geometry
    }
    if geometry not in names:
        raise ValueError(f"layer {name} has no column {geometry}")
    shapes = [_shape(row[names.index(geometry)]) for row in rows]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=crs)


def _bounded(rows: Iterable[tuple[Any, ...]], max_bytes: int) -> list[tuple[Any, ...]]:
    """All rows. Raises ValueError as soon as what they hold is longer."""
    found: list[tuple[Any, ...]] = []
    length = 0
    for row in rows:
        length += sum(len(value) for value in row if isinstance(value, str | bytes))
        if length > max_bytes:
            raise ValueError(f"its rows hold more than {MAX_SWELLING} times what is in the file")
        found.append(row)
    return found


def _value(value: Any, logical: bool) -> Any:
    return bool(value) if logical and value is not None else value


def _shape(blob: bytes | None) -> BaseGeometry | None:
    """A geometry of its header and well-known binary (2.1.3)."""
    if blob is None:
        return None
    if not isinstance(blob, bytes) or blob[:2] != b"GP" or len(blob) < 8:
        raise ValueError("a geometry is not as GeoPackages have it")
    flags = blob[3]
    envelope = (flags >> 1) & 0b111
    if flags & _EXTENDED or envelope >= len(_ENVELOPE_BYTES):
        raise ValueError("a geometry is of no standard kind")
    body = blob[8 + _ENVELOPE_BYTES[envelope] :]
    require_shallow([body])
    found: BaseGeometry = shapely.from_wkb(body)
    return found
