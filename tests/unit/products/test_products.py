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
import pyogrio
import pystac
import pytest
import rasterio
from PIL import Image
from pystac.validation import validate_dict
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.mapping.overviews import overviews_digest, write_overviews
from noise2map_core.mapping.seams import seam_ratio
from noise2map_core.products import bundle
from noise2map_core.products.bundle import (
    PACKAGE,
    TILES,
    clear_output,
    product_files,
    write_products,
)
from noise2map_core.products.manifest import stated_of
from noise2map_core.products.pictures import stretched
from noise2map_core.products.stac.collection import add_to_collection
from noise2map_core.products.subject import MapSubject
from noise2map_core.products.vectors.pmtiles import NO_TILES
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.runtime.mapper import here
from noise2map_core.settings.products import ProductsConfig
from tests.map_factories import blobs, subject_of, write_mosaic
from tests.mappers import elsewhere, pickled
from tests.stac import offline_validator

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
    return offline_validator(real_data / "stac_schemas")


def test_exactly_the_promised_files_are_written_and_cleared(
    mosaic: Mosaic, subject: MapSubject
) -> None:
    output, config = mosaic.path.parent, ProductsConfig(evidence=True, min_area_px=1)
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


def test_whoever_makes_the_parts_products_and_overviews_are_the_same_bytes(
    mosaic: Mosaic, subject: MapSubject
) -> None:
    output, config, found = mosaic.path.parent, ProductsConfig(evidence=True), []
    for mapper in (here, pickled, elsewhere):
        write_overviews(mosaic, mapper)
        figures = write_products(mosaic, subject, config, mapper=mapper)
        names = product_files(mosaic, subject, config)
        found.append(({name: file_sha256(output / name) for name in names}, figures))
        found[-1] += (overviews_digest(mosaic), seam_ratio(mosaic, 64, 64, mapper=mapper))
    assert found[0] == found[1] == found[2]


def test_the_manifest_lists_what_was_written_without_reading_it_again(
    mosaic: Mosaic, subject: MapSubject
) -> None:
    config = ProductsConfig()
    figures = write_products(mosaic, subject, config)
    names = product_files(mosaic, subject, config)
    listed = {name: stated_of(mosaic.path.parent / name) for name in names}
    assert figures.products == listed


@pytest.mark.parametrize(
    "nothing", [ProductsConfig(min_area_m2=1e9), ProductsConfig(vector_tiles=False)]
)
def test_a_map_without_polygons_or_wish_has_no_tiles_and_keeps_none_of_an_earlier_one(
    mosaic: Mosaic, subject: MapSubject, nothing: ProductsConfig
) -> None:
    output = mosaic.path.parent
    write_products(mosaic, subject, ProductsConfig())
    assert (output / TILES).is_file()
    write_products(mosaic, subject, nothing)
    assert not (output / TILES).exists() and TILES not in product_files(mosaic, subject, nothing)
    assert "polygons-pmtiles" not in json.loads((output / "item.json").read_text())["assets"]


def test_without_a_writer_of_tiles_the_map_is_made_and_says_so_once(
    mosaic: Mosaic, subject: MapSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyogrio, "list_drivers", lambda **_: {"GPKG": "rw"})
    figures = write_products(mosaic, subject, ProductsConfig())
    assert [text for text in figures.warnings if "PMTiles" in text] == [NO_TILES]
    assert TILES not in product_files(mosaic, subject, ProductsConfig())


