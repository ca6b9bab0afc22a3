"""Whatever documents hold: either they are understood, or one of our errors says why not."""

import json
import string
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.catalog.search import search_scenes
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.labels.vectors import read_vectors
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.runtime.errors import CatalogError, ConfigError, Noise2MapError, OutputError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.reading import build_config, parse_yaml, read_settings
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from tests import hostile

NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 0, 1e308])
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
RINGS = st.lists(st.lists(LEAVES, max_size=3), max_size=6)
GEOMETRIES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Polygon", "MultiPolygon", "Point", "GeometryCollection", "x"]),
        "coordinates": VALUES | st.lists(RINGS, max_size=2) | st.lists(st.lists(RINGS), max_size=2),
    }
)
AREAS = st.one_of(
    GEOMETRIES,
    VALUES,
    st.fixed_dictionaries({"type": st.just("Feature"), "geometry": GEOMETRIES | VALUES}),
    st.fixed_dictionaries({"type": st.just("FeatureCollection"), "features": VALUES}),
)


@given(AREAS)
def test_any_area_is_read_or_refused(document: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "area.geojson"
        path.write_text(json.dumps(document))
        with suppress(ConfigError):
            area = read_aoi(path).geometry
            assert area.is_valid and area.area > 0
            assert area.bounds[0] >= -180 and area.bounds[2] <= 180


FIELDS = [
    ("geometry",), ("properties",), ("properties", "datetime"), ("properties", "proj:code"),
    ("properties", "proj:transform"), ("properties", "eo:cloud_cover"), ("properties", "providers"),
    ("properties", "license"), ("assets",), ("assets", "red"), ("assets", "red", "href"),
    ("assets", "red", "bands"), ("assets", "red", "raster:bands"), ("assets", "red", "nodata"),
    ("assets", "red", "file:checksum"), ("assets", "red", "proj:transform"), ("id",), ("links",),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(embedded: EmbeddedCatalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed")


@given(field=st.sampled_from(FIELDS), value=VALUES | GEOMETRIES)
def test_any_item_is_read_or_refused(
    embedded: EmbeddedCatalog, folder: Path, field: tuple[str, ...], value: Any
) -> None:
    for path in embedded.root.rglob("*.json"):
        document = json.loads(path.read_text())
        if path.name == "embedded-farmland-before.json":
            place = document
            for name in field[:-1]:
                place = place[name]
            place[field[-1]] = value
        copy = folder / path.relative_to(embedded.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(json.dumps(document))
    search = SearchConfig(catalog=str(folder / "catalog.json"), collection=embedded.collection)
    with suppress(CatalogError):
        scenes = search_scenes(search, read_aoi(embedded.map_aoi), "1900/2100", ["red"])
        assert all(scene.bands[0].href for scene in scenes)


SETTINGS = st.dictionaries(
    st.sampled_from(list(InferRegionConfig.model_fields)), VALUES, min_size=1
)


@given(SETTINGS)
def test_any_settings_are_taken_or_refused(settings: dict[str, Any]) -> None:
    with suppress(ConfigError):
        build_config(InferRegionConfig, settings, {})


@given(st.text(alphabet=string.printable) | st.binary(max_size=200))
def test_any_file_of_settings_is_read_or_refused(content: str | bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with suppress(ConfigError):
            assert isinstance(read_settings(path), dict)


def test_aliases_are_written_out_as_far_as_people_would() -> None:
    shared = "base: &b {catalog: a, collection: c}\none: {<<: *b}\ntwo: *b\n"
    assert parse_yaml(shared)["two"] == {"catalog": "a", "collection": "c"}
    with pytest.raises(yaml.YAMLError, match="circles"):
        parse_yaml("&a [*a]")


PLACES = st.integers(-3, 3)
RECORDS = st.builds(
    TileRecord, PLACES, PLACES, st.text(max_size=5), st.sampled_from(["done", "failed"]),
    reason=st.text(max_size=5), chips=st.integers(0, 9), read_s=st.floats(0, 9),
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 3), RECORDS), max_size=12))
def test_a_ledger_gives_the_newest_record_of_each_tile(written: list[Any]) -> None:
    expected: dict[Any, tuple[int, bool, TileRecord]] = {}
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        for fence, record in written:
            ledger.append([record], fence)
            rank = (fence, record.status == "done")
            if record.tile not in expected or rank > expected[record.tile][:2]:
                expected[record.tile] = (*rank, record)
        found = ledger.newest()
        assert found.keys() == expected.keys()
        for tile, (_, done, _record) in expected.items():
            assert (found[tile].status == "done") == done
            assert found[tile] in [record for _, record in written]


ROWS = st.lists(
    st.fixed_dictionaries(
        {}, optional={name: VALUES for name in ("row", "col", "key", "status", "chips", "other")}
    ),
    max_size=2,
)
BODIES = VALUES | st.fixed_dictionaries({}, optional={"fence": VALUES, "tiles": ROWS | VALUES})


@given(BODIES | st.binary(max_size=40))
def test_any_record_of_a_ledger_is_read_or_named(content: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        good = TileRecord(1, 2, "key", "done")
        ledger.append([good], 1)
        path = Path(folder) / "ledger" / "records" / "00000000-bad.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        try:
            found = ledger.newest()
        except OutputError as error:
            assert path.name in str(error)
        else:
            assert good.tile in found


@pytest.mark.parametrize(
    "body", [b"<OGRVRTDataSource/>", b"<gml/>", b"PK\x03\x04", b"<kml/>", b"%PDF"]
)
def test_polygons_of_the_web_that_could_name_other_files_are_refused(body: bytes) -> None:
    with hostile.serve() as server:
        server.answers["/polygons.geojson"] = hostile.answer(body)
        with pytest.raises(Noise2MapError, match="only these are read"):
            read_vectors(f"{server.url}/polygons.geojson", "EPSG:32633", "labels.path")
