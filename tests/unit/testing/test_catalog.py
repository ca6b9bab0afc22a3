import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.windows
import requests
from pystac_client import Client

from noise2map_core.testing.catalog import CatalogServer, Fault, serve_catalog
from noise2map_core.testing.scenes import EmbeddedCatalog, write_catalog

TIMEOUT_S = 10


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedCatalog:
    return write_catalog(tmp_path_factory.mktemp("scene"), size_px=256)


@pytest.fixture(scope="module")
def server(scene: EmbeddedCatalog) -> Iterator[CatalogServer]:
    with serve_catalog(scene.root, max_limit=2) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: CatalogServer) -> Client:
    return Client.open(server.url, timeout=TIMEOUT_S)


def static_ids(scene: EmbeddedCatalog) -> set[str]:
    return {item.id for item in pystac.Catalog.from_file(scene.catalog).get_items(recursive=True)}


def href_of(server: CatalogServer, scene: EmbeddedCatalog, band: str) -> str:
    return f"{server.url}/files/{scene.collection}/{scene.collection}-before/{band}.tif"


def path_of(scene: EmbeddedCatalog, band: str) -> Path:
    return scene.root / scene.collection / f"{scene.collection}-before" / f"{band}.tif"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_paging_yields_the_items_of_the_static_catalogue_once_each(
    method: str, limit: int, client: Client, scene: EmbeddedCatalog
) -> None:
    found = client.search(method=method, collections=[scene.collection], limit=limit)
    ids = [item.id for item in found.items()]
    assert len(ids) == 3
    assert set(ids) == static_ids(scene)


def test_assets_of_the_api_are_the_files_of_the_catalogue(
    client: Client, scene: EmbeddedCatalog
) -> None:
    by_id = {i.id: i for i in pystac.Catalog.from_file(scene.catalog).get_items(recursive=True)}
    for item in client.search(collections=[scene.collection]).items():
        for name, asset in item.assets.items():
            local = Path(by_id[item.id].assets[name].get_absolute_href() or "")
            assert requests.get(asset.href, timeout=TIMEOUT_S).content == local.read_bytes()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("interval", "names"),
    [
        ("2023-06-12", {"before", "change"}),
        ("2025-06-20", {"after", "change"}),
        ("2025-06-21/..", set()),
        ("../2023-06-13", {"before", "change"}),
        ("2023-06-01/2025-06-30", {"before", "after", "change"}),
    ],
)
def test_datetime_finds_items_whose_time_meets_it(
    method: str, interval: str, names: set[str], client: Client, scene: EmbeddedCatalog
) -> None:
    found = client.search(method=method, collections=[scene.collection], datetime=interval)
    assert {item.id.removeprefix(f"{scene.collection}-") for item in found.items()} == names


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_place_finds_items_that_touch_it(
    method: str, client: Client, scene: EmbeddedCatalog
) -> None:
    area = json.loads(scene.map_aoi.read_text())["geometry"]
    away = {"type": "Point", "coordinates": [0.0, 0.0]}
    assert len(list(client.search(method=method, intersects=area).items())) == 3
    assert len(list(client.search(method=method, intersects=away).items())) == 0
    west, south, east, north = next(iter(client.search(method=method).items())).bbox or []
    assert len(list(client.search(method=method, bbox=[west, south, east, north]).items())) == 3
    beside = [east + 1, south, east + 2, north]
    assert len(list(client.search(method=method, bbox=beside).items())) == 0


def test_collections_and_items_are_found_by_id(
    client: Client, server: CatalogServer, scene: EmbeddedCatalog
) -> None:
    assert [collection.id for collection in client.get_collections()] == [scene.collection]
    collection = client.get_collection(scene.collection)
    assert {item.id for item in collection.get_items()} == static_ids(scene)
    assert client.search(ids=[f"{scene.collection}-after"]).matched() == 1
    unknown = requests.get(f"{server.url}/collections/nowhere", timeout=TIMEOUT_S)
    assert unknown.status_code == 404


def test_documents_of_the_api_are_valid_stac(server: CatalogServer, scene: EmbeddedCatalog) -> None:
    for path in ("", f"/collections/{scene.collection}"):
        document = requests.get(server.url + path, timeout=TIMEOUT_S).json()
        pystac.validation.validate_dict(document, extensions=[])
    for item in requests.get(f"{server.url}/search", timeout=TIMEOUT_S).json()["features"]:
        pystac.validation.validate_dict(item, extensions=[])


