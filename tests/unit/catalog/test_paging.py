"""APIs with the manners of real ones: all items are found, or it is said that they are not."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from noise2map_core.catalog.parts import MAX_CORNERS, simplified
from noise2map_core.catalog.search import search_scenes
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.runtime import patience
from noise2map_core.runtime.errors import CatalogError
from noise2map_core.settings.catalog import SearchConfig

NUM_ITEMS = 130
AREA = AreaOfInterest("square", shapely.box(0, 0, 4, 4))
Document = dict[str, Any]


def invented(number: int, *, same_time: bool = False, same_place: bool = False) -> Document:
    """An item of a twentieth of a degree, at one of 240 days."""
    rng = np.random.default_rng(number)
    x, y = (1.0, 1.0) if same_place else rng.uniform(0.1, 3.9, 2)
    day = 5 if same_time else int(rng.integers(240))
    moment = np.datetime64("2020-01-01T10:00:00") + np.timedelta64(day, "D")
    box = shapely.box(x, y, x + 0.05, y + 0.05)
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": f"item-{number:03}", "collection": "c",
        "geometry": shapely.geometry.mapping(box), "bbox": list(box.bounds),
        "properties": {"datetime": f"{moment}Z"}, "links": [],
        "assets": {"red": {"href": f"{number}.tif"}},
    }  # fmt: skip


@dataclass
class Manners:
    """How a server answers."""

    items: list[Document] = field(default_factory=lambda: [invented(n) for n in range(NUM_ITEMS)])
    most: int = 100
    """Items of a page, whatever is asked for."""
    pages: bool = False
    """Whether there is a next page."""
    heeds: bool = True
    """Whether time and place count."""
    matched: Callable[[int], Document] = lambda count: {"numberMatched": count}
    refuses: Callable[[str, Document, int], int] = lambda method, asked, length: 0
    """A status instead of an answer, 0 for none."""
    token: Callable[[int], int] = lambda offset: offset
    page: Callable[[list[Document], int, int], list[Document]] = lambda found, offset, limit: found[
        offset : offset + limit
    ]
    empty_first: bool = False
    methods: tuple[str, ...] = ("GET", "POST")
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Document]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    manners = Manners()

    def log_message(self, *args: Any) -> None:
        """Not a word."""

    def _send(self, document: Document, status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in (self.manners.headers if status != 200 else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        address, root = urlsplit(self.path), f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
        base = {"stac_version": "1.0.0", "description": ""}
        if address.path == "/search":
            asked: Document = dict(parse_qsl(address.query))
            if "bbox" in asked:
                asked["bbox"] = [float(part) for part in asked["bbox"].split(",")]
            if "intersects" in asked:
                asked["intersects"] = json.loads(asked["intersects"])
            self._search(asked, len(self.path))
        elif address.path == "/collections/c":
            extent = {"spatial": {"bbox": [[0, 0, 4, 4]]}, "temporal": {"interval": [[None, None]]}}
            self._send({**base, "type": "Collection", "id": "c", "license": "other",
                        "extent": extent, "links": []})  # fmt: skip
        else:
            searches = [
                {"rel": "search", "href": f"{root}/search", "type": "application/geo+json",
                 "method": method} for method in self.manners.methods
            ]  # fmt: skip
            data = {"rel": "data", "href": f"{root}/collections"}
            self._send({**base, "type": "Catalog", "id": "a", "links": [data, *searches],
                        "conformsTo": ["https://api.stacspec.org/v1.0.0/item-search",
                                       "https://api.stacspec.org/v1.0.0/collections"]})  # fmt: skip

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._search(json.loads(self.rfile.read(length)), length)

    def _search(self, asked: Document, length: int) -> None:
        manners = self.manners
        manners.asked.append((self.command, asked))
        if status := manners.refuses(self.command, asked, length):
            return self._send({"code": str(status)}, status)
        found = [one for one in manners.items if not manners.heeds or _meets(one, asked)]
        limit, offset = min(int(asked.get("limit", 10)), manners.most), int(asked.get("token", 0))
        if manners.empty_first and "token" not in asked:
            limit = 0
        links: list[Document] = []
        if manners.pages and offset + limit < len(found):
            further = {**asked, "token": manners.token(offset + limit)}
            if self.command == "POST":
                links = [{"rel": "next", "href": "/search", "method": "POST", "body": further}]
            else:
                if "bbox" in further:
                    further["bbox"] = ",".join(map(str, further["bbox"]))
                if "intersects" in further:
                    further["intersects"] = json.dumps(further["intersects"])
                links = [{"rel": "next", "href": f"search?{urlencode(further)}"}]
        page = manners.page(found, offset, limit)
        self._send({"type": "FeatureCollection", "features": page, "links": links,
                    **manners.matched(len(found))})  # fmt: skip


def _meets(item: Document, asked: Document) -> bool:
    start, _, end = asked.get("datetime", "../..").partition("/")
    moment = item["properties"]["datetime"]
    if (start != ".." and moment < start) or (end != ".." and moment > end):
        return False
    area = shapely.box(*asked["bbox"]) if "bbox" in asked else None
    if "intersects" in asked:
        area = shapely.geometry.shape(asked["intersects"])
    return area is None or shapely.geometry.shape(item["geometry"]).intersects(area)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Manners], str]]:
    """Starts a server; failures are not waited out."""
    monkeypatch.setattr(patience, "BRIEF_S", 0.0)
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(patience, "MAX_PAUSE_S", 0.01)
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(manners: Manners) -> str:
        handler = type("Handler", (_Handler,), {"manners": manners})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join(10)


def found(
    url: str, when: str = "2020", area: AreaOfInterest = AREA, patience_s: float = 5.0
) -> list[str]:
    search = SearchConfig(catalog=url, collection="c", patience_s=patience_s)
    return sorted(scene.id for scene in search_scenes(search, area, when, ["red"]))


def ids(items: list[Document]) -> list[str]:
    return sorted(item["id"] for item in items)


def nothing(count: int) -> Document:
    return {}


def refuse(*methods: str, status: int) -> Callable[[str, Document, int], int]:
    return lambda method, asked, length: status if method in methods else 0


WHOLE = {
    "pages": Manners(pages=True),
    "pages without a number": Manners(pages=True, matched=nothing),
    "no next": Manners(),
    "no next, number in the context": Manners(matched=lambda n: {"context": {"matched": n}}),
    "no next, no number": Manners(matched=nothing),
    "no next, no number, pages of ten": Manners(matched=nothing, most=10),
    "a number of the page alone": Manners(matched=lambda n: {"numberMatched": min(n, 100)}),
    "a number that is text": Manners(matched=lambda n: {"numberMatched": str(n)}),
    "no next at one moment": Manners([invented(n, same_time=True) for n in range(NUM_ITEMS)]),
    "no next at one place": Manners([invented(n, same_place=True) for n in range(NUM_ITEMS)]),
    "too small a number": Manners(pages=True, matched=lambda n: {"numberMatched": n // 2}),
    "an estimate of many": Manners(
        pages=True, matched=lambda n: {"numberMatched": n + n // 10 if n > 40 else n}
    ),
    "pages that overlap": Manners(
        pages=True, page=lambda found, offset, limit: found[max(offset - 7, 0) : offset + limit]
    ),
    "pages that overlap and leave out": Manners(
        pages=True,
        page=lambda found, offset, limit: found[max(offset - 7, 0) :][:limit],
    ),
    "items twice": Manners(
        pages=True,
        matched=lambda n: {"numberMatched": 2 * n},
        page=lambda found, offset, limit: found[offset : offset + limit] * 2,
    ),
    "empty first": Manners(pages=True, empty_first=True),
    "tokens in a circle": Manners(pages=True, token=lambda offset: min(offset, 100)),
    "tokens in a circle, no number": Manners(
        pages=True, token=lambda offset: min(offset, 100), matched=nothing
    ),
    "POST without next, GET with": Manners(pages=True, refuses=refuse("POST", status=405)),
    "large pages end in 502": Manners(
        pages=True, refuses=lambda method, asked, length: 502 * (int(asked["limit"]) > 30)
    ),
    "large pages end in 500": Manners(
        pages=True, refuses=lambda method, asked, length: 500 * (int(asked["limit"]) > 10)
    ),
    "intersects is refused": Manners(
        pages=True, refuses=lambda method, asked, length: 400 * ("intersects" in asked)
    ),
    "GET alone is stated": Manners(pages=True, methods=("GET",)),
    "GET is stated and refused": Manners(
        pages=True, methods=("GET",), refuses=refuse("GET", status=405)
    ),
    **{
        f"POST is refused with {status}": Manners(pages=True, refuses=refuse("POST", status=status))
        for status in (400, 403, 405, 501)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_all_items_are_found_whatever_the_manners(
    name: str, serve: Callable[[Manners], str]
) -> None:
    manners = WHOLE[name]
    assert found(serve(manners)) == ids(manners.items)
    assert len(manners.asked) < 400


def test_open_dates_are_cut_too(serve: Callable[[Manners], str]) -> None:
    manners = Manners()
    assert found(serve(manners), "2020-02-01/..") == ids(
        [one for one in manners.items if one["properties"]["datetime"] >= "2020-02-01"]
    )
    assert found(serve(Manners(matched=nothing)), "../2020-08-30") == ids(manners.items)


def test_a_server_that_heeds_no_dates_gives_those_asked_for(
    serve: Callable[[Manners], str],
) -> None:
    manners = Manners(heeds=False, pages=True)
    chosen = [one for one in manners.items if "2020-03" in one["properties"]["datetime"]]
    assert 0 < len(chosen) < 100 and found(serve(manners), "2020-03") == ids(chosen)


@pytest.mark.parametrize(
    ("manners", "said"),
    [
        (Manners(heeds=False), "gives 100 of 130 items of c: its pages end before"),
        (Manners(heeds=False, matched=nothing), "100 of an unknown number of items"),
        (Manners(heeds=False, pages=True, token=lambda _: 0, matched=nothing), "without end"),
        (Manners([invented(3) | {"id": str(n)} for n in range(150)]), "gives 100 of 150"),
        (Manners(pages=True, page=lambda found, o, n: found[o : o + n][:-1]), r"gives \d+ of"),
    ],
)
def test_what_is_not_whole_is_refused(
    manners: Manners, said: str, serve: Callable[[Manners], str]
) -> None:
    with pytest.raises(CatalogError, match=said) as refused:
        found(serve(manners))
    assert "Set a smaller --aoi" in str(refused.value) and len(manners.asked) < 1000


def test_a_refusal_that_nothing_helps_against_is_the_first_one(
    serve: Callable[[Manners], str],
) -> None:
    refuses = {"POST": 403, "GET": 405}
    with pytest.raises(CatalogError, match="HTTP 403"):
        found(serve(Manners(refuses=lambda method, asked, length: refuses[method])))


def jagged(corners: int) -> shapely.Polygon:
    """A coast of many corners around the middle of the area."""
    turn = np.linspace(0, 2 * np.pi, corners)
    reach = 1.2 * (1 + 0.2 * np.sin(40 * turn))
    return shapely.Polygon(np.c_[2 + reach * np.cos(turn), 2 + reach * np.sin(turn)])


@pytest.mark.parametrize("post", [True, False])
def test_an_area_that_is_too_large_a_body_is_asked_for_more_plainly(
    post: bool, serve: Callable[[Manners], str]
) -> None:
    area = AreaOfInterest("jagged", jagged(3000))
    too_large = 413 if post else 414
    manners = Manners(
        pages=True,
        methods=("POST", "GET") if post else ("GET",),
        refuses=lambda method, asked, length: too_large * (length > 4000),
    )
    expected = [
        one for one in manners.items
        if shapely.geometry.shape(one["geometry"]).intersects(area.geometry)
    ]  # fmt: skip
    assert 20 < len(expected) < 200
    assert found(serve(manners), area=area) == ids(expected)


@given(st.integers(0, 10_000), st.integers(5, 4000), st.floats(1e-4, 40))
@settings(max_examples=20, deadline=None)
def test_a_plainer_outline_covers_the_area_with_few_corners(
    seed: int, corners: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    turn = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = size * rng.uniform(0.3, 1, corners)
    area = shapely.Polygon(np.c_[10 + reach * np.cos(turn), 5 + reach * np.sin(turn)]).buffer(0)
    outline = simplified(area)
    assert outline.buffer(1e-9).covers(area)
    assert shapely.get_num_coordinates(outline) <= MAX_CORNERS


def test_a_server_that_asks_to_wait_is_waited_for_with_a_word(
    serve: Callable[[Manners], str], capsys: pytest.CaptureFixture[str]
) -> None:
    manners = Manners(pages=True, headers={"Retry-After": "1"})
    manners.refuses = lambda method, asked, length: 429 * (len(manners.asked) < 2)
    assert found(serve(manners)) == ids(manners.items)
    assert "waiting 1.0 s for http://127.0.0.1" in (said := capsys.readouterr().err)
    assert "HTTP 429, Too Many Requests" in said


@pytest.mark.parametrize("after", ["100000", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_server_that_asks_to_wait_for_longer_than_there_is_patience_is_not_waited_for(
    after: str, serve: Callable[[Manners], str]
) -> None:
    manners = Manners(refuses=lambda *_: 503, headers={"Retry-After": after})
    with pytest.raises(CatalogError, match="503"):
        found(serve(manners), patience_s=2.0)
