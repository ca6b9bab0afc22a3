"""The tables of alerts: `alerts.parquet`, one row an object, and `history.parquet`, one an event.

The history follows from the looks alone, however they came in. What imagery that came late, was
replaced or withdrawn took back stands in `revisions.parquet`, with the columns of the history:
alerts that are no more (withdrawn), and that are confirmed no more (downgraded).

Days are `datetime.date`, None where there is none (date32 on disk). Text is empty where there is
none. Shares and probabilities are 0–1.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from noise2map_core.products.vectors.polygon_files import GeoParquetFile
from noise2map_core.runtime.atomic import whole_file
from noise2map_core.runtime.errors import OutputError

ALERTS, HISTORY, REVISIONS = "alerts.parquet", "history.parquet", "revisions.parquet"
"""Names of the tables in the folder `alerts` of an area."""
STATUSES = ("provisional", "confirmed", "ended", "rejected")
EVENTS = ("opened", "grew", "confirmed", "merged", "split", "downgraded", "ended", "rejected",
          "withdrawn")  # fmt: skip
BATCH = 20_000
"""Rows of a row group."""

Types = Mapping[str, pa.DataType]

ALERT_TYPES: Types = {
    "object_id": pa.string(),
    "polygon_id": pa.string(),
    "status": pa.string(),
    "confidence": pa.float64(),
    "prior_look": pa.date32(),
    "first_seen": pa.date32(),
    "last_seen": pa.date32(),
    "confirmed_on": pa.date32(),
    "last_look": pa.date32(),
    "looks": pa.int32(),
    "detections": pa.int32(),
    "support": pa.float64(),
    "p_mean": pa.float64(),
    "p_max": pa.float64(),
    "area_m2": pa.float64(),
    "area_confirmed_m2": pa.float64(),
    "parents": pa.string(),
    "before_item": pa.string(),
    "after_item": pa.string(),
    "review": pa.string(),
    "reject_reason": pa.string(),
}
"""Columns of alerts in order; `geometry` is the last. `confidence` is p_mean × support; `looks`
and `detections` are the most that one pixel has; `parents` are ids with spaces between."""
ALERT_COLUMNS = [*ALERT_TYPES, "geometry"]

HISTORY_TYPES: Types = {
    "object_id": pa.string(),
    "day": pa.date32(),
    "area_m2": pa.float64(),
    "area_confirmed_m2": pa.float64(),
    "event": pa.string(),
}
HISTORY_COLUMNS = list(HISTORY_TYPES)


def read_alerts(path: Path) -> gpd.GeoDataFrame:
    """The objects of an area, in the CRS of its grid. Raises FileNotFoundError, OutputError."""
    return read_shapes(path, ALERT_COLUMNS)


def write_alerts(path: Path, alerts: gpd.GeoDataFrame) -> None:
    """Write GeoParquet ordered by object_id, whole or not at all; equal tables, equal bytes."""
    write_shapes(path, alerts.sort_values("object_id"), ALERT_TYPES)


def read_history(path: Path) -> pd.DataFrame:
    """The events of an area in order. Raises FileNotFoundError, OutputError."""
    try:
        with path.open("rb") as file:
            return pq.read_table(file, columns=HISTORY_COLUMNS).to_pandas()
    except (ValueError, KeyError, pa.ArrowException) as error:
        raise damaged(path, error) from error


def write_history(path: Path, history: pd.DataFrame) -> None:
    """Write Parquet ordered by day, object_id and event; equal tables give equal bytes."""
    ordered = history.sort_values(["day", "object_id", "event"])
    table = pa.table({name: column(ordered[name], of) for name, of in HISTORY_TYPES.items()})
    with whole_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_shapes(path: Path, columns: list[str]) -> gpd.GeoDataFrame:
    """Columns of a table with a geometry. Raises FileNotFoundError, OutputError."""
    try:
        with path.open("rb") as file:
            return gpd.read_parquet(file, columns=columns)
    except (ValueError, KeyError, pa.ArrowException) as error:
        raise damaged(path, error) from error


def write_shapes(path: Path, table: gpd.GeoDataFrame, types: Types) -> None:
    """Write the columns of `types` and the geometry as GeoParquet, whole or not at all."""
    typed = {name: pd.Series(column(table[name], of), dtype=pd.ArrowDtype(of))
             for name, of in types.items()}  # fmt: skip
    whole = gpd.GeoDataFrame(typed, geometry=table.geometry.to_numpy(), crs=table.crs)
    with whole_file(path) as partial, GeoParquetFile(partial) as file:
        for start in range(0, max(1, len(whole)), BATCH):
            file.write(whole.iloc[start : start + BATCH])


def column(values: "pd.Series[Any]", kind: pa.DataType) -> pa.Array:
    """A column as it is on disk; what pandas takes for missing is null."""
    return pa.array(values.tolist(), kind, from_pandas=True)


def damaged(path: Path, error: Exception) -> OutputError:
    """The error to raise for a table that cannot be read."""
    return OutputError(
        f"{path} is damaged ({' '.join(str(error).split())}). Delete the folder {path.parent} but "
        "its verdicts.parquet: the next night makes alerts anew from the slices that are kept."
    )
