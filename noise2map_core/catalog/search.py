"""Searching a catalogue: which scenes show an area in a range of dates."""

import logging
import math
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import pystac
import shapely

from noise2map_core.catalog.assets.alternates import with_alternates
from noise2map_core.catalog.bands import (
    RGB,
    FoundBands,
    LacksBandsError,
    band_names,
    find_bands,
    pictured_bands,
)
from noise2map_core.catalog.filter import PropertyFilter
from noise2map_core.catalog.interval import Interval, parse_interval, parse_time
from noise2map_core.catalog.item import Document, Item
from noise2map_core.catalog.optics import find_optics
from noise2map_core.catalog.query import Query
from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.sensors import find_mask
from noise2map_core.catalog.stac import StacSource, open_catalog
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.runtime.errors import CatalogError, ConfigError, NoImageryError
from noise2map_core.runtime.redact import distinguished, unsigned
from noise2map_core.settings.catalog import SearchConfig

T = TypeVar("T")

_LOGGER = logging.getLogger(__name__)

_CODES = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        r"([\w-]+):([\w.-]+)([+]\d+)?",
        r"urn:(?:x-)?ogc:def:crs:([\w-]+):[\w.]*:([\w.-]+)",
        r"https?://(?:www\.)?opengis\.net/def/crs/([\w-]+)/[\w.]+/([\w.-]+)/?",
    )
)
"""How codes of coordinate reference systems are written: short, as URN, as URL of OGC. What comes
behind a plus is of heights."""

NOT_STAC = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
    pystac.STACError, shapely.errors.ShapelyError,
)  # fmt: skip
"""What documents of another shape than STAC's lead to, here and in pystac."""


def search_scenes(
    search: SearchConfig, aoi: AreaOfInterest, interval: str, bands: Sequence[str]
) -> list[Scene]:
    """Scenes over `aoi` within `interval` that have `bands`, by datetime, then id.

    Items without any of the bands (labels, say) are passed over; those that lack some, with a line
    that says so. Raises ConfigError for a date
    range that cannot be read, CatalogError if the catalogue cannot be used or nothing fits.
    """
    if not bands:
        raise ConfigError("no bands were asked for. Set search.bands.")
    if len(set(bands)) < len(bands):
        raise ConfigError(f"a band is named twice in {', '.join(bands)}. Mend search.bands.")
    return _search(search, aoi, parse_interval(interval), bands)


def picture_bands(search: SearchConfig, aoi: AreaOfInterest, interval: str) -> tuple[str, ...]:
    """Bands to look at: red, green, blue if an item over `aoi` within `interval` has them; else the
    first three, or the first, that the first such item has.

    Raises ConfigError and CatalogError as `search_scenes` does.
    """
    return _asked(search, aoi, parse_interval(interval), lambda query: _shown(search, aoi, query))


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
    return _asked(search, aoi, interval, lambda query: _found(search, aoi, query, bands))


def _asked(
    search: SearchConfig, aoi: AreaOfInterest, interval: Interval, answer: Callable[[Query], T]
) -> T:
    """What `answer` makes of the query. Raises CatalogError for what is not STAC."""
    chosen = PropertyFilter(search.filter) if search.filter else None
    query = Query(search.collection, aoi.geometry, interval, chosen)
    try:
        return answer(query)
    except NOT_STAC as error:
        raise CatalogError(
            f"catalogue {search.catalog} holds what is not STAC ({type(error).__name__}: "
            f"{reprlib.repr(str(error))}). Mend the catalogue; --debug shows where."
        ) from error


def _found(
    search: SearchConfig, aoi: AreaOfInterest, query: Query, bands: Sequence[str]
) -> list[Scene]:
    source = open_catalog(search.catalog, search.allow_hosts, search.patience_s)
    collection = source.collection(search.collection)
    scenes: dict[str, Scene] = {}
    others: dict[str, None] = {}  # bands of items that have none of those asked for
    lacking: list[LacksBandsError] = []
    for item in source.items(query):
        item = with_alternates(item, search.alternate)
        try:
            if found := find_bands(item, bands):
                scene = _scene(item, found, collection)
                scenes.setdefault(item.id, _with_patience(scene, search.patience_s))
            else:
                others |= dict.fromkeys(band_names(item))
        except LacksBandsError as error:
            lacking.append(error)
    if lacking:
        _leave_out(lacking, scenes)
    if not scenes:
        lacks_bands = _no_band(search, others, bands) if others else None
        raise _nothing(source, query, collection, aoi, bands, lacks_bands)
    require_told_apart(scenes.values())
    return sorted(scenes.values(), key=lambda scene: (scene.datetime, scene.id))


def _has_any(item: Item, bands: Sequence[str]) -> bool:
    """Whether an item has any of the bands: labels have none of an image's."""
    try:
        return find_bands(item, bands) is not None
    except LacksBandsError:
        return True


def _shown(search: SearchConfig, aoi: AreaOfInterest, query: Query) -> tuple[str, ...]:
    source = open_catalog(search.catalog, search.allow_hosts, search.patience_s)
    collection = source.collection(search.collection)
    first: tuple[str, ...] = ()
    for item in source.items(query):
        found = pictured_bands(with_alternates(item, search.alternate))
        if found == RGB:
            return found
        first = first or found
    if not first:
        raise _nothing(source, query, collection, aoi)
    return first


def require_told_apart(scenes: Iterable[Scene]) -> None:
    """Raises CatalogError for two files whose addresses differ only in what is not kept of them: a
    parameter that may be a secret."""
    known: dict[str, str] = {}
    for scene in scenes:
        masks = [scene.mask.source] if scene.mask else []
        for source in (*scene.bands, *masks):
            whole = distinguished(source.signed or source.href)
            if known.setdefault(source.href, whole) != whole:
                raise CatalogError(
                    f"item {scene.id}: {source.href} stands for several files, told apart by "
                    "parameters that may be secrets, and are not kept. Link to the files by their "
                    "paths."
                )


