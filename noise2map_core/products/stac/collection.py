"""A STAC collection that lists maps and grows with them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pystac
from filelock import FileLock
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from noise2map_core.products.stac.assets import KINDS, PARQUET, PMTILES, asset_key
from noise2map_core.products.stac.items_table import write_items
from noise2map_core.products.stac.terms import (
    CLASSIFICATION,
    LICENSE,
    PROCESSING,
    PROJECTION,
    RASTER,
    WEB_MAP_LINKS,
    collection_id,
    providers,
)
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import OutputHeldError, OutputMismatchError
from noise2map_core.runtime.lease import EXPIRE_S, hold_lease
from noise2map_core.runtime.storage import absolute, is_local, joined, relative

LOCK_TIMEOUT_S = 60.0
WAIT_S = 0.2
NAME, ITEMS = "collection.json", "items.parquet"
DEFINING = ("title", "description", "type", "roles", "classification:classes",
            "raster:spatial_resolution")  # fmt: skip
"""Fields of assets that tell what every item of a collection has."""

Document = dict[str, Any]


def add_to_collection(path: Path, item: Path, replaced: Iterable[Path] = ()) -> None:
    """List `item` (an item.json) in the collection at `path`, which is made if it is not there.

    Listing it again changes nothing, or takes up what is new of it; several runs may do so at once.
    Items that are gone are dropped, and those that this one has `replaced`. The collection is named
    after its folder. Raises OutputMismatchError if something else lies at `path`.
    """
    with _held(path):
        gone = {relative(one, path.parent) for one in replaced}
        _write(path, {*_listed(path), relative(item, path.parent)} - gone)


def lists(path: Path, item: Path) -> bool:
    """True if a collection lists an item."""
    return relative(item, path.parent) in _listed(path)


def add_asset(path: Path, file: Path, title: str) -> None:
    """List a table, or tiles of one, as an asset of a collection that is there."""
    with _held(path):
        document = _read(path)
        href = relative(file, path.parent)
        media_type, roles = KINDS[file.suffix]
        document.setdefault("assets", {})[_asset_key(href)] = {
            "href": f"./{href}", "title": title, "type": media_type, "roles": roles,
        }  # fmt: skip
        document["assets"] = dict(sorted(document["assets"].items()))
        _link_tiles(document)
        write_atomically(path, json.dumps(document, indent=2) + "\n")


def _asset_key(href: str) -> str:
    """objects/2025-06-20.parquet → objects/2025-06-20, changes.gpkg → changes-gpkg."""
    folder, slash, name = href.rpartition("/")
    return f"{folder}{slash}{asset_key(name)}"


def _link_tiles(document: Document) -> None:
    """A link to each archive of vector tiles among the assets, for programs that look for maps."""
    others = [link for link in document["links"] if link["rel"] != "pmtiles"]
    tiles = [one for one in document.get("assets", {}).values() if one["type"] == PMTILES]
    document["links"] = others + [
        {
            "rel": "pmtiles", "href": one["href"], "type": PMTILES, "title": one["title"],
            "pmtiles:layers": [Path(one["href"]).stem],
        }
        for one in tiles
    ]  # fmt: skip
    extensions = set(document["stac_extensions"]) - {WEB_MAP_LINKS}
    document["stac_extensions"] = sorted(extensions | ({WEB_MAP_LINKS} if tiles else set()))


def refresh_collection(path: Path) -> None:
    """Drop what a collection lists and is gone. One without any item is left as it is."""
    with _held(path):
        if any(joined(path.parent, href).is_file() for href in _listed(path)):
            _write(path, set(_listed(path)))


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Who comes second waits: for a lock on a disk, for a lease on object storage."""
    if is_local(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_TIMEOUT_S):
            yield
        return
    attempts = Retrying(
        retry=retry_if_exception_type(OutputHeldError),
        wait=wait_fixed(WAIT_S),
        stop=stop_after_delay(EXPIRE_S + LOCK_TIMEOUT_S),
        reraise=True,
    )
    with ExitStack() as stack:
        attempts(lambda: stack.enter_context(hold_lease(path.with_name(f".{path.name}"))))
        yield


