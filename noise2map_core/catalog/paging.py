"""All items of a search of a STAC API, or a refusal: by the way of asking that its server takes.

Servers differ: some refuse POST, long outlines or large pages, some end their pages early. What is
asked for is made simpler and smaller until it is answered; an answer that is not whole is asked
for in parts, halves of the time, then of the area, and the parts are joined by the items' ids.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import requests
import shapely
from pystac_client import Client, ItemSearch
from pystac_client.conformance import ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.item import Document
from noise2map_core.catalog.parts import Part, is_beside, simplified
from noise2map_core.catalog.query import Query
from noise2map_core.runtime.errors import CatalogError

PAGE_ITEMS = 100
MIN_PAGE_ITEMS = 10
"""Smaller pages are not tried."""
MAX_ITEMS = 1_000_000
"""Of one search."""
MAX_EMPTY_PAGES = 100
"""Pages without an item, one after another, each with a further one."""
MAX_PARTS = 1000
"""Into which a search is cut whose answers are not whole."""
MAX_OUTLINE = 2000
"""Characters of an outline in a URL; a longer one is replaced by its box."""

TOO_LONG = (413, 414, 431)
REFUSED = (400, 401, 403, 404, 405, 406, 411, 415, 422, 501)
"""What servers answer that take searches by another method, or by a box alone."""
OVERLOADED = (408, 413, 500, 502, 503, 504, 507)
"""What servers answer to which a page is too large."""


BOX = 2
"""The plainest outline."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What the pages of a part held."""

    items: dict[str, Document]
    """By id."""
    returned: int
    """With items that came twice."""
    matched: int | None
    """How many there are, as the server says; None: it does not, or says less than it gave."""
    last: int
    """Items of the last page."""
    limit: int
    """Items asked for a page."""
    paged: bool
    """True if any page named a next one."""
    circular: bool
    """True if a page named as the next one that was there before, or pages stayed empty."""

    @property
    def whole(self) -> bool:
        """True unless the server says, or a full page lets on, that there is more."""
        if self.matched is not None and len(self.items) >= self.matched:
            return True
        if self.circular:
            return False
        if self.matched is not None:
            return not self.paged and self.returned >= self.matched
        return self.paged or self.last < self.limit

    @property
    def doubtful(self) -> bool:
        """True if it ends where an answer that was cut would end: at a full page, or, by a server
        that says nothing of the number and of pages, at a round number."""
        round_number = self.matched is None and not self.paged and self.last % 10 == 0
        return self.last > 0 and (self.last >= self.limit or round_number)

    @property
    def sure(self) -> bool:
        """True for what need not be asked for in parts."""
        return self.whole and not self.doubtful


