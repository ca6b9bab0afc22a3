"""The STAC API of the testing server, apart from HTTP: from path, query and body to an answer."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import cql2
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.filter import PropertyFilter
from noise2map_core.runtime.errors import ConfigError

Document = dict[str, Any]

CONFORMANCE = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#filter",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
)
DEFAULT_LIMIT = 10
NOT_UNDERSTOOD = (
    ValueError, TypeError, AttributeError, shapely.errors.ShapelyError, cql2.ParseError, ConfigError
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """The body of an answer, its media type and status."""

    body: bytes
    media_type: str = "application/json"
    status: HTTPStatus = HTTPStatus.OK

    @classmethod
    def json(
        cls,
        document: Document,
        media_type: str = "application/json",
        status: HTTPStatus = HTTPStatus.OK,
    ) -> "Answer":
        """A document."""
        return cls(json.dumps(document).encode(), media_type, status)

    @classmethod
    def error(cls, status: HTTPStatus, description: str) -> "Answer":
        """The error object of the API specification."""
        return cls.json({"code": status.phrase, "description": description}, status=status)


def read_static(root: Path, files_url: str) -> tuple[list[Document], list[Document]]:
    """Collections and items of the static catalogue under `root`, their hrefs made absolute."""
    collections: list[Document] = []
    items: list[Document] = []
    waiting = [root / "catalog.json"]
    while waiting:
        path = waiting.pop(0)
        document = json.loads(path.read_text(encoding="utf-8"))
        followed = [link for link in document["links"] if link["rel"] in ("child", "item")]
        waiting += [path.parent / link["href"] for link in followed]
        for asset in document.get("assets", {}).values():
            asset["href"] = _absolute(asset["href"], path, root, files_url)
        document["links"] = [
            link | {"href": _absolute(link["href"], path, root, files_url)}
            for link in document["links"]
            if link["rel"] not in ("root", "self", "parent", "collection", "child", "item")
        ]
        if document["type"] != "Catalog":
            (collections if document["type"] == "Collection" else items).append(document)
    return collections, sorted(items, key=lambda item: (_interval(item), item["id"]), reverse=True)


def _absolute(href: str, document: Path, root: Path, files_url: str) -> str:
    if urlsplit(href).scheme:
        return href
    return f"{files_url}/{Path(os.path.normpath(document.parent / href)).relative_to(root)}"


def _interval(item: Document) -> tuple[datetime, datetime]:
    """First and last moment of an item."""
    properties = item["properties"]
    start = properties.get("start_datetime") or properties["datetime"]
    return _moment(start), _moment(properties.get("end_datetime") or start)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


class StacApi:
    """The STAC API proper: from path, query and body to an answer."""

    def __init__(
        self, url: str, collections: list[Document], items: list[Document], max_limit: int
    ) -> None:
        self.url = url
        self.collections = {one["id"]: self._linked_collection(one) for one in collections}
        self.items = [self._linked_item(item) for item in items]
        self.places = [(_interval(item), shape(item["geometry"])) for item in items]
        self.max_limit = max_limit

    def answer(self, path: str, query: str, body: bytes | None) -> Answer:
        """The answer to a GET (without `body`) or POST of one path."""
        parts = [part for part in path.split("/") if part]
        if parts == ["search"]:
            return self._answer_search(query, body)
        if body is not None:
            return Answer.error(HTTPStatus.METHOD_NOT_ALLOWED, f"POST {path} is not offered")
        match parts:
            case []:
                return Answer.json(self._landing_page())
            case ["conformance"]:
                return Answer.json({"conformsTo": list(CONFORMANCE)})
            case ["collections"]:
                found = list(self.collections.values())
                return Answer.json({"collections": found, "links": [self._link("root")]})
            case ["collections", name] if name in self.collections:
                return Answer.json(self.collections[name])
            case ["collections", name, "items"] if name in self.collections:
                return self._answer_search(f"{query}&collections={name}", None)
            case ["collections", name, "items", item_id]:
                named = [i for i in self.items if (i["collection"], i["id"]) == (name, item_id)]
                if named:
                    return Answer.json(named[0], "application/geo+json")
        return Answer.error(HTTPStatus.NOT_FOUND, f"{path} is not here")

    def _answer_search(self, query: str, body: bytes | None) -> Answer:
        try:
            asked = json.loads(body) if body is not None else dict(parse_qsl(query))
            search = _Search.parse(asked, self.max_limit)
        except NOT_UNDERSTOOD as error:
            return Answer.error(HTTPStatus.BAD_REQUEST, f"search not understood: {error}")
        known = zip(self.items, self.places, strict=True)
        found = [item for item, place in known if search.matches(item, *place)]
        page = found[search.offset : search.offset + search.limit]
        links = [self._link("root")]
        if search.offset + search.limit < len(found):
            links.append(self._next_link(asked, search, post=body is not None))
        document: Document = {"type": "FeatureCollection", "features": page, "links": links}
        document |= {"numberMatched": len(found), "numberReturned": len(page)}
        return Answer.json(document, "application/geo+json")

    def _next_link(self, asked: Document, search: "_Search", post: bool) -> Document:
        token = {"token": f"next:{search.offset + search.limit}"}
        link: Document = {"rel": "next", "type": "application/geo+json"}
        if post:
            return link | {
                "href": f"{self.url}/search", "method": "POST", "body": asked | token,
            }  # fmt: skip
        return link | {"href": f"{self.url}/search?{urlencode(asked | token)}", "method": "GET"}

    def _landing_page(self) -> Document:
        search = {"href": f"{self.url}/search", "type": "application/geo+json", "rel": "search"}
        return {
            "type": "Catalog",
            "id": "noise2map-testing",
            "stac_version": "1.1.0",
            "description": "A STAC API for tests.",
            "conformsTo": list(CONFORMANCE),
            "links": [
                self._link("root"),
                self._link("self"),
                self._link("conformance", "/conformance"),
                self._link("data", "/collections"),
                search | {"method": "GET"},
                search | {"method": "POST"},
                *(self._link("child", f"/collections/{name}") for name in self.collections),
            ],
        }

    def _link(self, rel: str, path: str = "", media_type: str = "application/json") -> Document:
        return {"rel": rel, "href": f"{self.url}{path}", "type": media_type}

    def _linked_collection(self, document: Document) -> Document:
        path = f"/collections/{document['id']}"
        own = [self._link("root"), self._link("parent"), self._link("self", path)]
        items = self._link("items", f"{path}/items", "application/geo+json")
        return document | {"links": [*own, items, *document["links"]]}

    def _linked_item(self, document: Document) -> Document:
        parent = f"/collections/{document['collection']}"
        path = f"{parent}/items/{document['id']}"
        own = [
            self._link("root"),
            self._link("parent", parent),
            self._link("collection", parent),
            self._link("self", path, "application/geo+json"),
        ]
        return document | {"links": [*own, *document["links"]]}


@dataclass(frozen=True)
class _Search:
    """What is asked of /search; GET and POST say the same in different clothes."""

    area: BaseGeometry | None
    start: datetime
    stop: datetime
    collections: frozenset[str] | None
    ids: frozenset[str] | None
    limit: int
    offset: int
    filter: PropertyFilter | None = None

    @classmethod
    def parse(cls, asked: Document, max_limit: int) -> "_Search":
        """Raises one of NOT_UNDERSTOOD for what makes no sense."""
        start, stop = _parse_interval(asked.get("datetime") or "../..")
        limit = int(asked.get("limit") or DEFAULT_LIMIT)
        if limit < 1:
            raise ValueError("limit must be at least 1")
        return cls(
            area=_prepared(_parse_area(asked)),
            start=start,
            stop=stop,
            collections=_parse_names(asked.get("collections")),
            ids=_parse_names(asked.get("ids")),
            limit=min(limit, max_limit),
            offset=int(str(asked.get("token") or "next:0").removeprefix("next:")),
            filter=_parse_filter(asked.get("filter")),
        )

    def matches(
        self, item: Document, span: tuple[datetime, datetime], footprint: BaseGeometry
    ) -> bool:
        """True if the item, of this time and place, meets every part of the search."""
        first, last = span
        return (
            first <= self.stop
            and last >= self.start
            and (self.collections is None or item["collection"] in self.collections)
            and (self.ids is None or item["id"] in self.ids)
            and (self.area is None or self.area.intersects(footprint))
            and (self.filter is None or self.filter.matches(item))
        )


def _parse_filter(expression: Document | str | None) -> PropertyFilter | None:
    """CQL2 in JSON, in which a text is in JSON too."""
    if not expression:
        return None
    text = expression if isinstance(expression, str) else json.dumps(expression)
    return PropertyFilter(cql2.parse_json(text).to_text())


def _prepared(area: BaseGeometry | None) -> BaseGeometry | None:
    if area is not None:
        shapely.prepare(area)
    return area


def _parse_area(asked: Document) -> BaseGeometry | None:
    box, outline = asked.get("bbox"), asked.get("intersects")
    if box and outline:
        raise ValueError("bbox and intersects exclude each other")
    if outline:
        return shape(json.loads(outline) if isinstance(outline, str) else outline)
    if not box:
        return None
    numbers = [float(part) for part in (box.split(",") if isinstance(box, str) else box)]
    if len(numbers) not in (4, 6):
        raise ValueError("bbox must have 4 or 6 numbers")
    half = len(numbers) // 2
    return shapely.box(numbers[0], numbers[1], numbers[half], numbers[half + 1])


def _parse_interval(text: str) -> tuple[datetime, datetime]:
    """An RFC 3339 moment or interval; ".." and nothing are open ends."""
    first, _, last = text.partition("/")
    last = last if "/" in text else first
    start = datetime.min.replace(tzinfo=UTC) if first in ("", "..") else _moment(first)
    stop = datetime.max.replace(tzinfo=UTC) if last in ("", "..") else _moment(last)
    if start.tzinfo is None or stop.tzinfo is None or start > stop:
        raise ValueError(f"datetime {text} is not an RFC 3339 interval")
    return start, stop


def _parse_names(names: str | list[str] | None) -> frozenset[str] | None:
    if not names:
        return None
    return frozenset(names.split(",") if isinstance(names, str) else names)
