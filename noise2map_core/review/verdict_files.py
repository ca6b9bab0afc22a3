"""Verdicts from a file that people filled in, brought into an area's verdicts."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from noise2map_core.alerts.settle import settle
from noise2map_core.alerts.tables import ALERTS, read_alerts
from noise2map_core.alerts.verdicts import (
    CHOICES,
    VERDICT_COLUMNS,
    VERDICTS,
    read_verdicts,
    write_verdicts,
)
from noise2map_core.delivery.messages import LONGEST, plain
from noise2map_core.geo.vectors import read_table
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.lease import FENCE, hold_lease

NEEDED = ("object_id", "verdict")
FILLED = (*NEEDED, "reject_reason", "reviewer")
MOST_LISTED = 5
"""Objects that an error names before it counts the rest."""


@dataclass(frozen=True)
class Filled:
    """What a file says of one object."""

    object_id: str
    verdict: str
    """Empty: none, or none any more."""
    reason: str
    reviewer: str

    @property
    def said(self) -> tuple[str, str]:
        """Verdict, and why it is rejected, if it is."""
        return self.verdict, self.reason if self.verdict == "rejected" else ""


@dataclass(frozen=True)
class TakenIn:
    """What a file changed."""

    new: int
    changed: int
    withdrawn: int
    """Verdicts that are blank now."""
    same: int


def read_filled(path: Path) -> list[Filled]:
    """The verdicts of a file, in its order. Raises ConfigError for what is none, naming it."""
    table = _table(path)
    if missing := [name for name in NEEDED if name not in table.columns]:
        found = ", ".join(str(name) for name in table.columns if name != "geometry")
        raise ConfigError(
            f"verdicts {path} lack {', '.join(missing)}; their columns are: {found or 'none'}. "
            "Fill in the review.gpkg that noise2map review wrote, and keep its columns."
        )
    rows = table.to_dict("records")
    filled = [Filled(*(_text(row, name) for name in FILLED)) for row in rows]
    _require_sense(path, filled)
    return filled


def take_in(folder: Path, filled: Iterable[Filled], path: Path, today: date) -> TakenIn:
    """Bring what `path` says into the verdicts in the folder `alerts` of an area, and into its
    tables: all of it or nothing.

    A verdict that is blank is taken back; one that stays keeps its day. Raises ConfigError for
    objects that are not there, OutputHeldError while a night is at work.
    """
    with _night_excluded(folder.parent):
        alerts, before = read_alerts(folder / ALERTS), read_verdicts(folder / VERDICTS)
        filled, known = list(filled), _shapes(alerts, before)
        strange = [one.object_id for one in filled if one.object_id not in known]
        if strange:
            raise ConfigError(
                f"verdicts {path} are of objects that {folder.parent} does not have: "
                f"{_listed(strange)}. Nothing was taken in. Give the file of this area, or leave "
                "these out."
            )
        after, taken = _joined(before, filled, known, today)
        if after != _rows(before):
            columns = {name: [row[name] for row in after.values()] for name in VERDICT_COLUMNS}
            write_verdicts(
                folder / VERDICTS, gpd.GeoDataFrame(columns, geometry="geometry", crs=alerts.crs)
            )
        settle(folder)
        return taken


def _night_excluded(area: Path) -> AbstractContextManager[object]:
    """A night writes the same tables; where areas lie in the folder of the nights, its lease."""
    nights = area.parent
    return hold_lease(nights) if (nights / "ledger" / FENCE).exists() else nullcontext()


def _table(path: Path) -> gpd.GeoDataFrame:
    try:
        return read_table(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(
            f"verdicts {path} cannot be read: {reason}. Give a GeoPackage, GeoJSON or GeoParquet "
            "file."
        ) from error


def _text(row: dict[str, Any], name: str) -> str:
    """A cell as text: numbers that are ids, too; empty for nothing."""
    value = row.get(name)
    if value is None or pd.isna(value):
        return ""
    return plain(str(value), 10 * LONGEST)


def _require_sense(path: Path, filled: list[Filled]) -> None:
    """Raise ConfigError for the first thing that makes no sense."""
    seen: set[str] = set()
    for number, one in enumerate(filled, start=1):
        about = f"verdicts {path}, row {number}"
        if not one.object_id:
            raise ConfigError(f"{about}: there is no object_id. Leave the row out.")
        about = f"verdicts {path}, object {one.object_id[:100]}"
        if one.object_id in seen:
            raise ConfigError(f"{about}: it stands there twice. Leave one out.")
        seen.add(one.object_id)
        if one.verdict and one.verdict not in CHOICES:
            raise ConfigError(
                f"{about}: verdict {one.verdict[:100]!r} is none of {', '.join(CHOICES)}, or blank."
            )
        if one.verdict == "rejected" and not one.reason:
            raise ConfigError(
                f"{about}: it is rejected without a reason. Fill in reject_reason, such as "
                "seasonality, agriculture or cloud."
            )
        if max(len(one.reason), len(one.reviewer)) > LONGEST:
            raise ConfigError(
                f"{about}: reject_reason and reviewer have up to {LONGEST} characters. Shorten "
                "them."
            )


def _shapes(alerts: gpd.GeoDataFrame, verdicts: gpd.GeoDataFrame) -> dict[str, Any]:
    """Geometry of every object that can be judged: as it is or, if it is no more, as it was."""
    gone = verdicts.to_crs(alerts.crs) if len(verdicts) else verdicts
    known = dict(zip(gone["object_id"], gone.geometry, strict=True))
    return known | dict(zip(alerts["object_id"], alerts.geometry, strict=True))


def _rows(verdicts: gpd.GeoDataFrame) -> dict[str, dict[str, Any]]:
    return {row["object_id"]: row for row in verdicts[VERDICT_COLUMNS].to_dict("records")}


def _joined(
    before: gpd.GeoDataFrame, filled: list[Filled], known: dict[str, Any], today: date
) -> tuple[dict[str, dict[str, Any]], TakenIn]:
    rows, old = _rows(before), _rows(before)
    new = changed = withdrawn = same = 0
    for one in filled:
        verdict, reason = one.said
        was = old.get(one.object_id)
        if not verdict:
            withdrawn += rows.pop(one.object_id, None) is not None
        elif was and (was["verdict"], was["reason"], was["reviewer"]) == (
            verdict, reason, one.reviewer,
        ):  # fmt: skip
            same += 1
        else:
            new, changed = new + (was is None), changed + (was is not None)
            rows[one.object_id] = {
                "object_id": one.object_id, "verdict": verdict, "reason": reason,
                "reviewer": one.reviewer, "decided_on": today,
                "geometry": known[one.object_id],
            }  # fmt: skip
    return rows, TakenIn(new, changed, withdrawn, same)


def _listed(names: list[str]) -> str:
    shown = ", ".join(name[:100] for name in names[:MOST_LISTED])
    return shown if len(names) <= MOST_LISTED else f"{shown}, … ({len(names)} in all)"
