"""Where everything of a publication lies, and what its documents say.

A file is never replaced. Those of an item lie in a folder of their version, tables of an area in
one of their digest; a map that is made anew gets other folders. Only the document at the entry, by
which all others are found, changes its bytes, and it comes last.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from noise2map_core.products.stac.collection import ITEMS
from noise2map_core.products.stac.items_table import write_items
from noise2map_core.publishing.source import (
    VERSION_LENGTH,
    Bundle,
    Document,
    read_bundle,
    read_document,
)
from noise2map_core.runtime.digest import digest_of, file_sha256
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import size_of
from noise2map_core.viewer.page import ASSETS, FOLDER, PAGE, asset_bytes, page_text

ITEM, COLLECTION = "item.json", "collection.json"
TABLES = "files"
"""Folder of what belongs to an area and to none of its items."""
EARLIER = "predecessor-version"
METADATA = "zarr.json"
UP = {"root", "parent", "collection"}
"""Relations of links that lead to the entry."""


@dataclass(frozen=True)
class Part:
    """One file and its key at the target."""

    key: str
    file: Path

    @property
    def size(self) -> int:
        """Bytes."""
        return size_of(self.file)


@dataclass
class Publication:
    """All parts, in the order in which they may appear."""

    kind: Literal["map", "area"]
    id: str
    """What it is a publication of …"""
    ground: str
    """… and of which area."""
    entry: str
    bundles: list[Bundle] = field(default_factory=list)
    lasting: list[list[Part]] = field(default_factory=list)
    """Files that are never replaced: each list may be seen when those before it are whole."""
    last: list[Part] = field(default_factory=list)
    """The entry, and the page that reads it: replaced, one after the other."""


class _Layout:
    """Builds a publication; `scratch` takes the documents that are written for it."""

    def __init__(self, root: Path, scratch: Path, base_url: str) -> None:
        self.root, self.scratch, self.base_url = root, scratch, base_url
        self.data: list[Part] = []
        self.items: list[Part] = []
        self.bundles: dict[str, Bundle] = {}
        self.documents: dict[str, Document] = {}
        """Items as they are published, by key."""

    def bundle(self, href: str) -> Bundle:
        """The item at `href` of the root, its files added to the parts."""
        name = posixpath.normpath(href)
        if name not in self.bundles:
            found = self.bundles[name] = read_bundle(self.root, href)
            self.data += [
                Part(posixpath.join(found.place, found.version, at), file)
                for at, file in found.files.items()
            ]
        return self.bundles[name]

    def write(self, key: str, document: Document) -> Part:
        """A document under its key."""
        path = self.scratch / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        return Part(key, path)

    def settle(self, document: Document, key: str, entry: str) -> None:
        """Have the links of a document that will lie at `key` lead to the entry and to itself."""
        up = [link for link in document["links"] if link["rel"] in UP]
        for link in up:
            link["href"] = self.lead(entry, key)
        if self.base_url:
            kind = "application/geo+json" if document["type"] == "Feature" else "application/json"
            link = {"rel": "self", "href": f"{self.base_url}/{key}", "type": kind}
            document["links"] = [link, *document["links"]]

    def lead(self, target: str, key: str) -> str:
        """The link to `target` in the document at `key`."""
        if self.base_url:
            return f"{self.base_url}/{target}"
        return _relative(target, posixpath.dirname(key))

    def item(self, href: str, entry: str) -> str:
        """The key of a published item of an area, its document written."""
        bundle = self.bundle(href)
        folder = posixpath.join(bundle.place, bundle.version)
        document = deepcopy(bundle.document)
        for link in document["links"]:
            if link["rel"] == EARLIER:
                older = posixpath.normpath(posixpath.join(bundle.place, link["href"]))
                link["href"] = _relative(self.item(older, entry), folder)
        name = digest_of([document, entry, self.base_url])[:8]
        key = f"{folder}/item.{name}.json"
        if key not in self.documents:
            self.settle(document, key, entry)
            self.documents[key] = document
            self.items.append(self.write(key, document))
        return key


def lay_out(root: Path, scratch: Path, base_url: str) -> Publication:
    """What is to be published of the map or area in `root`. Raises OutputError."""
    if (root / ITEM).exists():
        found = _map(_Layout(root, scratch, base_url))
    elif (root / COLLECTION).exists():
        found = _area(_Layout(root, scratch, base_url))
    else:
        raise OutputError(
            f"{root} holds no finished map: it has neither {ITEM} nor {COLLECTION}. Give the "
            "output of infer-region, or the folder of an area that run-nightly maps."
        )
    _add_page(found, scratch)
    return found


def _map(layout: _Layout) -> Publication:
    bundle = layout.bundle(ITEM)
    document = deepcopy(bundle.document)
    document.pop("collection", None)  # it is published by itself
    document["links"] = [link for link in document["links"] if link["rel"] not in UP]
    for entry in (*document["assets"].values(), *document["links"]):
        entry["href"] = _inside(entry["href"], bundle.version)
    layout.settle(document, ITEM, ITEM)
    properties = document["properties"]
    times = [properties.get(one) for one in ("datetime", "start_datetime", "end_datetime")]
    name = f"{properties['noise2map:task']} {' '.join(filter(None, times))}"
    return Publication(
        "map", name, digest_of(document["geometry"])[:16], ITEM, [bundle],
        _in_order(layout.data), [layout.write(ITEM, document)],
    )  # fmt: skip


def _area(layout: _Layout) -> Publication:
    document = read_document(layout.root / COLLECTION)
    tables = _tables(layout, document)
    for link in document["links"]:
        if link["rel"] == "item":
            require_inside(link["href"], layout.root)
            link["href"] = "./" + layout.item(link["href"], COLLECTION)
    for entry in (*document["assets"].values(), *document["links"]):
        if entry["href"] in tables:
            entry["href"] = f"./{tables[entry['href']].key}"
    mirror = _mirror(layout, document)
    layout.settle(document, COLLECTION, COLLECTION)
    grounds = {digest_of(bundle.document["geometry"])[:16] for bundle in layout.bundles.values()}
    return Publication(
        "area", document["id"], grounds.pop() if len(grounds) == 1 else "", COLLECTION,
        list(layout.bundles.values()),
        [*_in_order([*layout.data, *tables.values()]), layout.items, mirror],
        [layout.write(COLLECTION, document)],
    )  # fmt: skip


def _tables(layout: _Layout, document: Document) -> dict[str, Part]:
    """Tables of an area, by their links, each under the digest of its bytes; not that of the items,
    which is made anew."""
    found = {}
    for href in (asset["href"] for asset in document["assets"].values()):
        require_inside(href, layout.root)
        name = posixpath.normpath(href)
        file = layout.root / name
        if posixpath.basename(name) == ITEMS:
            continue
        if not file.exists():
            raise OutputError(
                f"{file} is missing, which {COLLECTION} names. Run run-nightly again."
            )
        found[href] = Part(f"{TABLES}/{file_sha256(file)[:VERSION_LENGTH]}/{name}", file)
    return found


def _mirror(layout: _Layout, document: Document) -> list[Part]:
    """The table of the items as they are published. Its links lead from where it lies."""
    made = layout.scratch / ITEMS
    if layout.base_url:
        write_items(layout.documents, made, lambda key: f"{layout.base_url}/{key}")
    else:
        write_items({f"../../{key}": one for key, one in layout.documents.items()}, made)
    key = f"{TABLES}/{file_sha256(made)[:VERSION_LENGTH]}/{ITEMS}"
    for asset in document["assets"].values():
        if posixpath.basename(asset["href"]) == ITEMS:
            asset["href"] = f"./{key}"
    return [Part(key, made)]


def _in_order(data: list[Part]) -> list[list[Part]]:
    """What Zarr's documents speak of before them, and of these that of the store last."""
    documents = [part for part in data if posixpath.basename(part.key) == METADATA]
    roots = [part for part in documents if posixpath.dirname(part.key).endswith(".zarr")]
    inner = [part for part in documents if part not in roots]
    known = set(documents)
    return [[part for part in data if part not in known], inner, roots]


