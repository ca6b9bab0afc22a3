import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pystac
import pytest
import shapely

from noise2map_core.catalog.bands import band_names, find_bands
from noise2map_core.catalog.interval import parse_time
from noise2map_core.catalog.item import Item
from noise2map_core.catalog.links import resolve
from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.search import search_labels, search_scenes
from noise2map_core.catalog.stac import open_catalog
from noise2map_core.geo.aoi import AreaOfInterest, read_aoi
from noise2map_core.runtime.errors import CatalogError, ConfigError, NoImageryError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.testing.catalog import Fault, serve_catalog
from noise2map_core.testing.scenes import EmbeddedCatalog

ALL_TIME = "1900/2100"
TAIZHOU = AreaOfInterest("taizhou", shapely.box(119.85, 32.45, 119.95, 32.5))
BANDS = ("blue", "red")


def search(catalog: str, collection: str) -> SearchConfig:
    return SearchConfig(catalog=catalog, collection=collection)


def found(embedded: EmbeddedCatalog, catalog: str, interval: str = ALL_TIME) -> list[Scene]:
    return search_scenes(
        search(catalog, embedded.collection), read_aoi(embedded.map_aoi), interval, embedded.bands
    )


def without_places(scenes: list[Scene]) -> list[Any]:
    return [(s.id, s.datetime, s.footprint_wkb, s.proj_code, s.gsd, len(s.bands)) for s in scenes]


def test_scenes_are_those_that_pystac_reads(real_data: Path) -> None:
    catalog = real_data / "stac" / "catalog.json"
    scenes = search_scenes(search(str(catalog), "landsat-taizhou"), TAIZHOU, ALL_TIME, BANDS)
    assert [scene.id for scene in scenes] == [
        "landsat-taizhou-20000317",
        "landsat-taizhou-20030206",
    ]
    for scene in scenes:
        item = pystac.Item.from_file(scene.href)
        assert scene.datetime == item.datetime
        assert shapely.from_wkb(scene.footprint_wkb).equals(shapely.geometry.shape(item.geometry))
        assert [band.href for band in scene.bands] == [
            item.assets[name].get_absolute_href() for name in BANDS
        ]
        assert (scene.proj_code, scene.gsd) == ("EPSG:32651", 30.0)
        assert scene.attribution == "landsat-taizhou (licence: other)"
        assert len(pickle.dumps(scene)) < 2000


def test_an_api_and_static_files_by_path_and_url_give_the_same_scenes(
    embedded: EmbeddedCatalog,
) -> None:
    local = found(embedded, embedded.catalog)
    with serve_catalog(embedded.root, max_limit=1) as server:
        api, static = found(embedded, server.url), found(embedded, server.static)
    assert len(local) == 2
    assert without_places(local) == without_places(api) == without_places(static)
    assert {band.href.split(":")[0] for scene in api + static for band in scene.bands} == {"http"}


def test_an_interval_chooses_the_date(embedded: EmbeddedCatalog) -> None:
    before = found(embedded, embedded.catalog, embedded.before)
    after = found(embedded, embedded.catalog, embedded.after)
    assert before + after == found(embedded, embedded.catalog)


