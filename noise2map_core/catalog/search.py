"""Searching a catalogue: which scenes show an area in a range of dates."""

from collections.abc import Sequence
from typing import Any

import shapely

from noise2map_core.catalog.bands import FoundBands, band_names, find_bands
from noise2map_core.catalog.config import SearchConfig
from noise2map_core.catalog.interval import Interval, parse_interval, parse_time
from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.sensors import find_mask
from noise2map_core.catalog.stac import Document, Item, StacSource, open_catalog
from noise2map_core.errors import CatalogError, ConfigError
from noise2map_core.geo.aoi import AreaOfInterest


def search_scenes(
    search: SearchConfig, aoi: AreaOfInterest, interval: str, bands: Sequence[str]
) -> list[Scene]:
    """Scenes over `aoi` within `interval` that have `bands`, by datetime, then id.

    Items without any of the bands (labels, say) are passed over. Raises ConfigError for a date
    range that cannot be read, CatalogError if the catalogue cannot be used or nothing fits.
    """
    if not bands:
        raise ConfigError("no bands were asked for. Set search.bands.")
    if len(set(bands)) < len(bands):
        raise ConfigError(f"a band is named twice in {', '.join(bands)}. Mend search.bands.")
    return _search(search, aoi, parse_interval(interval), bands)


def search_labels(
    search: SearchConfig, aoi: AreaOfInterest, asset: str, interval: str
) -> list[Scene]:
    """Label items over `aoi` that hold `asset`, of a time that meets `interval`; in stable order.

    Each is a scene of one band, the label. Raises CatalogError if there is none.
    """
    return _search(search, aoi, parse_interval(interval), [asset])


def _search(
    search: SearchConfig, aoi: AreaOfInterest, interval: Interval, bands: Sequence[str]
) -> list[Scene]:
    source = open_catalog(search.catalog)
    collection = source.collection(search.collection)
    items = list(source.items(search.collection, aoi.geometry, interval))
    if not items:
        raise _nothing(source, search, collection, aoi, interval)
    found = [(item, find_bands(item, bands)) for item in items]
    scenes = [_scene(item, bands, collection) for item, bands in found if bands]
    if not scenes:
        raise _no_band(search, items, bands)
    return sorted(scenes, key=lambda scene: (scene.datetime, scene.id))


def _scene(item: Item, bands: FoundBands, collection: Document) -> Scene:
    properties = item.document.get("properties") or {}
    moment = properties.get("datetime") or item.times[0]
    try:
        time = parse_time(moment)
    except ValueError as error:
        raise CatalogError(f"item {item.id}: {error} ({item.href}). Mend the catalogue.") from error
    return Scene(
        id=item.id,
        collection=str(collection["id"]),
        datetime=time,
        footprint_wkb=shapely.to_wkb(item.geometry),
        bands=bands.sources,
        proj_code=_proj_code(properties),
        gsd=bands.gsd or properties.get("gsd"),
        href=item.href,
        attribution=_attribution(properties, collection),
        mask=find_mask(item),
        cloud_cover=properties.get("eo:cloud_cover"),
        proj_transform=_proj_transform(item, bands.assets[0]),
    )


def _proj_code(properties: dict[str, Any]) -> str | None:
    code, epsg = properties.get("proj:code"), properties.get("proj:epsg")
    return code or (f"EPSG:{epsg}" if epsg else None)


def _proj_transform(item: Item, asset: str) -> tuple[float, ...] | None:
    found = item.document["assets"][asset].get("proj:transform")
    found = found or (item.document.get("properties") or {}).get("proj:transform")
    return tuple(float(number) for number in found[:6]) if found else None


def _attribution(properties: dict[str, Any], collection: Document) -> str:
    providers = properties.get("providers") or collection.get("providers") or []
    names = ", ".join(str(provider.get("name")) for provider in providers)
    licence = properties.get("license") or collection.get("license") or "not stated"
    return f"{names or collection['id']} (licence: {licence})"


def _nothing(
    source: StacSource,
    search: SearchConfig,
    collection: Document,
    aoi: AreaOfInterest,
    interval: Interval,
) -> CatalogError:
    """Why a search found no item: the area, or the dates."""
    times = [time for item in source.items(search.collection, aoi.geometry, None)
             for time in item.times]  # fmt: skip
    if not times:
        box = collection["extent"]["spatial"]["bbox"][0]
        west, south, east, north = box if len(box) == 4 else [box[0], box[1], box[3], box[4]]
        return CatalogError(
            f"area {aoi.name} lies outside collection {search.collection}, whose items lie within "
            f"({west:g}, {south:g}, {east:g}, {north:g}). Set --aoi to an area there."
        )
    return CatalogError(
        f"collection {search.collection} has no item over area {aoi.name} in {interval}; its dates "
        f"there run from {min(times)[:10]} to {max(times)[:10]}. Set other dates."
    )


def _no_band(search: SearchConfig, items: list[Item], bands: Sequence[str]) -> CatalogError:
    known = list(dict.fromkeys(name for item in items for name in band_names(item)))
    return CatalogError(
        f"collection {search.collection} has no band {', '.join(map(repr, bands))}; "
        f"it has: {', '.join(known)}. Set search.bands to bands of these."
    )
