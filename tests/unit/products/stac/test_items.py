"""Items: valid, whole, at home wherever the folder is copied, under ids that are theirs alone."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pystac
import pytest
import rasterio
import zarr
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from stac_geoparquet.arrow import stac_table_to_items

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.models.weight_files import count_parameters
from noise2map_core.products.bundle import write_products
from noise2map_core.products.stac.collection import add_asset, add_to_collection
from noise2map_core.products.stac.item import item_id
from noise2map_core.products.stac.terms import identifier
from noise2map_core.products.subject import MapSubject
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.settings.products import ProductsConfig
from tests.map_factories import blobs, subject_of, write_mosaic
from tests.stac import dead_hrefs, hrefs, offline_validator, require_valid

SHAPE = (96, 130)
NAMES = ('<b>"fields"</b>', "a/b\\c", "Zürich & 北京", "  ", "..", "x" * 300, "farm's 'n\" <i>")


@pytest.fixture(scope="module")
def validator(real_data: Path) -> JsonSchemaSTACValidator:
    return offline_validator(real_data / "stac_schemas")


@pytest.fixture
def mosaic(tmp_path: Path) -> Mosaic:
    (tmp_path / "map").mkdir()
    return write_mosaic(tmp_path / "map" / "mosaic.zarr", blobs(*SHAPE))


@pytest.fixture
def subject(tmp_path: Path) -> MapSubject:
    return subject_of(tmp_path / "scenes", *SHAPE)


def made(mosaic: Mosaic, subject: MapSubject, **config: Any) -> dict[str, Any]:
    write_products(mosaic, subject, ProductsConfig(**config))
    found: dict[str, Any] = json.loads((mosaic.path.parent / "item.json").read_text())
    return found


def test_every_file_of_a_map_is_an_asset_and_every_link_leads_there_from_another_place(
    mosaic: Mosaic, subject: MapSubject, tmp_path: Path, validator: JsonSchemaSTACValidator
) -> None:
    item = made(mosaic, subject, evidence=True)
    require_valid(item, validator)
    moved = tmp_path / "elsewhere" / "copy"
    shutil.copytree(mosaic.path.parent, moved)
    shutil.rmtree(mosaic.path.parent)
    assert dead_hrefs(moved / "item.json") == []
    assets = {Path(asset["href"]).name for asset in item["assets"].values()}
    assert assets == {path.name for path in moved.iterdir()} - {"item.json"}
    assert str(tmp_path) not in json.dumps(item)
    for asset in item["assets"].values():
        if not asset["href"].endswith(".zarr"):
            assert asset["file:checksum"] == "1220" + file_sha256(moved / asset["href"])


def test_an_item_says_of_rasters_and_mosaic_what_gdal_and_zarr_say(
    mosaic: Mosaic, subject: MapSubject
) -> None:
    item = made(mosaic, subject)
    properties, folder = item["properties"], mosaic.path.parent
    for name in ("change", "probability", "reason"):
        asset = item["assets"][name]
        with rasterio.open(folder / asset["href"]) as file:
            (band,) = asset["bands"]
            assert properties["proj:shape"] == [file.height, file.width]
            assert properties["proj:transform"] == list(file.transform)[:6]
            assert properties["proj:bbox"] == list(file.bounds)
            assert properties["proj:code"] == f"EPSG:{file.crs.to_epsg()}"
            assert properties["gsd"] == pytest.approx(10, rel=0.01)
            assert band["data_type"] == file.dtypes[0]
            assert band.get("nodata") == file.nodata
            assert band.get("raster:scale", 1) == file.scales[0]
            assert band.get("unit") == file.units[0]
    asset = item["assets"]["mosaic"]
    assert (asset["type"], asset["roles"]) == ("application/vnd.zarr; version=3", ["data"])
    group = zarr.open_group(folder / asset["href"], mode="r")
    for band in asset["bands"]:
        array = group[band["name"]]
        assert isinstance(array, zarr.Array)
        assert list(array.shape) == asset["proj:shape"]
        assert band["data_type"] in (array.dtype.name, "other")
        assert band.get("nodata", array.fill_value) == array.fill_value
        assert array.attrs.get("scale_factor", 1) == band.get("raster:scale", 1)
    photo = item["assets"]["before"]
    assert photo["roles"] == ["visual", "overview"]
    with rasterio.open(folder / "before.tif") as file:
        assert photo["proj:shape"] == [file.height, file.width]


def test_equal_maps_have_equal_ids_and_no_two_others_do(subject: MapSubject) -> None:
    geometry, model = subject.aoi.geometry, subject.model
    others = [
        subject, replace(subject, model={**model, "digest": "1" * 64}),
        replace(subject, model={**model, "digest": "1" * 64, "preset": "small"}),
        replace(subject, aoi=AreaOfInterest("somewhere", geometry.buffer(0.1))),
        replace(subject, before=()),
        *(replace(subject, aoi=AreaOfInterest(name, geometry)) for name in NAMES),
    ]  # fmt: skip
    ids = [item_id(one) for one in others]
    assert ids == [item_id(replace(one)) for one in others] and len(set(ids)) == len(others)
    assert all(re.fullmatch("[0-9A-Za-z_-]{20,130}", one) for one in ids)
    assert "-small-" in ids[2]


def test_a_collection_holds_each_box_once_and_a_table_of_the_very_items(
    mosaic: Mosaic, subject: MapSubject, tmp_path: Path, validator: JsonSchemaSTACValidator
) -> None:
    area = tmp_path / 'far <"m">'
    shutil.copytree(mosaic.path, area / "slices" / "1" / "mosaic.zarr")
    shutil.copytree(mosaic.path, area / "slices" / "2" / "mosaic.zarr")
    path = area / "collection.json"
    for number in (1, 2):
        one = replace(subject, model={**subject.model, "digest": f"{number}" * 64})
        place = Mosaic(area / "slices" / str(number) / "mosaic.zarr", mosaic.grid)
        item = made(place, one, collection=path)
        require_valid(item, validator)
        assert dead_hrefs(place.path.parent / "item.json") == []
    (area / "objects").mkdir()
    shutil.copy(area / "slices/1/polygons.parquet", area / "objects" / "1.parquet")
    shutil.copy(area / "slices/1/polygons.pmtiles", area / "changes.pmtiles")
    add_asset(path, area / "objects" / "1.parquet", "Objects")
    add_asset(path, area / "changes.pmtiles", "Changes")
    document = json.loads(path.read_text())
    require_valid(document, validator)
    assert dead_hrefs(path) == []
    assert document["extent"]["spatial"]["bbox"] == [item["bbox"]]
    assert set(document["assets"]) == {"items", "objects/1", "changes-pmtiles"}
    assert set(document["item_assets"]) == set(item["assets"])
    assert {one["name"] for one in document["providers"]} >= {"noise2map"}
    assert document["title"] == area.name and document["id"] == identifier(area.name)
    collection = pystac.Collection.from_file(str(path))
    items = {one.id: one for one in collection.get_items(recursive=True)}
    assert all(one.get_root() is collection for one in items.values())
    rows = list(stac_table_to_items(read_table(area / "items.parquet")))
    assert [row["id"] for row in rows] == sorted(items)
    for row in rows:
        assert row["assets"].keys() == items[row["id"]].assets.keys()
        assert all((area / href).exists() for href in hrefs(row) if "://" not in href)
        assert row["properties"]["noise2map:model"] == subject.model | {
            "digest": items[row["id"]].properties["noise2map:model"]["digest"]
        }
    before = {file.name: file.read_bytes() for file in area.glob("*.*")}
    add_to_collection(path, area / "slices" / "2" / "item.json")
    assert before == {file.name: file.read_bytes() for file in area.glob("*.*")}


def read_table(path: Path) -> Any:
    import pyarrow.parquet as pq  # here alone

    return pq.read_table(path)


def test_parameters_are_counted_as_torch_counts_them() -> None:
    from noise2map_core.models.checkpoint import load_checkpoint  # seconds
    from noise2map_core.models.shipped import checkpoint_folder

    model = load_checkpoint("buildings")
    counted = sum(one.numel() for one in model.parameters())
    assert count_parameters(checkpoint_folder("buildings") / "model.safetensors") == counted