def test_of_a_date_with_labels_alone_it_is_said_that_there_is_no_imagery(
    embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    shutil.copytree(embedded.root, tmp_path / "stac")
    (label,) = [
        path for path in (tmp_path / "stac").rglob("*.json") if "label:type" in path.read_text()
    ]
    document = json.loads(label.read_text())
    document["properties"]["datetime"] = "2011-05-05T00:00:00Z"
    label.write_text(json.dumps(document))
    catalog = str(tmp_path / "stac" / "catalog.json")
    with pytest.raises(NoImageryError, match=r"no item over area .*its dates there run from 2023"):
        found(embedded, catalog, "2011-05-05")
    with pytest.raises(CatalogError, match="has no band 'infra'"):
        search_scenes(
            search(catalog, embedded.collection), read_aoi(embedded.map_aoi), ALL_TIME, ["infra"]
        )


def test_label_items_are_found_by_their_asset_and_are_no_scenes(embedded: EmbeddedCatalog) -> None:
    where = search(embedded.catalog, embedded.collection)
    labels = search_labels(where, read_aoi(embedded.map_aoi), embedded.label_asset, ALL_TIME)
    assert len(labels) == 1 and len(labels[0].bands) == 1
    assert labels[0].id not in {scene.id for scene in found(embedded, embedded.catalog)}


def test_an_unknown_collection_lists_those_there_are(embedded: EmbeddedCatalog) -> None:
    aoi = read_aoi(embedded.map_aoi)
    with serve_catalog(embedded.root) as server:
        for catalog in (embedded.catalog, server.url):
            with pytest.raises(CatalogError, match=f"no collection 'none'.*{embedded.collection}"):
                search_scenes(search(catalog, "none"), aoi, ALL_TIME, BANDS)


def test_an_unknown_band_lists_those_there_are(real_data: Path) -> None:
    where = search(str(real_data / "stac" / "catalog.json"), "landsat-taizhou")
    with pytest.raises(CatalogError, match=r"no band 'tirs'; it has: blue, green, red"):
        search_scenes(where, TAIZHOU, ALL_TIME, ["tirs"])
    with pytest.raises(CatalogError, match=r"20000317 has no band 'tirs'; it has: blue"):
        search_scenes(where, TAIZHOU, ALL_TIME, ["blue", "tirs"])


def test_an_area_outside_and_dates_without_items_are_told_apart(embedded: EmbeddedCatalog) -> None:
    outside = AreaOfInterest("sea", shapely.box(0, 0, 1, 1))
    with serve_catalog(embedded.root) as server:
        for catalog in (embedded.catalog, server.url):
            where = search(catalog, embedded.collection)
            with pytest.raises(CatalogError, match="area sea lies outside"):
                search_scenes(where, outside, ALL_TIME, embedded.bands)
            with pytest.raises(CatalogError, match=r"no item over area .* run from \d{4}-"):
                found(embedded, catalog, "1950")


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(CatalogError, match=r"http://127.0.0.1:9/.*cannot be reached.*refused"):
        search_scenes(search("http://127.0.0.1:9/", "c"), TAIZHOU, ALL_TIME, BANDS)


@pytest.mark.parametrize(
    ("fault", "message"),
    [(Fault.HTML, "answers with HTML"), (Fault.MISSING, "404"), (Fault.FAILING, "500")],
)
@pytest.mark.parametrize("place", ["", "/search", "catalog.json"])
def test_a_server_that_answers_wrongly_is_named(
    embedded: EmbeddedCatalog, fault: Fault, message: str, place: str
) -> None:
    with serve_catalog(embedded.root, faults={place: fault}) as server:
        catalog = server.static if place == "catalog.json" else server.url
        with pytest.raises(CatalogError, match=rf"{server.url}.*{message}"):
            found(embedded, catalog)


def test_a_path_that_is_no_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="does not exist"):
        search_scenes(search(str(tmp_path / "none.json"), "c"), TAIZHOU, ALL_TIME, BANDS)
    (tmp_path / "area.json").write_text(json.dumps({"type": "Feature"}))
    with pytest.raises(CatalogError, match="not a STAC catalogue: its type is 'Feature'"):
        search_scenes(search(str(tmp_path / "area.json"), "c"), TAIZHOU, ALL_TIME, BANDS)


@pytest.fixture
def altered(embedded: EmbeddedCatalog, tmp_path: Path) -> Callable[[Callable[[Any], None]], Path]:
    """A copy of the embedded catalogue whose items a function has changed."""

    def copy(change: Callable[[Any], None]) -> Path:
        shutil.copytree(embedded.root, tmp_path / "altered")
        for path in (tmp_path / "altered").rglob("*.json"):
            document = json.loads(path.read_text())
            if document.get("type") == "Feature":
                change(document)
                path.write_text(json.dumps(document))
        return tmp_path / "altered"

    return copy


def test_a_catalogue_on_the_web_may_not_point_to_local_files(
    embedded: EmbeddedCatalog, altered: Callable[[Callable[[Any], None]], Path]
) -> None:
    def point(item: Any) -> None:
        for asset in item["assets"].values():
            asset["href"] = "file:///etc/passwd"

    with serve_catalog(altered(point)) as server:
        for catalog in (server.url, server.static):
            with pytest.raises(CatalogError, match=r"item .* points to a local file"):
                found(embedded, catalog)


