"""STAC catalogues: an API, static files on disk or on the web, or a table in stac-geoparquet.

Documents stay plain dictionaries. An item is handed on with the address that it was read from, to
which its relative links refer.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urljoin

import numpy as np
import pystac
import shapely
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.access import TIMEOUT_S, WarySession
from noise2map_core.catalog.geoparquet import GeoParquetCatalog
from noise2map_core.catalog.item import Document, Item
from noise2map_core.catalog.links import is_remote, require_public, resolve
from noise2map_core.catalog.paging import SearchPages, next_link
from noise2map_core.catalog.query import Query, unknown_collection
from noise2map_core.runtime.errors import CatalogError, Noise2MapError
from noise2map_core.runtime.storage import local_path
from noise2map_core.settings.catalog import PATIENCE_S

MAX_DEPTH = 20
"""Catalogues within catalogues; more is a chain without end."""
MAX_DOCUMENTS = 1_000_000
"""Documents of one search."""
CELL_DEGREES = 10.0
"""Areas wider or taller than this are searched for cell by cell: APIs time out on large ones."""
UNKNOWN_STATUS = (400, 403, 404)
"""What APIs answer when asked for a collection that they do not have."""


class StacSource(Protocol):
    """A catalogue in which one collection can be searched."""

    def collection(self, name: str) -> Document:
        """The collection's document. Raises CatalogError, listing what there is."""

    def items(self, query: Query) -> Iterator[Item]:
        """Items that meet the query, as they are read, in any order."""


def open_catalog(
    catalog: str, allow_hosts: Iterable[str] = (), patience_s: float = PATIENCE_S
) -> StacSource:
    """The catalogue at a path or URL: a table if it ends in ".parquet", an API if it links to a
    search, else static files.

    Raises CatalogError if it cannot be reached or is no STAC catalogue.
    """
    href = catalog if is_remote(catalog) else _local(catalog)
    if href.endswith(".parquet"):
        return GeoParquetCatalog(href, allow_hosts, patience_s)
    io = _WaryIO(href, frozenset(allow_hosts), patience_s)
    root = read_document(io, href)
    if root.get("type") not in ("Catalog", "Collection") or not _has_links(root):
        raise CatalogError(
            f"catalogue {catalog} is not a STAC catalogue: its type is {root.get('type')!r}. "
            "Set --catalog to a STAC API or to a catalog.json."
        )
    if any(link.get("rel") == "search" for link in root["links"]):
        return _StacApi(href, io)
    return _StaticCatalog(href, io, root)


def _local(catalog: str) -> str:
    try:
        return str(Path(local_path(catalog)).expanduser().resolve())
    except ValueError as error:
        raise CatalogError(f"catalogue {error}. Check --catalog.") from None


