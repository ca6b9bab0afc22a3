"""Alerts in the order in which they need eyes."""

from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from noise2map_core.alerts.tables import ALERTS, read_alerts
from noise2map_core.alerts.verdicts import VERDICTS, read_verdicts
from noise2map_core.runtime.errors import OutputMismatchError

STATUS_RANK = {"confirmed": 0, "provisional": 1, "ended": 2, "rejected": 3}
VERDICT_RANK = {"": 0, "unsure": 1, "confirmed": 2, "rejected": 2}


def alerts_folder(area: Path) -> Path:
    """The folder of an area's alerts. Raises OutputMismatchError if it has none."""
    folder = area / "alerts"
    if not (folder / ALERTS).is_file():
        raise OutputMismatchError(
            f"{area} has no alerts ({folder / ALERTS} is missing). Give the folder of an area that "
            "run-nightly maps with the setting alerts."
        )
    return folder


def alerts_with_verdicts(folder: Path) -> gpd.GeoDataFrame:
    """The alerts of an area, with `verdict`, `reject_reason`, `reviewer` and `decided_on` as
    people have said last; texts are empty where nobody has. Without the column `review`."""
    alerts = read_alerts(folder / ALERTS).drop(columns=["review", "reject_reason"])
    verdicts = pd.DataFrame(read_verdicts(folder / VERDICTS).drop(columns="geometry"))
    verdicts = verdicts.rename(columns={"reason": "reject_reason"})
    joined = alerts.merge(verdicts, on="object_id", how="left")
    for name in ("verdict", "reject_reason", "reviewer"):
        joined[name] = joined[name].astype(object).where(joined[name].notna(), "")
    return joined


def in_order(alerts: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """What nobody has judged first; of these what is confirmed, for others act on it; of these
    what would be the largest area if it were wrong: area × (1 − confidence)."""
    doubtful = alerts["area_m2"].to_numpy(float) * (1 - alerts["confidence"].to_numpy(float))
    order = np.lexsort(
        (
            alerts["object_id"].to_numpy(str),
            -doubtful,
            alerts["status"].map(STATUS_RANK).to_numpy(),
            alerts["verdict"].map(VERDICT_RANK).to_numpy(),
        )
    )
    return alerts.iloc[order].reset_index(drop=True)


def newest_look(alerts: gpd.GeoDataFrame) -> date | None:
    """The latest day that any alert was looked at; None without alerts."""
    days = alerts["last_look"].dropna()
    return pd.Timestamp(days.max()).date() if len(days) else None