@pytest.mark.parametrize(
    "href",
    [
        "/etc/passwd",
        "/vsizip//tmp/a.zip",
        "zip:///tmp/a",
        "../../../etc/passwd",
        "C:\\a.tif",
        "file:/etc/passwd",
        "FILE:///etc/passwd",
        " file:///etc/passwd",
        "vrt:///tmp/a.tif",
        "vrt://https://example.com/a.tif",
        "/vsicurl/http://127.0.0.1/a",
        "\\\\host\\share",
        "a\\..\\b.tif",
        "//127.0.0.1/a.tif",
        "ht\ntp://127.0.0.1/a",
        "http:\\\\127.0.0.1\\a",
        "c:/a.tif",
        "GTIFF_DIR:1:/tmp/a.tif",
        "/proc/self/environ",
        "\x00/etc/passwd",
    ],
)
def test_links_on_the_web_that_leave_it_are_refused(href: str) -> None:
    with pytest.raises(CatalogError, match="points to a local file"):
        resolve(href, "https://example.com/one/two/item.json", "item one")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "[::1]",
        "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "192.168.1.1", "172.16.0.1",
        "100.64.0.1", "0.0.0.0",
        "[fe80::1]", "[fd00::1]", "224.0.0.1", "%31%32%37.0.0.1", "①②⑦.⓪.⓪.①",
        "example.com@127.0.0.1", "user:secret@example.org",
    ],
)  # fmt: skip
def test_a_catalogue_on_the_web_may_not_point_to_internal_addresses(host: str) -> None:
    with pytest.raises(CatalogError, match=r"an internal address|not plain"):
        resolve(f"http://{host}:8080/a.tif", "https://example.com/item.json", "item one")


def test_hosts_of_ones_own_and_allowed_ones_may_be_internal() -> None:
    local, asset = "http://127.0.0.1:80/item.json", "http://127.0.0.1:99/a.tif"
    assert resolve(asset, local, "") == asset
    assert resolve(asset, "https://example.com/item.json", "", {"127.0.0.1"}) == asset
    assert resolve("https://93.184.216.34/a.tif", local, "") == "https://93.184.216.34/a.tif"
    assert (
        resolve("s3://localhost/a.tif", "https://example.com/i.json", "") == "s3://localhost/a.tif"
    )


def test_an_api_that_sends_to_an_internal_address_is_not_followed(
    embedded: EmbeddedCatalog, altered: Callable[[Callable[[Any], None]], Path]
) -> None:
    def point(item: Any) -> None:
        for asset in item["assets"].values():
            asset["href"] = "http://169.254.169.254/latest/meta-data"

    with serve_catalog(altered(point)) as server:
        for catalog in (server.url, server.static):
            with pytest.raises(CatalogError, match=r"169\.254.* internal .*allow_hosts"):
                found(embedded, catalog)


def test_links_are_read_from_where_they_stand() -> None:
    assert (
        resolve("../a.tif", "https://example.com/one/item.json", "") == "https://example.com/a.tif"
    )
    assert resolve("../a.tif", "/one/two/item.json", "") == "/one/a.tif"
    assert resolve("https://example.com/a.tif", "/one/item.json", "") == "https://example.com/a.tif"


def test_an_item_without_time_is_named(
    embedded: EmbeddedCatalog, altered: Callable[[Callable[[Any], None]], Path]
) -> None:
    root = altered(lambda item: item.update(properties={"datetime": None}))
    with pytest.raises(CatalogError, match=f"item {embedded.collection}.*neither a datetime"):
        found(embedded, str(root / Path(embedded.catalog).relative_to(embedded.root)))


