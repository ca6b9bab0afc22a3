"""What the nights found: `changes.gpkg` for desktops, `changes.pmtiles` for web maps."""

from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import shapely

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.nightly.areas import Area, day_of
from noise2map_core.nightly.objects import EVENTS, read_objects, write_table
from noise2map_core.nightly.spans import NIGHT_STATES, Spans
from noise2map_core.products.stac.collection import add_asset
from noise2map_core.products.styles.qml import PolygonStyle, polygon_style
from noise2map_core.products.vectors.pmtiles import can_write_tiles, write_tiles
from noise2map_core.products.vectors.polygon_files import GeoPackageFile
from noise2map_core.runtime.atomic import whole_files, write_atomically
from noise2map_core.runtime.storage import listed

PACKAGE, TILES = "changes.gpkg", "changes.pmtiles"
STALE = ".changes-stale"
"""Lies in an area's folder from before its tables change until the files show it."""
CHANGES, OBJECTS = "changes", "objects"
"""Layers of the package; of the tiles, the second."""
EVENT_COLORS = dict(
    zip(
        EVENTS,
        ("#d7191c", "#f46d43", "#74add1", "#fdae61", "#c51b7d", "#6a3d9a", "#8d91ad", "#2b83ba"),
        strict=True,
    )
)
STATE_COLORS = {"present": "#d7191c", "unseen": "#8d91ad", "gone": "#2b83ba"}
"""Of objects; the package shows none of their earlier outlines."""
DAYS = ("first_seen", "last_seen", "date", "until")
BATCH = 20_000


def expect_changes(area: Area) -> None:
    """Note that the tables of an area are about to change: whatever becomes of this night, the
    files are made again then."""
    if area.output.is_dir():
        write_atomically(area.output / STALE, "")


def write_changes(area: Area, grid: RegionGrid) -> None:
    """Write both files from the tables of all nights, if they are not those of them already.

    `changes` are of the newest night, `objects` of all; the same tables give the same bytes. No
    tiles where there is no object, or nobody to write them.
    """
    stale = area.output / STALE
    days = _days(area)
    if not days or ((area.output / PACKAGE).exists() and not stale.exists()):
        return
    spans = Spans()
    for day in days:
        spans.add(day, read_objects(area.objects_path(day)))
    objects = _dated(spans.table(grid.crs))
    with whole_files(area.output) as folder:
        _write_package(folder / PACKAGE, area, days[-1], objects)
        tiled = _write_tiles(folder, area, grid, objects)
    if not tiled:
        (area.output / TILES).unlink(missing_ok=True)  # of earlier nights
    add_asset(area.collection, area.output / PACKAGE, "Changes of the newest night, all objects")
    if tiled:
        add_asset(area.collection, area.output / TILES, "Outlines of objects over the nights")
    stale.unlink(missing_ok=True)


def _days(area: Area) -> list[date]:
    paths = listed(area.output / "objects", ".parquet")
    return sorted(day for path in paths if (day := day_of(path.stem)))


def _write_package(path: Path, area: Area, day: date, objects: gpd.GeoDataFrame) -> None:
    styles = {
        OBJECTS: _style(OBJECTS, STATE_COLORS, "state"),
        CHANGES: _style(CHANGES, EVENT_COLORS, "event"),
    }
    tables = {
        OBJECTS: objects[objects["state"] != NIGHT_STATES[-1]],
        CHANGES: _dated(read_objects(area.changes_path(day)).assign(date=day)),
    }
    written = datetime(day.year, day.month, day.day, tzinfo=UTC)
    with GeoPackageFile(path, styles, written) as package:
        for layer, table in tables.items():
            for start in range(0, max(1, len(table)), BATCH):
                batch = table.iloc[start : start + BATCH]
                shapes = [shapely.multipolygons(shapely.get_parts(one)) for one in batch.geometry]
                package.write(
                    batch.set_geometry(shapes, crs=table.crs), layer,
                    geometry_type="MultiPolygon", use_arrow=True,
                )  # fmt: skip


def _style(layer: str, colors: dict[str, str], column: str) -> PolygonStyle:
    return polygon_style(layer, colors, {name: name for name in colors}, column)


def _write_tiles(folder: Path, area: Area, grid: RegionGrid, objects: gpd.GeoDataFrame) -> bool:
    """False, and no file, where there is no object, or none are wanted or can be written."""
    if not (area.config.products.vector_tiles and can_write_tiles()):
        return False
    with TemporaryDirectory(prefix="noise2map-") as scratch:
        table = Path(scratch) / "objects.parquet"
        write_table(table, objects)
        return write_tiles(table, folder / TILES, grid, OBJECTS, f"{area.id}: objects")


def _dated(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Days in the type that files have for them."""
    kind = pd.ArrowDtype(pa.date32())
    return table.assign(
        **{
            name: pd.Series(table[name].tolist(), table.index, kind)
            for name in DAYS
            if name in table
        }
    )