def _write(path: Path, items: set[str]) -> None:
    """The collection of these items, as far as they are there, and of its assets; and before it
    the table of items."""
    found = {
        href: json.loads(place.read_text(encoding="utf-8"))
        for href in sorted(items)
        if (place := joined(path.parent, href)).is_file()
    }
    table = path.with_name(ITEMS if path.name == NAME else f"{path.stem}.{ITEMS}")
    write_items(found, table)
    document = _collection(path, found)
    assets = _read(path).get("assets", {}) if path.exists() else {}
    there = {key: one for key, one in assets.items() if joined(path.parent, one["href"]).is_file()}
    mirror = {
        "href": f"./{table.name}", "title": "All items, stac-geoparquet", "type": PARQUET,
        "roles": ["collection-mirror"],
    }  # fmt: skip
    document["assets"] = dict(sorted({**there, "items": mirror}.items()))
    _link_tiles(document)
    write_atomically(path, json.dumps(document, indent=2) + "\n")


def _listed(path: Path) -> list[str]:
    """The items that a collection lists, by relative path."""
    if not path.exists():
        return []
    return [link["href"] for link in _read(path)["links"] if link["rel"] == "item"]


def _read(path: Path) -> Document:
    try:
        document: Document = json.loads(path.read_text(encoding="utf-8"))
        if document["type"] == "Collection" and all(
            {"rel", "href"} <= set(link) for link in document["links"]
        ):
            return document
    except (ValueError, KeyError, TypeError):
        pass  # refused below
    raise OutputMismatchError(
        f"{path} is not a STAC collection. Set another --products.collection."
    )


def _collection(path: Path, items: dict[str, Document]) -> Document:
    properties = [item["properties"] for item in items.values()]
    attribution = sorted({entry["attribution"] for entry in properties})
    name = absolute(path).parent.name
    collection = pystac.Collection(
        id=collection_id(path),
        title=name,
        description="Maps made by noise2map.",
        extent=pystac.Extent(
            pystac.SpatialExtent(_boxes([item["bbox"] for item in items.values()])),
            pystac.TemporalExtent([_span(properties)]),
        ),
        license=LICENSE,
        summaries=pystac.Summaries(_summaries(properties)),
        extra_fields={
            "attribution": attribution, "providers": providers(attribution),
            "item_assets": _item_assets(items.values()),
        },
        stac_extensions=sorted(_extensions(items.values())),
    )  # fmt: skip
    document = collection.to_dict(include_self_link=False, transform_hrefs=False)
    document["links"] = [
        {"rel": "root", "href": f"./{path.name}", "type": "application/json", "title": name},
        *(
            {"rel": "item", "href": href, "type": "application/geo+json", "title": item["id"]}
            for href, item in items.items()
        ),
    ]
    return document


def _extensions(items: Iterable[Document]) -> set[str]:
    """Those of the items of which the collection holds fields."""
    used = {PROJECTION, CLASSIFICATION, RASTER, PROCESSING}
    return {uri for item in items for uri in item["stac_extensions"]} & used


def _summaries(properties: Sequence[Document]) -> Document:
    """Every value that items have of what people search by."""
    names = ("gsd", "proj:code", "processing:level", "noise2map:task")
    found = {name: {one[name] for one in properties if name in one} for name in names}
    return {name: sorted(values) for name, values in found.items() if values}


def _item_assets(items: Iterable[Document]) -> Document:
    """What assets items have: of each, the fields in which all that have it agree."""
    found: dict[str, list[Document]] = {}
    for item in items:
        for key, asset in item["assets"].items():
            found.setdefault(key, []).append(asset)
    return {key: _agreed(assets) for key, assets in sorted(found.items())}


def _agreed(assets: Sequence[Document]) -> Document:
    first, *others = assets
    same = {
        name: first[name]
        for name in DEFINING
        if name in first and all(one.get(name) == first[name] for one in others)
    }
    return same | ({"bands": _bands(first)} if "bands" in first else {})


def _bands(asset: Document) -> list[Document]:
    """Of an asset's bands what is the same in every item."""
    return [{name: band[name] for name in band if name != "statistics"} for band in asset["bands"]]


def _boxes(boxes: list[list[float]]) -> list[list[float]]:
    """The box of all, and, where there are several, each of them once."""
    west, south, east, north = zip(*boxes, strict=True)
    whole = [min(west), min(south), max(east), max(north)]
    different = sorted({tuple(box) for box in boxes})
    return [whole, *map(list, different)] if len(different) > 1 else [whole]


def _span(properties: Iterable[Document]) -> list[Any]:
    """First and last time of all items."""
    times = [
        pystac.utils.str_to_datetime(entry[key])
        for entry in properties
        for key in ("datetime", "start_datetime", "end_datetime")
        if entry.get(key)
    ]
    return [min(times), max(times)]