def test_an_item_that_does_not_say_where_it_lies_may_lie_here(
    embedded: EmbeddedCatalog, altered: Callable[[Callable[[Any], None]], Path]
) -> None:
    root = altered(lambda item: item.update(geometry=None))
    there = str(root / Path(embedded.catalog).relative_to(embedded.root))
    assert {s.id for s in found(embedded, there)} >= {
        s.id for s in found(embedded, embedded.catalog)
    }


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("EPSG:32633", "EPSG:32633"), ("epsg:32633", "EPSG:32633"),
        ("urn:ogc:def:crs:EPSG::32633", "EPSG:32633"),
        ("URN:OGC:DEF:CRS:EPSG:9.9.1:32633", "EPSG:32633"),
        ("http://www.opengis.net/def/crs/EPSG/0/32633", "EPSG:32633"),
        ("https://www.opengis.net/def/crs/epsg/9.9/32633/", "EPSG:32633"),
        ("EPSG:32633+5773", "EPSG:32633"), ("IAU_2015:30100", "IAU_2015:30100"),
        ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", "OGC:CRS84"), (None, None),
    ],
)  # fmt: skip
def test_a_code_is_the_same_however_it_is_written(
    embedded: EmbeddedCatalog,
    altered: Callable[[Callable[[Any], None]], Path],
    written: str | None,
    code: str | None,
) -> None:
    root = altered(lambda item: item["properties"].update({"proj:code": written}))
    there = str(root / Path(embedded.catalog).relative_to(embedded.root))
    assert {scene.proj_code for scene in found(embedded, there)} == {code}


@pytest.mark.parametrize("epsg", [32633, 32633.0, "32633"])
def test_the_older_field_for_a_code_is_read(
    embedded: EmbeddedCatalog, altered: Callable[[Callable[[Any], None]], Path], epsg: Any
) -> None:
    def rewrite(item: Any) -> None:
        item["properties"].pop("proj:code", None)
        item["properties"]["proj:epsg"] = epsg

    there = str(altered(rewrite) / Path(embedded.catalog).relative_to(embedded.root))
    assert {scene.proj_code for scene in found(embedded, there)} == {"EPSG:32633"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"assets": None}, "it has no assets"),
        ({"assets": {"red": {}}}, "asset red has no href"),
        ({"id": "../../escape"}, "climbs out of a folder"),
        ({"id": "..\\escape"}, "climbs out of a folder"),
        ({"properties": {"datetime": "2023-02-30T00:00:00Z"}}, "day is out of range"),
        ({"properties": {"datetime": "2023-06-12T10:00:00Z", "proj:code": "../x"}}, "proj:code"),
        ({"properties": {"datetime": "2023-06-12T10:00:00Z", "proj:code": 7}}, "proj:code"),
        ({"properties": {"datetime": "2023-06-12T10:00:00Z", "eo:cloud_cover": "x"}}, "no number"),
        ({"geometry": {"type": "Polygon", "coordinates": "x"}}, "no usable geometry"),
    ],
)
def test_an_item_that_states_nonsense_is_named(
    embedded: EmbeddedCatalog,
    altered: Callable[[Callable[[Any], None]], Path],
    change: Any,
    message: str,
) -> None:
    root = altered(lambda item: item.update(change))
    with pytest.raises(CatalogError, match=rf"^item [^\n]*{message}[^\n]*$"):
        found(embedded, str(root / Path(embedded.catalog).relative_to(embedded.root)))


@pytest.mark.parametrize(
    "transform",
    [[1, 2, 3], "12345a", ["a"] * 6, [None] * 6, [float("nan")] * 6],
    ids=["few", "text", "words", "null", "nan"],
)
def test_a_wrong_transform_is_named(
    embedded: EmbeddedCatalog, altered: Callable[[Callable[[Any], None]], Path], transform: Any
) -> None:
    def bend(item: Any) -> None:
        for asset in item["assets"].values():
            asset["proj:transform"] = transform

    root = altered(bend)
    with pytest.raises(CatalogError, match=r"^item .*proj:transform"):
        found(embedded, str(root / Path(embedded.catalog).relative_to(embedded.root)))


