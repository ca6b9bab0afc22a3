"""The tables of an area that people read, made of what is followed and of what was judged."""

from datetime import date
from pathlib import Path

import pandas as pd

from noise2map_core.alerts.delivered import judged_alerts, judged_history
from noise2map_core.alerts.tables import (
    ALERTS,
    HISTORY,
    HISTORY_COLUMNS,
    read_alerts,
    read_history,
    write_alerts,
    write_history,
)
from noise2map_core.alerts.verdicts import VERDICTS, read_verdicts

OBJECTS, EVENTS = "objects.parquet", "events.parquet"
"""What is followed: as ALERTS and HISTORY, and nobody has judged it."""


def settle(folder: Path, raw: Path | None = None, target: Path | None = None) -> None:
    """Write alerts.parquet and history.parquet of an area's folder `alerts`, with its verdicts.

    `raw`: where what is followed lies; `target`: where the tables go; None: in the folder, too.
    """
    raw, target = raw or folder, target or folder
    objects, events = read_alerts(raw / OBJECTS), read_history(raw / EVENTS)
    verdicts = read_verdicts(folder / VERDICTS)
    write_alerts(target / ALERTS, judged_alerts(objects, events, verdicts))
    write_history(target / HISTORY, judged_history(events, objects, verdicts))


def is_settled(folder: Path) -> bool:
    """True unless verdicts came in since the tables were written."""
    verdicts, alerts = folder / VERDICTS, folder / ALERTS
    if not verdicts.exists() or not (folder / OBJECTS).exists():
        return True
    return alerts.exists() and alerts.stat().st_mtime_ns >= verdicts.stat().st_mtime_ns


def revised(before: Path, after: Path, day: date) -> pd.DataFrame:
    """What a replay took back, as rows of the history of `day`: from the tables in one folder to
    those in another.

    Alerts that are no more are withdrawn; those that are confirmed no more are downgraded, unless
    the history says so itself.
    """
    old, new = (read_alerts(folder / ALERTS).set_index("object_id") for folder in (before, after))
    told = {name for name, _ in _downgraded(after) - _downgraded(before)}
    rows = [(name, day, 0.0, 0.0, "withdrawn") for name in old.index if name not in new.index]
    was, now = old["status"].to_dict(), new["status"].to_dict()
    rows += [
        (name, day, new["area_m2"][name], new["area_confirmed_m2"][name], "downgraded")
        for name in old.index
        if was[name] == "confirmed" and now.get(name) == "provisional" and name not in told
    ]
    return pd.DataFrame(rows, columns=HISTORY_COLUMNS)


def _downgraded(folder: Path) -> set[tuple[str, date]]:
    history = read_history(folder / HISTORY)
    found = history[history["event"] == "downgraded"]
    return set(zip(found["object_id"], found["day"], strict=True))
