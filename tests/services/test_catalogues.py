"""A real STAC API (stac-fastapi-pgstac on PostGIS) finds what static files and a table hold."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.servers import pgstac
from tests.unit.catalog.test_sources import Sources, comparable, expected, found, sources

pytestmark = pytest.mark.services
__all__ = ["sources"]


@pytest.fixture(scope="module")
def api(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The 5,000 invented items, and their collection, in pgstac."""
    folder = tmp_path_factory.mktemp("pgstac")
    collection = json.loads((Path(sources.static).parent / "collection.json").read_text())
    lines = (json.dumps(item | {"links": []}) for item in sources.items)
    (folder / "collection.ndjson").write_text(json.dumps(collection | {"links": []}) + "\n")
    (folder / "items.ndjson").write_text("\n".join(lines) + "\n")
    with pgstac(folder / "collection.ndjson", folder / "items.ndjson") as url:
        yield url


@pytest.mark.parametrize(
    ("interval", "text", "first_day", "cloud_below"),
    [("2020-03-10/2020-04-01", None, 10, None), ("2020", "eo:cloud_cover < 20", 1, 20)],
    ids=["area and dates, page after page", "CQL2"],
)
def test_5000_items_are_found_alike_and_in_the_same_order(
    sources: Sources,
    api: str,
    interval: str,
    text: str | None,
    first_day: int,
    cloud_below: float | None,
) -> None:
    scenes = found(api, interval, text)
    assert [scene.id for scene in scenes] == expected(sources, first_day, cloud_below)
    assert len(scenes) > 150
    here = [comparable(scene) for scene in scenes]
    for catalog in (sources.static, sources.table):
        assert [comparable(scene) for scene in found(catalog, interval, text)] == here