def read_document(io: StacApiIO, href: str) -> Document:
    """One JSON document. Raises CatalogError if it cannot be reached or is not JSON."""
    try:
        text = io.request(href) if is_remote(href) else Path(href).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CatalogError(f"catalogue {href} does not exist. Check --catalog.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"catalogue {href} cannot be read: {error}. Check --catalog.") from error
    except APIError as error:
        raise unreachable(href, error) from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise not_json(href, text) from None
    if not isinstance(document, dict):
        raise CatalogError(f"catalogue {href} is not a STAC document. Check --catalog.")
    return document


def _has_links(document: Document) -> bool:
    links = document.get("links")
    return isinstance(links, list) and all(map(_is_link, links))


def _is_link(link: Any) -> bool:
    return isinstance(link, dict) and isinstance(link.get("href"), str)


def endless(href: str, reached: str) -> CatalogError:
    """What to say of a catalogue that goes on and on."""
    return CatalogError(
        f"catalogue {href} does not end: {reached} were read. Set --catalog to a part of it, or "
        "mend the catalogue."
    )


def not_json(href: str, text: str) -> CatalogError:
    """What to say when the answer is no JSON, but a login page, say."""
    kind = "HTML" if text.lstrip()[:1] == "<" else "something other than JSON"
    return CatalogError(
        f"catalogue {href} answers with {kind}, not STAC. Set --catalog to the API's root or to a "
        "catalog.json; a browser's address of it will not do."
    )


def unreachable(href: str, error: APIError) -> CatalogError:
    """What to say when a request failed."""
    status = getattr(error, "status_code", None)
    cause = str(error).rsplit(": ", 1)[-1].strip("()\"' ")
    reason = f"answers HTTP {status}" if status else f"cannot be reached: {cause}"
    return CatalogError(f"catalogue {href} {reason}. Check --catalog and the network.")


class _WaryIO(StacApiIO):
    """Requests of pystac-client, which also follows the links that an API gives it."""

    def __init__(self, root: str, allowed: frozenset[str], patience_s: float) -> None:
        super().__init__(timeout=TIMEOUT_S, max_retries=None)
        self.session = WarySession(allowed, patience_s=patience_s)
        self._root, self.allowed = root, allowed

    def request(self, href: str, *args: Any, **kwargs: Any) -> str:
        if is_remote(self._root):
            require_public(href, self._root, f"catalogue {self._root}", self.allowed)
        try:
            return super().request(href, *args, **kwargs)
        except APIError as error:
            if isinstance(error.__context__, Noise2MapError):
                raise error.__context__ from None
            raise

    def get_pages(
        self, url: str, method: str | None = None, parameters: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Page after page, those without an item too; a `next` refers to the page that names it."""
        page = self.read_json(url, method=method, parameters=parameters)
        asked: set[str] = set()
        while True:
            yield page
            link = next_link(page)
            if not link or link in asked:
                return
            if len(asked) == MAX_DOCUMENTS:
                raise endless(url, f"{len(asked)} pages")
            asked.add(link)
            target = json.loads(link)
            url = urljoin(url, target["href"])
            page = self.read_json(
                pystac.Link.from_dict(target | {"href": url}), parameters=parameters
            )


class _StaticCatalog:
    """Linked JSON files: all items of a collection are read at every search."""

    def __init__(self, href: str, io: _WaryIO, root: Document) -> None:
        self._href, self._io, self._root = href, io, root
        self._found: dict[str, tuple[str, Document]] = {}

    def collection(self, name: str) -> Document:
        for href, document in self._walk(self._href, self._root):
            if document.get("type") == "Collection":
                self._found[str(document.get("id"))] = href, document
        if name not in self._found:
            raise unknown_collection(name, self._href, self._found)
        return self._found[name][1]

    def items(self, query: Query) -> Iterator[Item]:
        for href, document in self._walk(*self._found[query.collection]):
            for link in self._links(href, document, "item"):
                item = Item(read_document(self._io, link), link, self._io.allowed)
                if query.matches(item):
                    yield item

    def _walk(self, href: str, document: Document) -> Iterator[tuple[str, Document]]:
        """This document and all catalogues and collections under it, each once.

        Raises CatalogError for catalogues within catalogues without end.
        """
        todo, seen = deque([(0, href, document)]), {href}
        while todo:
            depth, href, document = todo.popleft()
            yield href, document
            for link in self._links(href, document, "child"):
                if depth == MAX_DEPTH or len(seen) == MAX_DOCUMENTS:
                    raise endless(self._href, f"{depth} levels and {len(seen)} documents")
                if link not in seen:
                    seen.add(link)
                    todo.append((depth + 1, link, read_document(self._io, link)))

    def _links(self, href: str, document: Document, rel: str) -> list[str]:
        links = document.get("links", [])
        if not _has_links({"links": links}):
            raise CatalogError(f"catalogue {href} has links without a href. Mend the catalogue.")
        wanted = [link["href"] for link in links if link.get("rel") == rel]
        return [resolve(link, href, f"a {rel} link", self._io.allowed) for link in wanted]


class _StacApi:
    """A STAC API, searched by pystac-client."""

    def __init__(self, href: str, io: _WaryIO) -> None:
        self._href, self._allowed = href, io.allowed
        with _answering(href):
            self._client = Client.open(href, stac_io=io)
        self._client.add_conforms_to("ITEM_SEARCH")  # it has the link, whatever it says of itself
        self._pages = SearchPages(self._client, io, href)

    def collection(self, name: str) -> Document:
        with _answering(self._href):
            found = self._find(name)
            if found is None:
                known = [collection.id for collection in self._client.get_collections()]
                raise unknown_collection(name, self._href, known)
        document: Document = found.to_dict(include_self_link=False, transform_hrefs=False)
        return document

    def items(self, query: Query) -> Iterator[Item]:
        seen: set[str] = set()
        with _answering(self._href):
            for cell in cells(query.area):
                for document in self._pages.documents(query, cell):
                    address = self._address(query.collection, document)
                    item = Item(document, address, self._allowed)
                    if item.id not in seen and query.meets_time(item) and query.filtered(item):
                        seen.add(item.id)
                        yield item

    def _find(self, name: str) -> pystac.Collection | None:
        try:
            return self._client.get_collection(name)
        except APIError as error:
            if getattr(error, "status_code", None) not in UNKNOWN_STATUS:
                raise
            return None

    def _address(self, name: str, document: Document) -> str:
        links = document.get("links", [])
        found = [link["href"] for link in links if link.get("rel") == "self"]
        id_ = quote(str(document.get("id")), safe="")
        own = f"{self._href.rstrip('/')}/collections/{name}/items/{id_}"
        owner = f"the self link of item {document.get('id')}"
        return resolve(found[0] if found else own, self._href, owner, self._allowed)


@contextmanager
def _answering(href: str) -> Iterator[None]:
    """Name the catalogue when pystac-client cannot make sense of it."""
    try:
        yield
    except APIError as error:
        raise unreachable(href, error) from error
    except json.JSONDecodeError as error:
        raise not_json(href, error.doc) from error
    except RecursionError as error:
        raise not_json(href, "") from error


def cells(area: BaseGeometry) -> list[BaseGeometry]:
    """Parts of `area` no larger than CELL_DEGREES, cut along whole multiples of it."""
    west, south, east, north = area.bounds
    if max(east - west, north - south) <= CELL_DEGREES:
        return [area]
    columns, rows = (
        np.arange(np.floor(low / CELL_DEGREES), np.ceil(high / CELL_DEGREES)) * CELL_DEGREES
        for low, high in ((west, east), (south, north))
    )
    corners = [(x, y) for y in rows for x in columns]
    parts = [area & shapely.box(x, y, x + CELL_DEGREES, y + CELL_DEGREES) for x, y in corners]
    return [part for part in parts if part.area > 0]
