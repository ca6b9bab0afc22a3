"""Alerts as a GeoPackage with styles, and the style as a file beside it."""

from datetime import UTC, date, datetime
from pathlib import Path

import geopandas as gpd
import pandas as pd
import shapely

from noise2map_core.alert_products.rasters import STATUS_COLORS
from noise2map_core.alerts.tables import ALERT_TYPES, BATCH, STATUSES, column
from noise2map_core.products.styles.qml import PolygonStyle, polygon_style
from noise2map_core.products.vectors.polygon_files import GeoPackageFile
from noise2map_core.runtime.atomic import write_atomically

LAYER = "alerts"
GEOMETRY = "MultiPolygon"
"""Of the layer: an alert may come to lie in several parts."""


def alert_style() -> PolygonStyle:
    """A colour a status."""
    return polygon_style(LAYER, STATUS_COLORS, {name: name for name in STATUSES}, "status")


def write_package(path: Path, alerts: gpd.GeoDataFrame, as_of: date) -> None:
    """Write a GeoPackage with the layer `alerts`, days as dates, and its style in `layer_styles`.

    The same table and day give the same bytes.
    """
    written = datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC)
    with GeoPackageFile(path, {LAYER: alert_style()}, written) as package:
        for start in range(0, max(1, len(alerts)), BATCH):
            batch = _typed(alerts.iloc[start : start + BATCH])
            package.write(batch, LAYER, geometry_type=GEOMETRY, use_arrow=True)


def write_style(path: Path) -> None:
    """Write the style as QML, for the GeoParquet file or other copies of the layer."""
    write_atomically(path, alert_style().qml + "\n")


def _typed(alerts: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The columns in their types on disk, and all geometries of one type."""
    typed = {
        name: pd.Series(column(alerts[name], kind), dtype=pd.ArrowDtype(kind))
        for name, kind in ALERT_TYPES.items()
    }
    shapes = [shapely.multipolygons(shapely.get_parts(one)) for one in alerts.geometry]
    return gpd.GeoDataFrame(typed, geometry=shapes, crs=alerts.crs)
