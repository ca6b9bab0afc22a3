"""A STAC collection that lists maps and grows with them."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pystac
from filelock import FileLock
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from noise2map_core.products.stac.item import KINDS, asset_key
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import OutputHeldError, OutputMismatchError
from noise2map_core.runtime.lease import EXPIRE_S, hold_lease
from noise2map_core.runtime.storage import absolute, is_local, joined, relative

LOCK_TIMEOUT_S = 60.0
WAIT_S = 0.2


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
    """List a table as an asset of a collection that is there, under its path: `x` of GeoParquet,
    `x-gpkg` and `x-pmtiles` of others."""
    with _held(path):
        document = _read(path)
        href = relative(file, path.parent)
        key = href.removesuffix(file.name) + asset_key(file.name)
        media_type, role = KINDS[file.suffix]
        document.setdefault("assets", {})[key] = {
            "href": f"./{href}", "title": title, "type": media_type, "roles": [role],
        }  # fmt: skip
        document["assets"] = dict(sorted(document["assets"].items()))
        write_atomically(path, json.dumps(document, indent=2) + "\n")


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
    """The collection of these items, as far as they are there, and of its assets."""
    found = {
        href: json.loads(place.read_text(encoding="utf-8"))
        for href in sorted(items)
        if (place := joined(path.parent, href)).is_file()
    }
    document = _collection(absolute(path).parent.name, found)
    assets = _read(path).get("assets", {}) if path.exists() else {}
    there = {key: one for key, one in assets.items() if joined(path.parent, one["href"]).is_file()}
    if there:
        document["assets"] = there
    write_atomically(path, json.dumps(document, indent=2) + "\n")


def _listed(path: Path) -> list[str]:
    """The items that a collection lists, by relative path."""
    if not path.exists():
        return []
    return [link["href"] for link in _read(path)["links"] if link["rel"] == "item"]


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["type"] == "Collection" and all(
            {"rel", "href"} <= set(link) for link in document["links"]
        ):
            return document
    except (ValueError, KeyError, TypeError):
        pass  # refused below
    raise OutputMismatchError(
        f"{path} is not a STAC collection. Set another --products.collection."
    )


def _collection(name: str, items: dict[str, dict[str, Any]]) -> dict[str, Any]:
    properties = [item["properties"] for item in items.values()]
    spatial = pystac.SpatialExtent(_boxes([item["bbox"] for item in items.values()]))
    collection = pystac.Collection(
        id=name,
        title=name,
        description="Maps made by noise2map.",
        extent=pystac.Extent(spatial, pystac.TemporalExtent([_span(properties)])),
        license="other",
        summaries=pystac.Summaries(
            {"proj:code": sorted({entry["proj:code"] for entry in properties})}
        ),
        extra_fields={"attribution": sorted({entry["attribution"] for entry in properties})},
        stac_extensions=sorted(
            {
                uri
                for item in items.values()
                for uri in item["stac_extensions"]
                if "projection" in uri
            }
        ),
    )
    document = collection.to_dict(include_self_link=False, transform_hrefs=False)
    document["links"] = [
        {"rel": "item", "href": href, "type": "application/geo+json", "title": item["id"]}
        for href, item in items.items()
    ]
    return document


def _boxes(boxes: list[list[float]]) -> list[list[float]]:
    """The box of all, and, where there are several, each of them."""
    west, south, east, north = zip(*boxes, strict=True)
    whole = [min(west), min(south), max(east), max(north)]
    return [whole, *boxes] if len(boxes) > 1 else [whole]


def _span(properties: Iterable[dict[str, Any]]) -> list[Any]:
    """First and last time of all items."""
    times = [
        pystac.utils.str_to_datetime(entry[key])
        for entry in properties
        for key in ("datetime", "start_datetime", "end_datetime")
        if entry.get(key)
    ]
    return [min(times), max(times)]
