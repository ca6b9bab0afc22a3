"""All products of an area's alerts on one day: rasters, tables, styles, STAC item."""

import json
import shutil
from pathlib import Path

from noise2map_core.alert_products.item import write_alert_item
from noise2map_core.alert_products.package import LAYER, write_package, write_style
from noise2map_core.alert_products.rasters import alert_rasters
from noise2map_core.alert_products.source import AlertState, open_state
from noise2map_core.alert_products.versions import (
    Version,
    newest_version,
    version_of,
    versions_from,
)
from noise2map_core.alerts.tables import ALERTS, read_alerts
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.products.parts import MapperOf, one_process
from noise2map_core.products.rasters import RasterSpec, write_raster
from noise2map_core.products.stac.collection import add_to_collection, lists
from noise2map_core.products.vectors.pmtiles import can_write_tiles, write_tiles
from noise2map_core.runtime.atomic import whole_files
from noise2map_core.runtime.errors import OutputMismatchError

PACKAGE, STYLE, TILES = "alerts.gpkg", "alerts.qml", "alerts.pmtiles"
OTHER_FILES = {
    ALERTS: "Alerts, GeoParquet",
    PACKAGE: "Alerts with their style, GeoPackage",
    STYLE: "Style of the alerts for QGIS",
    TILES: "Alerts as vector tiles for web maps, PMTiles",
}


def write_alert_products(
    area: Path, aoi: AreaOfInterest, collection: Path, mapper_of: MapperOf = one_process
) -> Path:
    """The products of the day that the alerts in an area's folder have come to; their folder.
    Parts of rasters are made by who `mapper_of` gives.

    Made once from the same state: then nothing is touched. If they are there from another one, the
    day was replayed: they are made beside the earlier ones, whose place in the collection they
    take. Days that the state has no more are taken from the collection, too.
    """
    state = open_state(area)
    if not state.table.is_file():
        raise OutputMismatchError(
            f"{state.table} is missing: the alerts of {area} are not finished. Run run-nightly."
        )
    earlier = newest_version(state.folder, state.as_of)
    made = earlier
    if made is None or made.key != state.key:
        made = version_of(state.folder, state.as_of, earlier.number + 1 if earlier else 1)
        _write(state, aoi, collection, made, earlier, mapper_of)
    _list(state, collection, made)
    return made.folder


def _list(state: AlertState, collection: Path, made: Version) -> None:
    """List the day's products in the collection, in place of others of it and of later days."""
    others = [one.item for one in versions_from(state.folder, state.as_of) if one != made]
    stale = [item for item in others if lists(collection, item)]
    if stale or not lists(collection, made.item):
        add_to_collection(collection, made.item, stale)


def _write(
    state: AlertState, aoi: AreaOfInterest, collection: Path, made: Version,
    earlier: Version | None, mapper_of: MapperOf,
) -> None:  # fmt: skip
    """All files of a version; the item, by its name, is the last that comes to its place."""
    alerts, rasters = read_alerts(state.table), alert_rasters(state)
    made.folder.mkdir(parents=True, exist_ok=True)
    with whole_files(made.folder) as folder:
        with mapper_of(state.grid) as mapper:
            for raster in rasters:
                write_raster(state.grid, raster.spec, raster.reader(state), folder, mapper)
        shutil.copyfile(state.table, folder / ALERTS)
        write_package(folder / PACKAGE, alerts, state.as_of)
        write_style(folder / STYLE)
        if can_write_tiles():
            write_tiles(folder / ALERTS, folder / TILES, state.grid, LAYER, f"{aoi.name}: alerts")
        specs = {raster.spec.file: raster.spec for raster in rasters}
        write_alert_item(
            folder,
            state,
            alerts,
            aoi,
            _attribution(state),
            collection,
            _titles(specs, folder),
            specs,
            made,
            earlier,
        )


def _attribution(state: AlertState) -> str:
    """Whom the day's slice names; nobody if that is not kept."""
    item = state.folder.parent / "slices" / str(state.as_of) / "item.json"
    if not item.is_file():
        return ""
    return str(json.loads(item.read_text(encoding="utf-8"))["properties"]["attribution"])


def _titles(specs: dict[str, RasterSpec], folder: Path) -> dict[str, str]:
    """What each file is, by its name; tiles, which there are not always, if they lie there."""
    side_cars = {name: title for spec in specs.values() for name, title in spec.side_cars.items()}
    titles = {name: spec.title for name, spec in specs.items()} | side_cars | OTHER_FILES
    return {name: title for name, title in titles.items() if (folder / name).exists()}