def _leave_out(lacking: Sequence[LacksBandsError], scenes: Mapping[str, Scene]) -> None:
    """Say that some items lack bands. Raises the first error where no other item has them all."""
    if not scenes:
        raise CatalogError(str(lacking[0]))
    more = f" (and {len(lacking) - 1} more like it)" if len(lacking) > 1 else ""
    _LOGGER.warning("left out: %s%s", lacking[0], more)


def _scene(item: Item, bands: FoundBands, collection: Document) -> Scene:
    properties = item.properties
    try:
        time = parse_time(str(properties.get("datetime") or item.times[0]))
    except ValueError as error:
        raise item.broken(str(error)) from error
    return Scene(
        id=item.id,
        collection=str(collection["id"]),
        datetime=time,
        footprint_wkb=shapely.to_wkb(item.place),
        bands=bands.sources,
        proj_code=_proj_code(item),
        gsd=bands.gsd or item.number(properties, "gsd"),
        href=unsigned(item.href),
        attribution=_attribution(properties, collection),
        mask=find_mask(item),
        cloud_cover=item.number(properties, "eo:cloud_cover"),
        proj_transform=_proj_transform(item, bands.assets[0]),
        sensor=str(properties.get("constellation") or properties.get("platform") or ""),
        optics=find_optics(item),
    )


def _with_patience(scene: Scene, patience_s: float) -> Scene:
    """The scene, whose files are waited for as long as the search is."""
    bands = tuple(replace(band, patience_s=patience_s) for band in scene.bands)
    mask = scene.mask and replace(
        scene.mask, source=replace(scene.mask.source, patience_s=patience_s)
    )
    optics = scene.optics and replace(
        scene.optics,
        bands=tuple(replace(band, patience_s=patience_s) for band in scene.optics.bands),
    )
    return replace(scene, bands=bands, mask=mask, optics=optics)


def _proj_code(item: Item) -> str | None:
    """The item's claim in the short form, "EPSG:32651", however it writes it."""
    code, epsg = (item.properties.get(name) for name in ("proj:code", "proj:epsg"))
    if not code and epsg:
        code = f"EPSG:{epsg:.0f}" if isinstance(epsg, float) else f"EPSG:{epsg}"
    if not code:
        return None
    found = next((match for form in _CODES if (match := form.fullmatch(str(code)))), None)
    if found is None:
        raise item.broken(f"its proj:code is not a code such as EPSG:32651: {code!r}")
    return f"{found[1].upper()}:{found[2]}"


def _proj_transform(item: Item, asset: str) -> tuple[float, ...] | None:
    name = "proj:transform"
    found = item.assets[asset].get(name) or item.properties.get(name)
    if not found:
        return None
    try:
        numbers = tuple(float(number) for number in found)
    except (TypeError, ValueError):
        raise item.broken(f"its {name} is not made of numbers: {found!r}") from None
    if not all(map(math.isfinite, numbers)):
        raise item.broken(f"its {name} is not made of finite numbers: {found!r}")
    if len(numbers) not in (6, 9):
        raise item.broken(f"its {name} has {len(numbers)} numbers, not 6 or 9")
    return numbers[:6]


def _attribution(properties: Document, collection: Document) -> str:
    providers = properties.get("providers") or collection.get("providers") or []
    names = ", ".join(str(provider.get("name")) for provider in providers)
    licence = properties.get("license") or collection.get("license") or "not stated"
    return f"{names or collection['id']} (licence: {licence})"


def _nothing(
    source: StacSource,
    query: Query,
    collection: Document,
    aoi: AreaOfInterest,
    bands: Sequence[str] = (),
    lacks_bands: CatalogError | None = None,
) -> CatalogError:
    """Why a search found no item with any of the `bands`: the area, the dates, the filter, or,
    where there are other items but none with bands at any time, `lacks_bands`."""
    times: list[str] = []
    timely = False
    for item in source.items(Query(query.collection, query.area)):
        if bands and not _has_any(item, bands):
            continue
        times += item.times
        timely = timely or query.meets_time(item)
    if not times and lacks_bands is not None:
        return lacks_bands
    if not times:
        return CatalogError(
            f"area {aoi.name} lies outside collection {query.collection}{_extent(collection)}. "
            "Set --aoi to an area there."
        )
    if timely and query.filter:
        return CatalogError(
            f"collection {query.collection} has items over area {aoi.name} in {query.interval}, "
            f"but none that meets {query.filter.text!r}. Set another search.filter."
        )
    return NoImageryError(
        f"collection {query.collection} has no item over area {aoi.name} in {query.interval}; its "
        f"dates there run from {min(times)[:10]} to {max(times)[:10]}. Set other dates."
    )


def _extent(collection: Document) -> str:
    """Where the collection says that it lies, for a message."""
    boxes = ((collection.get("extent") or {}).get("spatial") or {}).get("bbox")
    if not boxes:
        return ""
    box = boxes[0]
    west, south, east, north = box if len(box) == 4 else [box[0], box[1], box[3], box[4]]
    return f", whose items lie within ({west:g}, {south:g}, {east:g}, {north:g})"


def _no_band(search: SearchConfig, known: Iterable[str], bands: Sequence[str]) -> CatalogError:
    return CatalogError(
        f"collection {search.collection} has no band {', '.join(map(repr, bands))}; "
        f"it has: {', '.join(known)}. Set search.bands to bands of these."
    )