def _add_page(found: Publication, scratch: Path) -> None:
    """The viewer's page, and what it loads in a folder of its version: never one with the other's.
    The page comes behind the entry that it reads."""
    contents = {name: asset_bytes(name) for name in ASSETS}
    version = digest_of({name: content.hex() for name, content in contents.items()})
    folder = f"{FOLDER}/{version[:VERSION_LENGTH]}"
    (scratch / folder).mkdir(parents=True)
    for name, content in contents.items():
        (scratch / folder / name).write_bytes(content)
    found.lasting.append([Part(f"{folder}/{name}", scratch / folder / name) for name in ASSETS])
    text = re.sub(rf'(src|href)="{FOLDER}/', rf'\1="{folder}/', page_text(document=found.entry))
    (scratch / PAGE).write_text(text, encoding="utf-8")
    found.last.append(Part(PAGE, scratch / PAGE))


def require_inside(href: str, root: Path) -> None:
    """Raise OutputError for a link that leads out of what is published."""
    if re.match(r"[a-z][a-z0-9+.-]*:|/|\.\.(/|$)", posixpath.normpath(href)):
        raise OutputError(
            f"{root / COLLECTION} lists {href}, which lies outside of {root}. Publish these maps "
            "one by one, or keep them in one folder with the collection."
        )


def _inside(href: str, folder: str) -> str:
    """A link of a document to its own files, once these lie in `folder` beside it."""
    if re.match(r"[a-z][a-z0-9+.-]*:|/", href):
        return href
    return f"./{folder}/{posixpath.normpath(href)}"


def _relative(target: str, folder: str) -> str:
    found = posixpath.relpath(target, folder or ".")
    return found if found.startswith("..") else f"./{found}"


def iter_parts(found: Publication) -> Iterator[Part]:
    """All of them, in order."""
    for parts in (*found.lasting, found.last):
        yield from parts