def test_catalogues_that_link_in_a_circle_are_read_once(
    embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    shutil.copytree(embedded.root, tmp_path / "circle")
    for path in (tmp_path / "circle").rglob("*.json"):
        document = json.loads(path.read_text())
        if document.get("type") in ("Catalog", "Collection"):
            root = (tmp_path / "circle" / "catalog.json").as_posix()
            document["links"].append({"rel": "child", "href": root})
            path.write_text(json.dumps(document))
    catalog = str(tmp_path / "circle" / "catalog.json")
    assert [s.id for s in found(embedded, catalog)] == [
        s.id for s in found(embedded, embedded.catalog)
    ]


def test_every_item_of_the_real_catalogue_is_read_and_its_bands_found(real_data: Path) -> None:
    paths = [p for p in (real_data / "stac").rglob("*.json")]
    documents = [(json.loads(path.read_text()), path) for path in paths]
    items = [Item(one, str(path)) for one, path in documents if one.get("type") == "Feature"]
    assert len(items) == 223
    for item in items:
        names = band_names(item)
        bands = find_bands(item, names)
        assert bands and len(bands.sources) == len(names) > 0, item.id
        assert not item.geometry.is_empty and parse_time(item.times[0])
        assert all(Path(band.href).is_file() for band in bands.sources), item.id


def test_an_item_of_a_span_of_time_is_found_within_it_and_dated_by_its_start(
    embedded: EmbeddedCatalog, altered: Callable[[Callable[[Any], None]], Path]
) -> None:
    def stretch(item: Any) -> None:
        item["properties"] |= {
            "datetime": None,
            "start_datetime": "1990-01-01T00:00:00Z",
            "end_datetime": "1991-01-01T00:00:00Z",
        }

    root = altered(stretch)
    catalog = str(root / Path(embedded.catalog).relative_to(embedded.root))
    assert {scene.datetime.year for scene in found(embedded, catalog, "1990-07")} == {1990}
    with pytest.raises(CatalogError, match="no item"):
        found(embedded, catalog, "1992")


@pytest.mark.parametrize("spelling", ["file://{}", "file:{}", "FILE://localhost{}", "relative"])
def test_files_are_found_however_a_catalogue_on_disk_spells_them(
    spelling: str, embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    root = tmp_path / "a catalogue, 100% Zürich#1"
    shutil.copytree(embedded.root, root)
    for path in root.rglob("*.json"):
        document = json.loads(path.read_text())
        for asset in document.get("assets", {}).values():
            place = (path.parent / asset["href"]).resolve()
            odd = place.with_name(f"a b {place.name}")
            if place.exists():
                place.rename(odd)
            link = quote(os.path.relpath(odd, path.parent))
            asset["href"] = link if spelling == "relative" else spelling.format(quote(str(odd)))
        path.write_text(json.dumps(document))
    area = tmp_path / "an area.geojson"
    shutil.copyfile(embedded.map_aoi, area)
    said = "file://{}" if spelling == "relative" else spelling
    where = search(said.format(quote(f"{root}/catalog.json")), embedded.collection)
    aoi = read_aoi(said.format(quote(str(area))))
    scenes = search_scenes(where, aoi, ALL_TIME, embedded.bands)
    assert aoi.name == "an area" and scenes
    assert all(Path(band.href).is_file() for scene in scenes for band in scene.bands)


def test_a_link_to_a_file_of_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"item x points to no file: file://server/a.tif names"):
        resolve("file://server/a.tif", str(tmp_path / "item.json"), "item x")
    with pytest.raises(ConfigError, match=r"area file://server/a.geojson names no file"):
        read_aoi("file://server/a.geojson")
    with pytest.raises(CatalogError, match=r"catalogue file://server/c.json names no file"):
        open_catalog("file://server/c.json")


def test_a_name_that_looks_spelled_is_taken_as_it_is_where_it_is_there(tmp_path: Path) -> None:
    for name in ("a%20b.tif", "a b.tif"):
        (tmp_path / name).write_text("x")
    base = str(tmp_path / "item.json")
    assert resolve("a%20b.tif", base, "item") == str(tmp_path / "a%20b.tif")
    (tmp_path / "a%20b.tif").unlink()
    assert resolve("./a%20b.tif", base, "item") == str(tmp_path / "a b.tif")
    assert resolve("./c%20d.tif", base, "item") == str(tmp_path / "c%20d.tif")
