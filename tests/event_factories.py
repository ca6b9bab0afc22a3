"""Tables of alerts without imagery: objects that are seen night after night."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from noise2map_core.alerts.settle import EVENTS, OBJECTS, settle
from noise2map_core.alerts.tables import write_alerts, write_history
from noise2map_core.alerts.verdicts import VERDICTS, write_verdicts

FIRST = date(2025, 6, 20)
CRS = "EPSG:32631"
Row = tuple[str, int, str]
"""Object, night (from 0) and event."""


def square(number: int, side: float = 60.0) -> shapely.Polygon:
    """Squares in a row, 100 m apart."""
    x, y = 500_000 + 100.0 * number, 5_000_000.0
    return shapely.box(x, y, x + side, y + side)


def day_of(night: int) -> date:
    return FIRST + timedelta(days=night)


def alert(name: str, number: int = 0, **more: Any) -> dict[str, Any]:
    """One row of alerts.parquet."""
    shape = more.pop("geometry", square(number))
    row: dict[str, Any] = {
        "object_id": name, "polygon_id": f"1:{number}:0", "status": "confirmed", "confidence": 0.6,
        "prior_look": day_of(-2), "first_seen": day_of(0), "last_seen": day_of(3),
        "confirmed_on": day_of(2), "last_look": day_of(3), "looks": 4, "detections": 3,
        "support": 0.75, "p_mean": 0.8, "p_max": 0.9, "area_m2": shape.area,
        "area_confirmed_m2": shape.area / 2, "parents": "", "before_item": "", "after_item": "",
        "review": "", "reject_reason": "", "geometry": shape,
    }  # fmt: skip
    return row | more


def table_of(rows: Sequence[dict[str, Any]]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(list(rows), geometry="geometry", crs=CRS)


def history_of(rows: Iterable[Row]) -> pd.DataFrame:
    found = [
        {"object_id": name, "day": day_of(night), "area_m2": 3600.0, "area_confirmed_m2": 1800.0,
         "event": event}
        for name, night, event in rows
    ]  # fmt: skip
    columns = ["object_id", "day", "area_m2", "area_confirmed_m2", "event"]
    return pd.DataFrame(found, columns=columns)


def write_area(folder: Path, history: Iterable[Row], alerts: Sequence[dict[str, Any]] = ()) -> Path:
    """The folder `alerts` of an area; objects that are not given are made of the history."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(history)
    names = sorted({name for name, _, _ in rows})
    made = alerts or [alert(name, number) for number, name in enumerate(names)]
    write_alerts(folder / OBJECTS, table_of(made))
    write_history(folder / EVENTS, history_of(rows))
    settle(folder)
    return folder


def write_verdict(folder: Path, name: str, verdict: str, **more: Any) -> None:
    row = {
        "object_id": name, "verdict": verdict, "reason": "", "reviewer": "ada",
        "decided_on": FIRST, "geometry": square(0),
    }  # fmt: skip
    write_verdicts(folder / VERDICTS, table_of([row | more]))
    settle(folder)
