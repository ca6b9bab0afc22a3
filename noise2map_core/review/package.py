"""The GeoPackage that reviewers fill in, made for QGIS: a form with drop-downs."""

from datetime import UTC, date, datetime
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import shapely

from noise2map_core.alerts.tables import ALERT_TYPES, column
from noise2map_core.alerts.verdicts import CHOICES
from noise2map_core.products.styles.form import Field, with_form
from noise2map_core.products.styles.qml import PolygonStyle, polygon_style
from noise2map_core.products.vectors.polygon_files import GeoPackageFile
from noise2map_core.review.verdict_files import read_filled
from noise2map_core.runtime.atomic import whole_file
from noise2map_core.runtime.errors import OutputMismatchError

LAYER = "review"
JUDGED = ("verdict", "reject_reason", "reviewer")
"""Columns to fill in."""
REASONS = (
    "seasonality", "agriculture", "silviculture", "cloud", "cloud shadow", "snow", "water level",
    "shifted image", "sensor artefact", "fire scar", "other",
)  # fmt: skip
"""Why an alert is none: those that drop-downs offer; any text is taken."""
COLORS = {"": "#f5c211", "confirmed": "#c62828", "rejected": "#57606a", "unsure": "#0b62d6"}
FILLED_IN: dict[str, pa.DataType] = dict.fromkeys(JUDGED, pa.string())
SHOWN = {name: kind for name, kind in ALERT_TYPES.items() if name not in ("review", *JUDGED)}


def write_package(path: Path, alerts: gpd.GeoDataFrame, written: date) -> None:
    """Write the layer `review`, one feature an alert in the order given, and its form and style.

    `alerts` have the columns of alerts but `review`, and `JUDGED`. Whole or not at all; the same
    table and day give the same bytes.
    """
    typed = {
        name: pd.Series(column(alerts[name], kind), dtype=pd.ArrowDtype(kind))
        for name, kind in (FILLED_IN | SHOWN).items()
    }
    for name in JUDGED:
        typed[name] = typed[name].replace("", None)
    shapes = [shapely.multipolygons(shapely.get_parts(one)) for one in alerts.geometry]
    table = gpd.GeoDataFrame(typed, geometry=shapes, crs=alerts.crs)
    moment = datetime(written.year, written.month, written.day, tzinfo=UTC)
    with (
        whole_file(path) as partial,
        GeoPackageFile(partial, {LAYER: review_style()}, moment) as package,
    ):
        package.write(table, LAYER, geometry_type="MultiPolygon", use_arrow=True)


def review_style() -> PolygonStyle:
    """A colour a verdict, a drop-down for verdict and reason, all else to be read only."""
    names = {value: value or "not judged" for value in COLORS}
    style = polygon_style(LAYER, COLORS, names, "verdict")
    choices = {"verdict": CHOICES, "reject_reason": REASONS}
    fields = [
        Field(name, choices.get(name, ()), editable=name in FILLED_IN)
        for name in (*FILLED_IN, *SHOWN)
    ]
    return with_form(style, fields)


def require_taken_in(path: Path, alerts: gpd.GeoDataFrame) -> None:
    """Raise OutputMismatchError if a GeoPackage holds verdicts that the alerts do not have."""
    if not path.exists():
        return
    rows = alerts[["object_id", "verdict", "reject_reason"]].itertuples(index=False)
    known = {name: (verdict, reason) for name, verdict, reason in rows}
    waiting = [
        one.object_id
        for one in read_filled(path)
        if one.verdict and known.get(one.object_id, (one.verdict, one.reason)) != one.said
    ]
    if waiting:
        raise OutputMismatchError(
            f"{path} holds {len(waiting)} verdicts that were not taken in, such as that of "
            f"{waiting[0]}; nothing was touched. Take them in with --apply {path}, or move it away."
        )
