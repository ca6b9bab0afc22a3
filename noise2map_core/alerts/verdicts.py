"""What people say of alerts: `verdicts.parquet`, one row an object that somebody has judged.

`alerts.settle.settle` takes verdicts into the tables at once; else the next night does.
"""

from pathlib import Path

import geopandas as gpd
import pyarrow as pa

from noise2map_core.alerts.tables import Types, read_shapes, write_shapes

VERDICTS = "verdicts.parquet"
"""Name of the table in the folder `alerts` of an area."""
CHOICES = ("confirmed", "rejected", "unsure")

VERDICT_TYPES: Types = {
    "object_id": pa.string(),
    "verdict": pa.string(),
    "reason": pa.string(),
    "reviewer": pa.string(),
    "decided_on": pa.date32(),
}
"""Columns in order; `geometry`, the object as it was when it was judged, is the last. `reason` is
why an object was rejected, else empty."""
VERDICT_COLUMNS = [*VERDICT_TYPES, "geometry"]


def read_verdicts(path: Path) -> gpd.GeoDataFrame:
    """The verdicts of an area by object_id; empty where nobody has judged. Raises OutputError."""
    if not path.exists():
        none: dict[str, list[object]] = {name: [] for name in VERDICT_TYPES}
        return gpd.GeoDataFrame(none, geometry=[], crs="EPSG:4326")
    return read_shapes(path, VERDICT_COLUMNS)


def write_verdicts(path: Path, verdicts: gpd.GeoDataFrame) -> None:
    """Write GeoParquet ordered by object_id, whole or not at all. One row an object."""
    write_shapes(path, verdicts.sort_values("object_id"), VERDICT_TYPES)
