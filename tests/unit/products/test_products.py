"""Products: what is asked for, true, valid, in its place, and the same every time."""

import json
import re
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
from PIL import Image
from pystac.validation import validate_dict
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.products.bundle import clear_output, product_files, write_products
from noise2map_core.products.collection import add_to_collection
from noise2map_core.products.subject import MapSubject
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.settings.products import ProductsConfig
from tests.map_factories import blobs, subject_of, write_mosaic

SHAPE = (150, 200)


@pytest.fixture
def subject(tmp_path: Path) -> MapSubject:
    return subject_of(tmp_path / "scenes", *SHAPE)


@pytest.fixture
def mosaic(tmp_path: Path) -> Mosaic:
    (tmp_path / "map").mkdir()
    return write_mosaic(tmp_path / "map" / "mosaic.zarr", blobs(*SHAPE))


@pytest.fixture(scope="session")
def validator(real_data: Path) -> JsonSchemaSTACValidator:
    found = JsonSchemaSTACValidator()
    for path in (real_data / "stac_schemas").glob("*.json"):
        schema = json.loads(path.read_text())
        found.schema_cache[schema["$id"].rstrip("#")] = schema
    return found


def test_exactly_the_promised_files_are_written_and_cleared(
    mosaic: Mosaic, subject: MapSubject
) -> None:
    output, config = mosaic.path.parent, ProductsConfig(evidence=True)
    figures = write_products(mosaic, subject, config)
    names = {path.name for path in output.iterdir()} - {"mosaic.zarr"}
    assert names == set(product_files(mosaic, subject, config))
    assert names >= {"valid.tif", "reason.tif"}
    polygons = gpd.read_parquet(output / "polygons.parquet")
    assert figures.polygons == len(polygons)
    assert figures.pixels["changed"] == polygons["pixels"].sum() == (blobs(*SHAPE) == 1).sum()
    clear_output(output)
    assert not list(output.iterdir())


def test_the_same_mosaic_gives_the_same_bytes(mosaic: Mosaic, subject: MapSubject) -> None:
    output, config = mosaic.path.parent, ProductsConfig(evidence=True)
    digests = []
    for _ in range(2):
        write_products(mosaic, subject, config)
        names = product_files(mosaic, subject, config)
        digests.append({name: file_sha256(output / name) for name in names})
    assert digests[0] == digests[1]


def test_a_mapping_unit_leaves_the_rasters_alone(mosaic: Mosaic, subject: MapSubject) -> None:
    output = mosaic.path.parent
    all_of_them = write_products(mosaic, subject, ProductsConfig())
    change = file_sha256(output / "change.tif")
    some = write_products(mosaic, subject, ProductsConfig(min_area_m2=5_000))
    assert 0 < some.polygons < all_of_them.polygons
    assert file_sha256(output / "change.tif") == change


def test_a_map_of_classes_has_its_own_names_and_all_classes_but_the_first_as_polygons(
    tmp_path: Path, subject: MapSubject
) -> None:
    table = [
        {"value": value, "name": name, "color": color}
        for value, (name, color) in enumerate(
            [("other", "#dddddd"), ("water", "#2c7bb6"), ("built", "#d7191c")]
        )
    ]
    classes = blobs(*SHAPE) + (blobs(*SHAPE, seed=1) == 1) * (blobs(*SHAPE) == 1)
    (tmp_path / "map").mkdir()
    mosaic = write_mosaic(tmp_path / "map" / "mosaic.zarr", classes, table=table)
    one_date = replace(subject, before=(), classes=table, task="segment")
    figures = write_products(mosaic, one_date, ProductsConfig())
    output = tmp_path / "map"
    assert not (output / "change.tif").exists()
    with rasterio.open(output / "classes.tif") as file:
        assert file.colormap(1)[2] == (215, 25, 28, 255)
    package = gpd.read_file(output / "polygons.gpkg", layer="polygons")
    for polygons in (gpd.read_parquet(output / "polygons.parquet"), package):
        assert set(polygons["class_name"]) == {"water", "built"} and "date" in polygons
        counts = polygons.groupby("class_name")["pixels"].sum()
        assert counts["water"] == figures.pixels["water"] == (classes == 1).sum()
        assert counts["built"] == figures.pixels["built"] == (classes == 2).sum()
    item = json.loads((output / "item.json").read_text())
    assert item["properties"]["datetime"].startswith("2021-01-01")


def test_the_item_is_valid_offline_and_says_what_gdal_says(
    mosaic: Mosaic, subject: MapSubject, validator: JsonSchemaSTACValidator
) -> None:
    write_products(mosaic, subject, ProductsConfig(evidence=True))
    output = mosaic.path.parent
    item = json.loads((output / "item.json").read_text())
    checked = validate_dict(item, validator=validator)
    assert set(item["stac_extensions"]) < set(checked)
    band = item["assets"]["probability"]["bands"][0]
    with rasterio.open(output / "probability.tif") as file:
        values = file.read(1, masked=True).compressed()
    assert band["statistics"]["mean"] == pytest.approx(values.mean())
    assert band["statistics"]["maximum"] == values.max()
    names = [entry["name"] for entry in item["assets"]["reason"]["classification:classes"]]
    assert names[4] == "masked_before"


