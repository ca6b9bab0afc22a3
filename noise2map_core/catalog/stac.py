"""STAC catalogues: an API, or static files on disk or on the web.

Documents stay plain dictionaries. An item is handed on with the address that it was read from, to
which its relative links refer.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import pystac
import shapely
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from urllib3.util.retry import Retry

from noise2map_core.catalog.interval import Interval, parse_time
from noise2map_core.errors import CatalogError

TIMEOUT_S = (10.0, 60.0)
"""Seconds to connect, and between two packets of an answer."""

RETRY = Retry(
    total=2, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), allowed_methods=None
)
REMOTE_SCHEMES = ("http", "https", "s3", "gs")
PAGE_ITEMS = 100
UNKNOWN_STATUS = (400, 403, 404)
"""What APIs answer when asked for a collection that they do not have."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """A STAC item as it was read."""

    document: Document
    href: str
    """Absolute path or URL of the document; asset links refer to it."""

    @property
    def id(self) -> str:
        """The item's id, or where it lies if it has none."""
        return str(self.document.get("id") or self.href)

    @property
    def geometry(self) -> BaseGeometry:
        """Footprint in EPSG:4326. Raises CatalogError if there is none, or a broken one."""
        try:
            return shape(self.document["geometry"])
        except (KeyError, TypeError, AttributeError, ValueError, shapely.errors.ShapelyError):
            raise CatalogError(
                f"item {self.id} has no usable geometry ({self.href}). Mend the catalogue."
            ) from None

    @property
    def times(self) -> tuple[str, str]:
        """Start and end as written; equal for a single moment."""
        properties = self.document.get("properties") or {}
        moment = properties.get("datetime")
        start, end = (properties.get(name) for name in ("start_datetime", "end_datetime"))
        if start and end:
            return str(start), str(end)
        if not moment:
            raise CatalogError(
                f"item {self.id} has neither a datetime nor a start and end ({self.href}). "
                "Mend the catalogue."
            )
        return str(moment), str(moment)

    def resolve(self, href: str) -> str:
        """Absolute form of one of this item's links."""
        return resolve(href, self.href, f"item {self.id}")


class StacSource(Protocol):
    """A catalogue in which one collection can be searched."""

    def collection(self, name: str) -> Document:
        """The collection's document. Raises CatalogError, listing what there is."""

    def items(self, name: str, area: BaseGeometry, interval: Interval | None) -> Iterator[Item]:
        """Items of collection `name` that meet `area` and `interval`, in any order."""


def open_catalog(catalog: str) -> StacSource:
    """The catalogue at a path or URL: an API if it links to a search, else static files.

    Raises CatalogError if it cannot be reached or is no STAC catalogue.
    """
    href = catalog if is_remote(catalog) else str(Path(catalog).expanduser().resolve())
    io = StacApiIO(timeout=TIMEOUT_S, max_retries=RETRY)
    root = read_document(io, href)
    if root.get("type") not in ("Catalog", "Collection") or "links" not in root:
        raise CatalogError(
            f"catalogue {catalog} is not a STAC catalogue: its type is {root.get('type')!r}. "
            "Set --catalog to a STAC API or to a catalog.json."
        )
    if any(link.get("rel") == "search" for link in root["links"]):
        return _StacApi(href, io)
    return _StaticCatalog(href, io, root)


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
    except ValueError:
        raise not_json(href, text) from None
    if not isinstance(document, dict):
        raise CatalogError(f"catalogue {href} is not a STAC document. Check --catalog.")
    return document


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


def is_remote(href: str) -> bool:
    """True for addresses that a local path cannot have."""
    return urlsplit(href).scheme in REMOTE_SCHEMES