def test_more_polygons_than_a_package_holds_are_in_the_other_files_and_it_is_said(
    mosaic: Mosaic, subject: MapSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, config = mosaic.path.parent, ProductsConfig()
    count = write_products(mosaic, subject, config).polygons
    for most, there in ((count, True), (count - 1, False)):
        monkeypatch.setattr(bundle, "MOST_IN_PACKAGE", most)
        figures = write_products(mosaic, subject, config)
        assert len(gpd.read_parquet(output / "polygons.parquet")) == figures.polygons == count
        assert (output / PACKAGE).exists() == there == (PACKAGE in figures.products)
        assets = json.loads((output / "item.json").read_text())["assets"]
        assert ("polygons-gpkg" in assets) == there
        said = [text for text in figures.warnings if f"there are {count} polygons" in text]
        assert len(said) == (not there)


def test_a_mapping_unit_leaves_the_rasters_alone(mosaic: Mosaic, subject: MapSubject) -> None:
    output = mosaic.path.parent
    all_of_them = write_products(mosaic, subject, ProductsConfig())
    change = file_sha256(output / "change.tif")
    some = write_products(mosaic, subject, ProductsConfig(min_area_m2=5_000))
    assert 0 < some.polygons < all_of_them.polygons
    assert file_sha256(output / "change.tif") == change


def test_areas_under_four_pixels_are_no_polygons_and_are_counted(
    tmp_path: Path, subject: MapSubject
) -> None:
    classes = np.zeros(SHAPE, np.uint8)
    for size in range(1, 7):
        classes[10 * size, 5 : 5 + size] = 1
    (tmp_path / "map").mkdir()
    mosaic = write_mosaic(tmp_path / "map" / "mosaic.zarr", classes)
    figures = write_products(mosaic, subject, ProductsConfig())
    output = tmp_path / "map"
    assert sorted(gpd.read_parquet(output / "polygons.parquet")["pixels"]) == [4, 5, 6]
    assert (figures.polygons, figures.left_out) == (3, 3)
    assert figures.left_out_m2 == pytest.approx(600, rel=0.01)
    assert figures.pixels["changed"] == 21
    page = (output / "report.html").read_text()
    assert "3 smaller ones (0.1 ha in all) are on the map and not in the list" in page
    with rasterio.open(output / "change.tif") as file:
        assert (file.read(1) == 1).sum() == 21


def test_reasons_are_told_apart_in_raster_item_quicklook_and_report(tmp_path: Path) -> None:
    reasons = np.zeros((96, 96), np.uint8)
    for number, reason in enumerate((3, 4, 9, 10)):
        reasons[10:40, 20 * number : 20 * number + 12] = reason
    output = tmp_path / "map"
    output.mkdir()
    classes = np.eye(96, dtype=np.uint8)
    mosaic = write_mosaic(output / "mosaic.zarr", classes, reasons=reasons)
    figures = write_products(mosaic, subject_of(tmp_path / "scenes", 96, 96), ProductsConfig())
    told = ["cloud before", "cloud shadow before", "cloud suspected after", "no image after"]
    assert list(figures.undecided) == told
    assert set(figures.undecided.values()) == {360}
    with rasterio.open(output / "reason.tif") as file:
        assert np.array_equal(file.read(1), reasons)
        assert file.colormap(1)[4] == (43, 131, 186, 255)
    item = json.loads((output / "item.json").read_text())
    table = {e["value"]: e for e in item["assets"]["reason"]["classification:classes"]}
    assert table[9]["name"] == "cloud_suspected_after"
    assert table[9]["color_hint"] == "66C2A4"
    picture = np.asarray(Image.open(output / "quicklook.png").convert("RGB"))
    for color in ((43, 131, 186), (74, 78, 105), (102, 194, 164), (194, 165, 207)):
        assert (picture == color).all(axis=2).sum() > 100
    layers = report_data(output)["layers"]
    (reason,) = (layer for layer in layers if layer["id"] == "reason")
    assert reason["shown"]
    assert [text for _, text in reason["legend"]] == [f"no decision: {name}" for name in told]


def report_data(output: Path) -> dict[str, Any]:
    page = (output / "report.html").read_text()
    start = page.index('type="application/json">') + len('type="application/json">')
    found: dict[str, Any] = json.loads(page[start : page.index("</script>", start)])
    return found


def test_warnings_stand_in_report_and_item_and_say_what_to_do(tmp_path: Path) -> None:
    classes, reasons = np.ones((96, 96), np.uint8), np.zeros((96, 96), np.uint8)
    classes[:10], reasons[-20:] = 0, 8
    output = tmp_path / "map"
    output.mkdir()
    mosaic = write_mosaic(output / "mosaic.zarr", classes, reasons=reasons)
    subject = subject_of(tmp_path / "scenes", 96, 96)
    figures = write_products(mosaic, subject, ProductsConfig(), {"warnings": ["a <run>. Mend it."]})
    run, changed, suspected = figures.warnings
    assert run == "a <run>. Mend it."
    assert changed.startswith("87% of the decided pixels are changed")
    assert "products.threshold" in changed
    assert suspected.startswith("clouds are suspected on 20.8% of the area")
    assert "mask.suspect" in suspected
    item = json.loads((output / "item.json").read_text())
    assert item["properties"]["noise2map:warnings"] == list(figures.warnings)
    page = (output / "report.html").read_text()
    assert page.index("a &lt;run&gt;. Mend it.") < page.index('id="stage"')


def test_report_and_item_name_no_folder_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "map").mkdir()
    mosaic = write_mosaic(tmp_path / "map" / "mosaic.zarr", np.ones((96, 96), np.uint8))
    subject = subject_of(tmp_path / "scenes", 96, 96)
    write_products(mosaic, subject, ProductsConfig())
    for name in ("report.html", "item.json"):
        page = (tmp_path / "map" / name).read_text()
        assert subject.epochs["after"][0][0].id in page and str(tmp_path) not in page


def test_the_contrast_is_that_of_the_ground_and_not_of_clouds() -> None:
    image = np.linspace(0, 100, 400).reshape(1, 20, 20)
    image[0, :5] = 10_000
    valid, ground = np.ones((20, 20), np.bool_), np.ones((20, 20), np.bool_)
    ground[:5] = False
    picture = stretched(image, valid, (0, 0, 0), ground)
    assert picture[5:].std() > 0.25
    assert stretched(image, valid, (0, 0, 0))[5:].std() < 0.01
    assert np.array_equal(
        stretched(image, valid, (0, 0, 0), ~valid), stretched(image, valid, (0, 0, 0))
    )


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
    figures = write_products(mosaic, one_date, ProductsConfig(min_area_px=1))
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
    assert names[4] == "cloud_before"
    assert item["properties"].get("noise2map:warnings") is None


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
    assert all(
        re.fullmatch(rf"{stem}[0-9]{{8}}-[0-9]{{8}}-model-[0-9a-f]{{8}}", one) for one in ids
    )


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
    no_decision = (picture == (43, 131, 186)).all(axis=2)  # cloud before
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
    data = report_data(mosaic.path.parent)
    assert data["areas"][0]["class_name"] == hostile + "changed"
