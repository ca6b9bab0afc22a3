"""The same items asked for in an API, in static files and in a table."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from noise2map_core.catalog.filter import PropertyFilter
from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.search import search_scenes
from noise2map_core.catalog.stac import CELL_DEGREES, cells
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.runtime.errors import CatalogError, ConfigError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.testing.catalog import CatalogServer, serve_catalog
from noise2map_core.testing.item_table import write_item_table

NUM_ITEMS = 5000
AREA = AreaOfInterest("quarter", shapely.box(-20, -10, 15, 12))


def invented(number: int, rng: np.random.Generator) -> dict[str, Any]:
    """An item of a footprint of one degree; days repeat, so that ids must break ties."""
    x, y = rng.uniform(-40, 39), rng.uniform(-20, 19)
    day, cover = rng.integers(1, 29), float(rng.integers(0, 101))
    properties = {"datetime": f"2020-03-{day:02}T10:00:00Z", "proj:code": "EPSG:32631"}
    if number % 7:
        properties["eo:cloud_cover"] = cover
    return {
        "type": "Feature", "stac_version": "1.1.0", "stac_extensions": [],
        "id": f"item-{rng.integers(NUM_ITEMS)}-{number}", "collection": "invented",
        "geometry": shapely.geometry.mapping(shapely.box(x, y, x + 1, y + 1)),
        "bbox": [x, y, x + 1, y + 1], "properties": properties, "links": [],
        "assets": {"red": {"href": f"pixels/{number}.tif", "gsd": 30.0}},
    }  # fmt: skip


@dataclass
class Sources:
    """The three catalogues of the same items."""

    items: list[dict[str, Any]]
    static: str
    table: str
    server: CatalogServer

    def all(self) -> dict[str, str]:
        fetched = f"{self.server.url}/files/items.parquet"
        here = {"static": self.static, "api": self.server.url, "table": self.table}
        return {**here, "table of the web": fetched}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    root, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(0)
    items = [invented(number, rng) for number in range(NUM_ITEMS)]
    links = []
    for item in items:
        (root / f"{item['id']}.json").write_text(json.dumps(item))
        links.append({"rel": "item", "href": f"{item['id']}.json"})
    links += links[:3]  # linked twice
    collection = {
        "type": "Collection", "id": "invented", "stac_version": "1.1.0", "description": "",
        "license": "other", "links": links,
        "extent": {
            "spatial": {"bbox": [[-40, -20, 40, 20]]}, "temporal": {"interval": [[None, None]]}
        },
    }  # fmt: skip
    (root / "collection.json").write_text(json.dumps(collection))
    child = [{"rel": "child", "href": "collection.json"}]
    catalog = {
        "type": "Catalog",
        "id": "c",
        "stac_version": "1.1.0",
        "description": "",
        "links": child,
    }
    (root / "catalog.json").write_text(json.dumps(catalog))
    stated = {"invented": collection | {"links": []}}
    write_item_table(items[::-1], root / "items.parquet", collections=stated, group_rows=700)
    with serve_catalog(root) as server:
        yield Sources(items, str(root / "catalog.json"), str(root / "items.parquet"), server)


def found(catalog: str, interval: str = "2020", text: str | None = None) -> list[Scene]:
    search = SearchConfig(catalog=catalog, collection="invented", filter=text)
    return search_scenes(search, AREA, interval, ["red"])


def comparable(scene: Scene) -> tuple[Any, ...]:
    """All of a scene but the place that it was read from."""
    band = scene.bands[0]
    pixels = band.href.split("/pixels/")[1]
    rest = (scene.proj_code, scene.gsd, scene.cloud_cover, scene.attribution, scene.collection)
    return scene.id, scene.datetime, shapely.from_wkb(scene.footprint_wkb), pixels, *rest


def expected(sources: Sources, first_day: int = 1, cloud_below: float | None = None) -> list[str]:
    """Ids by comparing boxes and numbers, without geometry, dates or CQL2."""
    west, south, east, north = AREA.geometry.bounds
    chosen = []
    for item in sources.items:
        x, y, right, top = item["bbox"]
        moment, cover = item["properties"]["datetime"], item["properties"].get("eo:cloud_cover")
        if x > east or right < west or y > north or top < south or int(moment[8:10]) < first_day:
            continue
        if cloud_below is None or (cover is not None and cover < cloud_below):
            chosen.append((moment, item["id"]))
    return [name for _, name in sorted(chosen)]


def pages(server: CatalogServer) -> int:
    return sum(line == "POST /search" for line in server.requests)


def test_three_sources_of_5000_items_give_the_same_scenes_in_the_same_order(
    sources: Sources,
) -> None:
    ids = expected(sources, first_day=10)
    scenes = {name: found(at, "2020-03-10/2020-04-01") for name, at in sources.all().items()}
    assert len(ids) > 500 and len({scene.datetime for scene in scenes["api"]}) < 20
    for name, some in scenes.items():
        assert [scene.id for scene in some] == ids, name
    one, *others = ([comparable(scene) for scene in some] for some in scenes.values())
    assert all(one == other for other in others)
    assert pages(sources.server) > 10


def test_a_filter_chooses_alike_everywhere_and_the_api_applies_it_itself(sources: Sources) -> None:
    ids = expected(sources, cloud_below=2)
    assert 0 < len(ids) < 50
    before = pages(sources.server)
    for name, at in sources.all().items():
        assert [scene.id for scene in found(at, text="eo:cloud_cover < 2")] == ids, name
    assert pages(sources.server) - before == len(cells(AREA.geometry))  # one page each


def test_a_filter_that_nothing_meets_is_named(sources: Sources) -> None:
    with pytest.raises(CatalogError, match=r"none that meets 'eo:cloud_cover < 0'"):
        found(sources.table, text="eo:cloud_cover < 0")


@pytest.mark.parametrize(
    "text", ["eo:cloud_cover <", "eo:cloud_cover < 20; x", "&&", "cloudy", "1"]
)
def test_a_filter_that_cannot_be_read_is_a_config_error(sources: Sources, text: str) -> None:
    with pytest.raises(ConfigError, match=r"^filter .* cannot be read .*CQL2 text[^\n]*$"):
        found(sources.table, text=text)


@pytest.mark.parametrize(
    ("text", "properties", "met"),
    [
        ("a < 3 OR b < 3", {"a": 1}, True),
        ("a < 3 AND b < 3", {"a": 1}, False),
        ("NOT (b < 3)", {"a": 1}, False),
        ("b IS NULL", {"a": 1}, True),
        ("a < 3", {"a": "x"}, False),
        ("p LIKE 'land%' AND q IN ('x', 'y')", {"p": "landsat", "q": "y"}, True),
        ("datetime > DATE('2020-01-01')", {"datetime": "2021-01-01T00:00:00Z"}, True),
        ("datetime < DATE('2020-01-01')", {"datetime": "2021-01-01T00:00:00Z"}, False),
    ],
)  # fmt: skip
def test_what_an_item_lacks_meets_neither_a_comparison_nor_its_negation(
    text: str, properties: dict[str, Any], met: bool
) -> None:
    assert PropertyFilter(text).matches({"properties": properties}) is met


def test_cells_cover_the_area_once() -> None:
    area = shapely.Point(3, 4).buffer(23) - shapely.box(0, 0, 40, 2)
    parts = cells(area)
    assert len(parts) > 20
    assert sum(part.area for part in parts) == pytest.approx(area.area)
    assert shapely.union_all(parts).symmetric_difference(area).area < 1e-9
    assert all(max(np.diff(np.reshape(p.bounds, (2, 2)), axis=0)[0]) <= CELL_DEGREES for p in parts)
    assert cells(shapely.box(0, 0, 9, 9)) == [shapely.box(0, 0, 9, 9)]


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_text("no table")
    for name, message in [("a", "no column assets, bbox"), ("b", "cannot be read"), ("c", "exist")]:
        with pytest.raises(CatalogError, match=message):
            found(str(tmp_path / f"{name}.parquet"))


def test_a_collection_that_a_table_does_not_hold_is_named(sources: Sources) -> None:
    search = SearchConfig(catalog=sources.table, collection="other")
    with pytest.raises(CatalogError, match=r"no collection 'other'.*: invented"):
        search_scenes(search, AREA, "2020", ["red"])