def resolve(href: str, base: str, owner: str) -> str:
    """Absolute form of `href`, found in the document at `base`.

    A document from the web may name only the web: raises CatalogError if it names a local file.
    """
    if is_remote(href):
        return href
    if not is_remote(base):
        local = href.removeprefix("file://")
        return str((Path(base).parent / local).resolve())
    depth = len(urlsplit(base).path.strip("/").split("/")) - 1
    climbs = href.split("/").count("..")
    if href.startswith(("/", "\\")) or ":" in href.split("/")[0] or climbs > depth:
        raise CatalogError(
            f"{owner} of a catalogue on the web points to a local file: {href}. Its links must be "
            "URLs, or relative to the item."
        )
    return urljoin(base, href)


class _StaticCatalog:
    """Linked JSON files: all items of a collection are read at every search."""

    def __init__(self, href: str, io: StacApiIO, root: Document) -> None:
        self._href, self._io, self._root = href, io, root
        self._found: dict[str, tuple[str, Document]] = {}

    def collection(self, name: str) -> Document:
        for href, document in self._walk(self._href, self._root):
            if document.get("type") == "Collection":
                self._found[str(document.get("id"))] = href, document
        if name not in self._found:
            raise _unknown_collection(name, self._href, self._found)
        return self._found[name][1]

    def items(self, name: str, area: BaseGeometry, interval: Interval | None) -> Iterator[Item]:
        for href, document in self._walk(*self._found[name]):
            for link in self._links(href, document, "item"):
                item = Item(read_document(self._io, link), link)
                if item.geometry.intersects(area) and _within(item, interval):
                    yield item

    def _walk(self, href: str, document: Document) -> Iterator[tuple[str, Document]]:
        """This document and all catalogues and collections under it, each once."""
        todo, seen = [(href, document)], {href}
        while todo:
            href, document = todo.pop(0)
            yield href, document
            for link in self._links(href, document, "child"):
                if link not in seen:
                    seen.add(link)
                    todo.append((link, read_document(self._io, link)))

    def _links(self, href: str, document: Document, rel: str) -> list[str]:
        links = [link["href"] for link in document.get("links", []) if link.get("rel") == rel]
        return [resolve(link, href, f"a {rel} link") for link in links]


class _StacApi:
    """A STAC API, searched by pystac-client."""

    def __init__(self, href: str, io: StacApiIO) -> None:
        self._href = href
        with _answering(href):
            self._client = Client.open(href, stac_io=io)
        self._client.add_conforms_to("ITEM_SEARCH")  # it has the link, whatever it says of itself

    def collection(self, name: str) -> Document:
        with _answering(self._href):
            found = self._find(name)
            if found is None:
                known = [collection.id for collection in self._client.get_collections()]
                raise _unknown_collection(name, self._href, known)
        document: Document = found.to_dict(include_self_link=False, transform_hrefs=False)
        return document

    def items(self, name: str, area: BaseGeometry, interval: Interval | None) -> Iterator[Item]:
        search = self._client.search(
            collections=[name],
            intersects=shapely.geometry.mapping(area),
            datetime=str(interval) if interval else None,
            limit=PAGE_ITEMS,
        )
        with _answering(self._href):
            documents = list(search.items_as_dicts())
        for document in documents:
            yield Item(document, self._address(name, document))

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
        own = f"{self._href.rstrip('/')}/collections/{name}/items/{document.get('id')}"
        return found[0] if found and is_remote(found[0]) else own


@contextmanager
def _answering(href: str) -> Iterator[None]:
    """Name the catalogue when pystac-client cannot make sense of it."""
    try:
        yield
    except APIError as error:
        raise unreachable(href, error) from error
    except json.JSONDecodeError as error:
        raise not_json(href, error.doc) from error


def _within(item: Item, interval: Interval | None) -> bool:
    if interval is None:
        return True
    start, end = item.times
    try:
        return interval.overlaps(parse_time(start), parse_time(end))
    except ValueError as error:
        raise CatalogError(f"item {item.id}: {error} ({item.href}). Mend the catalogue.") from error


def _unknown_collection(name: str, href: str, known: Any) -> CatalogError:
    names = ", ".join(sorted(known)) or "none"
    return CatalogError(
        f"catalogue {href} has no collection {name!r}. Set --collection to one of: {names}."
    )