@dataclass(frozen=True, slots=True)
class _Way:
    """How a search is asked for."""

    methods: tuple[str, ...]
    """The one that is used, then those that were not tried."""
    outline: int = 0
    """How plainly the area is drawn: 0 as it is, 1 with few corners, 2 as its box."""
    limit: int = PAGE_ITEMS

    def after(self, status: int | None) -> "_Way | None":
        """The next way to try; None if there is none."""
        if status in REFUSED and len(self.methods) > 1:
            return replace(self, methods=self.methods[1:])
        if status in TOO_LONG and self.outline < BOX:
            return replace(self, outline=self.outline + 1)
        if status in REFUSED and self.outline < BOX:
            return replace(self, outline=BOX)
        if status in OVERLOADED and self.limit > MIN_PAGE_ITEMS:
            return replace(self, limit=max(self.limit // 2, MIN_PAGE_ITEMS))
        return None


class SearchPages:
    """The search of one API, which remembers how the server wants to be asked."""

    def __init__(self, client: Client, io: StacApiIO, href: str) -> None:
        """`io` makes the requests; `href` is what the catalogue is called in messages."""
        self._client, self._io, self._href, self._parts = client, io, href, 0
        links = [link for link in client.links if link.rel == "search"]
        stated = {str(link.extra_fields.get("method", "")).upper() for link in links}
        methods = ("GET", "POST") if stated == {"GET"} else ("POST", "GET")
        self._way = _Way(methods)

    def documents(self, query: Query, area: BaseGeometry) -> list[Document]:
        """All items of a query over a part of its area, each once.

        Raises CatalogError if the server gives fewer than there are, APIError if it refuses.
        """
        self._parts = 0
        part = Part(area, query.interval)
        found = self._completed(query, part, self._batch(query, part)).values()
        asked = self._outline(area)
        return [one for one in found if not is_beside(one, area, asked)]

    def _completed(self, query: Query, part: Part, batch: Batch) -> dict[str, Document]:
        if not batch.whole and (other := self._otherwise(query, part, batch)):
            batch = other
        if batch.sure:
            return batch.items
        for halves in part.halves(list(batch.items.values())):
            batches = [self._batch(query, half) for half in halves]
            joined = {key: one for found in (batch, *batches) for key, one in found.items.items()}
            if batch.whole and len(joined) == len(batch.items) and all(one.sure for one in batches):
                return batch.items
            if all(found.items.keys() == batch.items.keys() for found in batches):
                continue  # the server does not heed it, or all items lie on both sides
            for half, found in zip(halves, batches, strict=True):
                joined |= self._completed(query, half, found)
            return joined
        if batch.whole:
            return batch.items
        raise self._short(query, batch)

    def _otherwise(self, query: Query, part: Part, batch: Batch) -> Batch | None:
        """What the method gives that was not tried, where that is more; it is kept to then."""
        if len(self._way.methods) == 1:
            return None
        before, self._way = self._way, replace(self._way, methods=self._way.methods[1:])
        try:
            found = self._batch(query, part)
        except APIError:
            found = None  # the way before does at least answer
        if found and (found.whole or len(found.items) > len(batch.items)):
            return found
        self._way = before
        return None

    def _batch(self, query: Query, part: Part) -> Batch:
        """The pages of a part, asked for in simpler and smaller ways until they come."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise CatalogError(
                f"catalogue {self._href} has to be asked in more than {MAX_PARTS} parts, for its "
                "answers are not whole. Set a smaller --aoi or a shorter range of dates."
            )
        first: APIError | None = None
        while True:
            try:
                return self._read(query, part)
            except APIError as error:
                first, way = first or error, self._way.after(_status(error))
                if way is None:
                    raise first from None
                self._way = way

    def _read(self, query: Query, part: Part) -> Batch:
        items: dict[str, Document] = {}
        returned, last, empty, matched, links = 0, 0, 0, 0, set[str]()
        circular, limit = False, self._way.limit
        for page in self._pages(query, part):
            found: list[Document] = page.get("features") or []
            items |= {_key(one, returned + number): one for number, one in enumerate(found)}
            returned, last = returned + len(found), len(found)
            matched, empty = max(matched, _matched(page)), 0 if found else empty + 1
            link = next_link(page)
            circular = link in links or empty > MAX_EMPTY_PAGES
            if circular or len(items) > MAX_ITEMS:
                break
            links |= {link} - {""}
        if len(items) > MAX_ITEMS:
            raise self._short(query, Batch(items, returned, None, last, limit, True, True))
        known = matched if matched >= len(items) and matched else None
        return Batch(items, returned, known, last, limit, bool(links), circular)

    def _pages(self, query: Query, part: Part) -> Iterator[dict[str, Any]]:
        """Page after page. A filter that the API does not know is not sent."""
        link, method = self._client.get_search_link(), self._way.methods[0]
        assert link is not None  # else it were no API
        outline = self._outline(part.area)
        boxed = outline.equals(shapely.box(*outline.bounds))
        known = query.filter and self._client.conforms_to(ConformanceClasses.FILTER)
        post = method == "POST"
        search = ItemSearch(
            link.absolute_href,
            method=method,
            client=self._client,
            collections=[query.collection],
            intersects=None if boxed and self._way.outline else shapely.geometry.mapping(outline),
            bbox=outline.bounds if boxed and self._way.outline else None,
            datetime=str(part.interval) if part.interval else None,
            filter=(query.filter.as_json() if post else query.filter.text)
            if known and query.filter
            else None,
            filter_lang=("cql2-json" if post else "cql2-text") if known else None,
            limit=self._way.limit,
        )
        return self._io.get_pages(search.url, method, search.get_parameters())

    def _outline(self, area: BaseGeometry) -> BaseGeometry:
        """What is asked for in place of an area: it covers that."""
        plain = self._way.outline
        if self._way.methods[0] == "GET" and len(shapely.to_geojson(area)) > MAX_OUTLINE:
            plain = max(plain, 1)
        return (area, simplified(area), shapely.box(*area.bounds))[plain]

    def _short(self, query: Query, batch: Batch) -> CatalogError:
        """What to say of a server that gives fewer items than there are."""
        of = f"{batch.matched:,}" if batch.matched else "an unknown number of"
        why = "its pages repeat without end" if batch.circular else "its pages end before"
        return CatalogError(
            f"catalogue {self._href} gives {len(batch.items):,} of {of} items of "
            f"{query.collection}: {why}, and it does not answer in parts. Set a smaller --aoi or a "
            "shorter range of dates, or another --catalog."
        )


def _status(error: APIError) -> int | None:
    """Of a request that was answered too late, as if a gateway had said so."""
    late = isinstance(error.__context__, requests.Timeout)
    status: int | None = getattr(error, "status_code", None)
    return 504 if late else status


def _key(document: Document, number: int) -> str:
    """The id of an item; one without is like no other."""
    return str(document.get("id") or f"\0{number}")


def _matched(page: dict[str, Any]) -> int:
    """How many items there are, as one page says it; 0: it does not."""
    context = page.get("context")
    other = context.get("matched") if isinstance(context, dict) else None
    stated = str(page.get("numberMatched", other))
    return int(stated) if stated.isdecimal() else 0


def next_link(page: dict[str, Any]) -> str:
    """What a page says of the next one, as JSON; empty: there is none."""
    links = [link for link in page.get("links") or [] if link.get("rel") == "next"]
    return json.dumps(links[0], sort_keys=True) if links else ""
