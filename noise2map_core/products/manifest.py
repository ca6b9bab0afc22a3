"""The manifest of a run: what was made, from what, by what, and how long it took."""

import json
from collections.abc import Iterable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from noise2map_core import __version__
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.mapper import Beside
from noise2map_core.runtime.redact import redacted_document
from noise2map_core.runtime.storage import read_if_there, size_of

FORMAT_VERSION = 1
NAME = "manifest.json"

Stated = dict[str, dict[str, Any]]
"""Bytes and SHA-256 of each product, by name."""


def products_are_current(output: Path, key: str, *, digests: bool = False) -> bool:
    """True if the products were made under `key` and all of them are there, of the length that they
    were written with; with `digests`, if they are read, and have the bytes."""
    manifest = read_manifest(output)
    return manifest.get("products_key") == key and all(
        product_fault(output / name, stated, digests=digests) is None
        for name, stated in manifest["products"].items()
    )


def product_fault(file: Path, stated: dict[str, Any], *, digests: bool) -> str | None:
    """What is wrong with a product, in words; None if it is the file that the manifest lists."""
    try:
        if size_of(file) == stated["bytes"] and (
            not digests or file_sha256(file) == stated["sha256"]
        ):
            return None
    except FileNotFoundError:
        return f"{file.name} is missing"
    return f"{file.name} is not the file that {NAME} lists"


def read_manifest(output: Path) -> dict[str, Any]:
    """The manifest of an output; empty if there is none, or none that can be read: the products
    are made again then."""
    body = read_if_there(output / NAME)
    try:
        manifest: dict[str, Any] = json.loads(body or "{}")
        return manifest if "products" in manifest else {}
    except (ValueError, TypeError):
        return {}


def forget_products(output: Path) -> None:
    """Have the products made again, whatever becomes of this run: their pixels were not right."""
    manifest = read_manifest(output)
    if manifest.get("products_key"):
        text = json.dumps({**manifest, "products_key": ""}, indent=2)
        write_atomically(output / NAME, text + "\n")


def stated_of(file: Path) -> dict[str, Any]:
    """What the manifest says of a product."""
    return {"bytes": size_of(file), "sha256": file_sha256(file)}


class Digests:
    """What the manifest says of products, read by tasks while others are made: SHA-256 takes the
    bytes of a file one after the other, so that a large one is begun as soon as it is there."""

    def __init__(self, beside: Beside) -> None:
        self._beside = beside
        self._begun: dict[str, Future[dict[str, Any]]] = {}

    def begin(self, file: Path) -> None:
        """Begin with a file, if it is there, which nobody changes any more."""
        if file.name not in self._begun and file.exists():
            self._begun[file.name] = self._beside.begin(stated_if_seen, file)

    def of(self, folder: Path, names: Iterable[str]) -> Stated:
        """Of files of a folder, by name."""
        wanted = list(names)
        for name in wanted:
            self.begin(folder / name)
        return {name: self._begun[name].result() for name in wanted}


def stated_if_seen(file: Path) -> dict[str, Any] | None:
    """As `stated_of`; None of a file that is not seen from here."""
    return stated_of(file) if file.exists() else None


def write_manifest(output: Path, key: str, products: Stated, facts: dict[str, Any]) -> None:
    """Write `manifest.json`, last of all; `facts` are plain values."""
    document = {
        "format_version": FORMAT_VERSION,
        "noise2map": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "products_key": key,
        "products": products,
        **facts,
    }
    write_atomically(output / NAME, json.dumps(redacted_document(document), indent=2) + "\n")
