"""The STAC item of an area's alerts on one day."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pystac
import shapely
from pystac.extensions.version import VersionExtension

from noise2map_core import __version__
from noise2map_core.alert_products.rasters import STATUS_NAMES, seen_status
from noise2map_core.alert_products.source import AlertState
from noise2map_core.alert_products.versions import KEY, Version
from noise2map_core.alerts.tables import STATUSES
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.geo.zone import bbox_of
from noise2map_core.products.rasters import RasterSpec
from noise2map_core.products.stac.assets import asset_key, file_asset
from noise2map_core.products.stac.item import (
    EXTENSIONS,
    add_projection,
    link_tiles,
    name_collection,
)
from noise2map_core.products.stac.terms import LICENSE, identifier, providers
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.redact import redacted_document
from noise2map_core.runtime.storage import relative

PARAMETERS = ("k", "n", "m", "t", "epoch")
"""Facts of the state that stand in the item, each behind `alert:`."""


def write_alert_item(
    folder: Path,
    state: AlertState,
    alerts: gpd.GeoDataFrame,
    aoi: AreaOfInterest,
    attribution: str,
    collection: Path,
    titles: Mapping[str, str],
    specs: Mapping[str, RasterSpec],
    made: Version,
    earlier: Version | None,
) -> None:
    """Write `item.json` into `folder` for the files that lie there, by their titles and, of
    rasters, specs. It will be read in the folder of `made`; `earlier` is what that takes the place
    of."""
    item = _item(state, aoi, attribution)
    item.properties["alert:counts"] = {
        "pixels": count_pixels(state), "objects": count_objects(alerts)
    }  # fmt: skip
    if earlier is not None:
        _succeed(item, made, earlier)
    for name, title in titles.items():
        item.add_asset(asset_key(name), file_asset(folder / name, title, specs.get(name)))
    link_tiles(item)
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    name_collection(document, collection, made.folder)
    text = json.dumps(redacted_document(document), indent=2)
    write_atomically(folder / made.item.name, text + "\n")


def count_pixels(state: AlertState) -> dict[str, int]:
    """Pixels of the region by status, and those that were never seen."""
    counts = np.zeros(256, np.int64)
    for window in _tiles(state.grid):
        status, seen = (state.read(name, window) for name in ("status", "seen"))
        counts += np.bincount(seen_status(status, seen).ravel(), minlength=256)
    found = {name: int(counts[code]) for code, name in STATUS_NAMES.items()}
    return found | {"not seen": int(counts[255])}


def _tiles(grid: RegionGrid) -> Iterator[Window]:
    """Windows of the region by whole tiles, so that each shard is read once."""
    rows, cols = grid.shape_tiles
    for index in range(rows * cols):
        window = grid.window(grid.tile_at(index)).intersect(grid.region)
        if not window.is_empty:
            yield window


def count_objects(alerts: gpd.GeoDataFrame) -> dict[str, int]:
    """Alerts by status."""
    found = Counter(alerts["status"])
    return {status: found[status] for status in STATUSES}


def _item(state: AlertState, aoi: AreaOfInterest, attribution: str) -> pystac.Item:
    day, grid = state.as_of, state.grid
    item = pystac.Item(
        id=f"{identifier(aoi.name)}-alerts-{day:%Y%m%d}-{state.key[:8]}",
        geometry=json.loads(shapely.to_geojson(aoi.geometry)),
        bbox=list(bbox_of(aoi.geometry)),
        datetime=datetime(day.year, day.month, day.day, tzinfo=UTC),
        properties={
            "title": f"{aoi.name}: alerts of {day}",
            "license": LICENSE,
            "providers": providers([attribution]),
            "attribution": attribution,
            "processing:level": "L4",
            "processing:lineage": f"noise2map: alerts from {len(state.facts['looks'])} looks",
            "processing:software": {"noise2map": __version__},
            **{f"alert:{name}": state.facts[name] for name in PARAMETERS},
            KEY: state.key,
        },
        stac_extensions=[*EXTENSIONS],
    )  # fmt: skip
    add_projection(item, grid)
    return item


def _succeed(item: pystac.Item, made: Version, earlier: Version) -> None:
    """Say that a day was made again, and where it lies as it was before."""
    item.stac_extensions.append(VersionExtension.get_schema_uri())
    item.properties["version"] = str(made.number)
    href = relative(earlier.item, made.folder)
    item.add_link(pystac.Link("predecessor-version", href, "application/geo+json"))