def test_maps_of_two_models_or_areas_have_ids_of_their_own_in_a_collection(
    tmp_path: Path, mosaic: Mosaic, subject: MapSubject
) -> None:
    path = tmp_path / "collection.json"
    other = AreaOfInterest(subject.aoi.name, subject.aoi.geometry.buffer(0.01))
    subjects = [
        replace(subject, model={**subject.model, "digest": "a" * 64}),
        replace(subject, model={**subject.model, "digest": "b" * 64}),
        replace(subject, model={**subject.model, "digest": "b" * 64}, aoi=other),
    ]
    for number, one in enumerate([*subjects, *subjects]):
        folder = tmp_path / f"map{number}"
        shutil.copytree(mosaic.path, folder / "mosaic.zarr")
        write_products(
            Mosaic(folder / "mosaic.zarr", mosaic.grid), one, ProductsConfig(collection=path)
        )
    ids = [item.id for item in pystac.Collection.from_file(str(path)).get_items()]
    assert len(set(ids)) == 3 and ids[:3] == ids[3:]  # the same model and area: the same id
    stem = f"{subject.aoi.name}-change-"
    assert all(re.fullmatch(rf"{stem}[0-9]{{8}}-[0-9]{{8}}-[0-9a-f]{{8}}", one) for one in ids)


def test_a_collection_grows_by_each_map_once_though_all_come_together(
    tmp_path: Path, mosaic: Mosaic, subject: MapSubject, validator: JsonSchemaSTACValidator
) -> None:
    path = tmp_path / "collection.json"
    write_products(mosaic, subject, ProductsConfig(collection=path))
    item = json.loads((tmp_path / "map" / "item.json").read_text())
    validate_dict(item, validator=validator)
    for number in range(6):
        (tmp_path / f"map{number}").mkdir()
        other = {**item, "id": f"map{number}", "bbox": [number, 1, number + 1, 2]}
        (tmp_path / f"map{number}" / "item.json").write_text(json.dumps(other))
    names = [f"map{number}" for number in range(6)]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda name: add_to_collection(path, tmp_path / name / "item.json"), names * 2)
        )
    collection = pystac.Collection.from_file(str(path))
    validate_dict(json.loads(path.read_text()), validator=validator)
    assert {found.id for found in collection.get_items()} == {item["id"], *names}
    assert len(collection.get_links("item")) == 7
    assert collection.extent.spatial.bboxes[0][0] == 0
    before = path.read_bytes()
    add_to_collection(path, tmp_path / "map3" / "item.json")
    assert path.read_bytes() == before


def test_something_else_in_the_place_of_the_collection_is_refused(tmp_path: Path) -> None:
    (tmp_path / "collection.json").write_text('{"type": "FeatureCollection"}')
    with pytest.raises(OutputMismatchError, match="not a STAC collection"):
        add_to_collection(tmp_path / "collection.json", tmp_path / "map" / "item.json")


def test_quicklook_shows_north_up_and_the_class_colour(mosaic: Mosaic, subject: MapSubject) -> None:
    write_products(mosaic, subject, ProductsConfig())
    picture = np.asarray(Image.open(mosaic.path.parent / "quicklook.png").convert("RGB"))
    red = (picture == (215, 25, 28)).all(axis=2)
    no_decision = (picture == (207, 198, 230)).all(axis=2)
    assert red.any()
    rows, cols = np.nonzero(no_decision[: no_decision.shape[0] // 2])
    assert rows.mean() < np.nonzero(red)[0].mean() and cols.mean() < np.nonzero(red)[1].mean() + 1


def test_package_tables_are_those_that_desktop_gis_knows(
    mosaic: Mosaic, subject: MapSubject
) -> None:
    write_products(mosaic, subject, ProductsConfig())
    with sqlite3.connect(mosaic.path.parent / "polygons.gpkg") as database:
        tables = dict(database.execute("SELECT table_name, data_type FROM gpkg_contents"))
        assert tables == {"polygons": "features", "layer_styles": "attributes"}
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    "hostile", ["</script><script>alert(1)</script>", "\"'><img src=x>", "a&b", "$_$"]
)
def test_the_report_holds_no_markup_that_it_was_given(
    mosaic: Mosaic, subject: MapSubject, hostile: str
) -> None:
    scene = replace(subject.after[0], id=hostile, attribution=hostile, href="javascript:alert(1)")
    classes: list[dict[str, Any]] = [
        {**entry, "name": hostile + entry["name"]} for entry in subject.classes
    ]
    area = replace(subject.aoi, name=hostile)
    given = replace(subject, aoi=area, after=[scene], classes=classes, model={hostile: hostile})
    write_products(mosaic, given, ProductsConfig())
    page = (mosaic.path.parent / "report.html").read_text()
    assert page.count("<script") == 2 and page.count("</script") == 2
    assert "<img src=x" not in page and 'href="javascript' not in page
    start = page.index('type="application/json">') + len('type="application/json">')
    data = json.loads(page[start : page.index("</script>", start)])
    assert data["areas"][0]["class_name"] == hostile + "changed"