@pytest.mark.parametrize(
    "query",
    ["bbox=1,2,3", "bbox=a,b,c,d", "datetime=yesterday", "datetime=2023-01-01T00:00:00", "limit=0"],
)
def test_search_that_makes_no_sense_is_refused(query: str, server: CatalogServer) -> None:
    answer = requests.get(f"{server.url}/search?{query}", timeout=TIMEOUT_S)
    assert answer.status_code == 400
    assert "not understood" in answer.json()["description"]


def test_static_catalogue_is_read_over_http(server: CatalogServer, scene: EmbeddedCatalog) -> None:
    catalog = pystac.Catalog.from_file(server.static)
    assert {item.id for item in catalog.get_items(recursive=True)} == static_ids(scene)


def test_windows_read_by_ranges_equal_the_local_file(
    server: CatalogServer, scene: EmbeddedCatalog
) -> None:
    window = rasterio.windows.Window(100, 60, 70, 50)
    seen = len(server.requests)
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_HTTP_TIMEOUT=TIMEOUT_S),
        rasterio.open(href_of(server, scene, "nir")) as remote,
        rasterio.open(path_of(scene, "nir")) as local,
    ):
        assert np.array_equal(remote.read(1, window=window), local.read(1, window=window))
        assert np.array_equal(remote.read(1), local.read(1))
    gets = [line for line in server.requests[seen:] if line.startswith("GET")]
    assert gets
    assert all("bytes=" in line for line in gets)


@pytest.mark.parametrize(
    ("asked", "span"),
    [("bytes=0-9", (0, 10)), ("bytes=100-", (100, None)), ("bytes=-7", (-7, None))],
)
def test_byte_ranges_are_those_of_the_file(
    asked: str, span: tuple[int, int | None], server: CatalogServer, scene: EmbeddedCatalog
) -> None:
    answer = requests.get(
        href_of(server, scene, "red"), headers={"Range": asked}, timeout=TIMEOUT_S
    )
    assert answer.status_code == 206
    assert answer.content == path_of(scene, "red").read_bytes()[slice(*span)]


def test_range_beyond_the_end_and_path_outside_the_folder_are_refused(
    server: CatalogServer, scene: EmbeddedCatalog
) -> None:
    href = href_of(server, scene, "red")
    beyond = requests.get(href, headers={"Range": "bytes=99999999-"}, timeout=TIMEOUT_S)
    assert beyond.status_code == 416
    outside = requests.get(f"{server.url}/files/%2e%2e/%2e%2e/etc/hostname", timeout=TIMEOUT_S)
    assert outside.status_code == 404


def test_etag_follows_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_text('{"type": "Catalog", "links": []}')
    (tmp_path / "a.tif").write_bytes(b"one")
    with serve_catalog(tmp_path) as server:
        href = f"{server.url}/files/a.tif"
        first = [requests.head(href, timeout=TIMEOUT_S).headers["ETag"] for _ in range(2)]
        (tmp_path / "a.tif").write_bytes(b"two")
        second = requests.head(href, timeout=TIMEOUT_S).headers["ETag"]
    assert first[0] == first[1] != second


def test_faults_are_what_they_say(scene: EmbeddedCatalog) -> None:
    faults = {
        "before/red.tif": Fault.TRUNCATED,
        "before/blue.tif": Fault.MISSING,
        "/search": Fault.HTML,
        "/conformance": Fault.FAILING,
    }
    with serve_catalog(scene.root, faults=faults) as server:
        whole = path_of(scene, "red").read_bytes()
        half = requests.get(href_of(server, scene, "red"), timeout=TIMEOUT_S)
        assert half.content == whole[: len(whole) // 2]
        missing = requests.get(href_of(server, scene, "blue"), timeout=TIMEOUT_S)
        assert missing.status_code == 404
        assert requests.get(href_of(server, scene, "green"), timeout=TIMEOUT_S).ok
        page = requests.get(f"{server.url}/search", timeout=TIMEOUT_S)
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html")
        assert requests.get(f"{server.url}/conformance", timeout=TIMEOUT_S).status_code == 500


def test_port_is_free_again_after_the_block(scene: EmbeddedCatalog) -> None:
    with serve_catalog(scene.root) as server:
        assert requests.get(server.url, timeout=TIMEOUT_S).ok
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=TIMEOUT_S)
