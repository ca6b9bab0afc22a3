"""Finished outputs to publish, publishers that are killed, and readers that follow links alone."""

import json
import os
import posixpath
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.mapping.overviews import STATED, overviews_digest, write_overviews
from noise2map_core.products.bundle import product_files, write_products
from noise2map_core.products.manifest import stated_of, write_manifest
from noise2map_core.products.subject import MapSubject
from noise2map_core.publishing.layout import iter_parts, lay_out
from noise2map_core.publishing.publish import publish
from noise2map_core.publishing.target import Target
from noise2map_core.runtime.storage import location
from noise2map_core.settings.products import ProductsConfig
from tests.map_factories import blobs, subject_of, write_mosaic

SHAPE = (100, 140)
Read = Callable[[str], bytes | None]
"""The bytes at a key of a publication, None if there are none."""


def finish(
    folder: Path, subject: MapSubject, seed: int = 0, collection: Path | None = None
) -> None:
    """An output as infer-region leaves it: mosaic, ledger, products, manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    mosaic = write_mosaic(folder / "mosaic.zarr", blobs(*SHAPE, seed=seed))
    write_overviews(mosaic)
    mosaic.finish()
    tiles = list(mosaic.grid.tiles())
    Ledger(folder).append(
        [
            TileRecord(tile.row, tile.col, f"{seed}", "done", digest=mosaic.digest(tile))
            for tile in tiles
        ],
        1,
    )
    config = ProductsConfig(collection=collection)
    write_products(mosaic, subject, config)
    seal(mosaic, subject, config, len(tiles))


def seal(mosaic: Mosaic, subject: MapSubject, config: ProductsConfig, tiles: int) -> None:
    """Write the manifest."""
    facts = {
        "tiles": {"total": tiles}, "holes": [], "stride_px": 32,
        "mosaic_metadata_sha256": mosaic.metadata_digest(),
        STATED: overviews_digest(mosaic),
    }  # fmt: skip
    output = mosaic.path.parent
    products = {name: stated_of(output / name) for name in product_files(mosaic, subject, config)}
    write_manifest(output, "key", products, facts)


def subject_on(scenes: Path, day: int = 0, name: str = "farm") -> MapSubject:
    """Of an area, `day` days after the first."""
    found = subject_of(scenes, *SHAPE, name)
    later = [replace(one, datetime=one.datetime + timedelta(days=day)) for one in found.after]
    return replace(found, after=later)


def by_hand(place: Path) -> Read:
    """Reads a folder."""

    def read(key: str) -> bytes | None:
        path = place / key
        return path.read_bytes() if path.is_file() else None

    return read


def seen(read: Read, entry: str) -> dict[str, Any]:
    """All that is found from the entry on: the digest of each file by its name, of each item.

    Every link must lead to something, and every file must be what its item says; `{}` if nothing
    is published yet.
    """
    body = read(entry)
    if body is None:
        return {}
    document = json.loads(body)
    if document["type"] == "Feature":
        return {"": _files(read, entry, document)}
    found: dict[str, Any] = {"tables": _files(read, entry, document)}
    for link in document["links"]:
        if link["rel"] in ("item", "predecessor-version"):
            key = posixpath.normpath(link["href"])
            item = json.loads(_found(read, key))
            found[item["id"]] = _files(read, key, item)
            assert {"root", "collection", "parent"} <= {one["rel"] for one in item["links"]}
    return found


def _files(read: Read, key: str, document: dict[str, Any]) -> dict[str, str]:
    folder, found = posixpath.dirname(key), {}
    for name, asset in document["assets"].items():
        href = asset["href"]
        assert not re.match("/|[a-z0-9]+:", href), href
        path = posixpath.normpath(posixpath.join(folder, href))
        if href.endswith(".zarr"):
            zarr = json.loads(_found(read, f"{path}/zarr.json"))
            assert zarr["consolidated_metadata"]["metadata"].keys() >= {"class", "probability"}
            digest = sha256(json.dumps(zarr).encode()).hexdigest()
        else:
            digest = sha256(_found(read, path)).hexdigest()
            assert asset.get("file:checksum", f"1220{digest}") == f"1220{digest}"
        found[name] = digest
    for link in document["links"]:
        if link["rel"] in ("root", "collection", "parent", "pmtiles"):
            _found(read, posixpath.normpath(posixpath.join(folder, link["href"])))
    return found


def _found(read: Read, key: str) -> bytes:
    body = read(key)
    assert body is not None, f"{key} is named and not there"
    return body


def published_keys(output: Path, scratch: Path, base_url: str = "") -> set[str]:
    """All keys of a publication but its note."""
    return {part.key for part in iter_parts(lay_out(output, scratch, base_url))}


def publish_and_die(output: Path, place: str, moment: int) -> None:
    """In a process of its own: publish until so many files were begun, then be killed."""
    put, begun = Target._put, iter(range(1_000_000))

    def put_and_die(self: Target, *given: Any) -> None:
        number = next(begun)
        if number == moment and moment % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        put(self, *given)
        if number == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    Target._put = put_and_die  # type: ignore[method-assign]
    publish(output, location(place))


def seen_while(read: Read, entry: str, change: Callable[[], None]) -> list[dict[str, Any]]:
    """What a reader who never stops finds before, during and after `change`, each once in turn."""
    found, done = [seen(read, entry)], threading.Event()

    def look() -> None:
        while not done.is_set():
            if (now := seen(read, entry)) != found[-1]:
                found.append(now)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        change()
    finally:
        done.set()
        reader.join()
    return [*found, last] if (last := seen(read, entry)) != found[-1] else found
