"""Products of a day: all of them, once, and once more when a day is replayed."""

import json
import shutil
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import pystac
import pytest
import rasterio
import shapely
from pystac.extensions.version import VersionExtension
from pystac.validation import validate_dict
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from noise2map_core.alert_products.bundle import write_alert_products
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.runtime.mapper import Mapper
from tests.alert_product_factories import AS_OF, alert_table, random_state, write_area
from tests.mappers import pickled
from tests.stac import offline_validator

SHAPE = (120, 100)
FILES = {
    "alert_first.tif", "alert_hits.tif", "alert_last.tif", "alert_looks.tif", "alert_p_mean.tif",
    "alert_status.tif", "alert_status.tif.aux.xml", "alerts.gpkg", "alerts.parquet", "alerts.qml",
    "alerts.pmtiles", "item.json",
    *(f"alert_{name}.{end}" for name in ("first", "hits", "last", "looks", "p_mean", "status")
      for end in ("qml", "sld")),
}  # fmt: skip
AOI = AreaOfInterest("farm", shapely.box(15.0, 45.1, 15.02, 45.2))


@pytest.fixture
def area(tmp_path: Path) -> Path:
    write_area(tmp_path / "farm", random_state(*SHAPE))
    return tmp_path / "farm"


@pytest.fixture(scope="session")
def validator(real_data: Path) -> JsonSchemaSTACValidator:
    return offline_validator(real_data / "stac_schemas")


def make(area: Path, aoi: AreaOfInterest = AOI) -> Path:
    return write_alert_products(area, aoi, area / "collection.json")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "item.json").read_text())
    return document


def items(area: Path) -> list[Path]:
    """What the area's collection lists."""
    found = pystac.Collection.from_file(str(area / "collection.json")).get_items()
    return [Path(item.self_href) for item in found]


def test_all_products_lie_in_the_folder_of_their_day(area: Path) -> None:
    folder = make(area)
    assert folder == area / "alerts" / "products" / str(AS_OF)
    assert {path.name for path in folder.iterdir()} == FILES


def test_parts_that_others_make_are_the_same_bytes(area: Path) -> None:
    """As tasks of a cluster do."""
    here = contents(make(area))
    shutil.rmtree(area / "alerts" / "products")
    (area / "collection.json").unlink()
    grids = []

    def elsewhere(grid: RegionGrid) -> AbstractContextManager[Mapper]:
        grids.append(grid)
        return nullcontext(pickled)

    made = write_alert_products(area, AOI, area / "collection.json", elsewhere)
    assert [grid.region.height for grid in grids] == [SHAPE[0]]
    rasters = [name for name in here if name.endswith(".tif")]
    there = contents(made)
    assert rasters and {name: there[name] for name in rasters} == {n: here[n] for n in rasters}


def test_the_item_is_valid_and_says_parameters_and_counts(
    area: Path, validator: JsonSchemaSTACValidator
) -> None:
    item = read(make(area))
    assert set(item["stac_extensions"]) < set(validate_dict(item, validator=validator))
    validate_dict(json.loads((area / "collection.json").read_text()), validator=validator)
    facts = item["properties"]
    assert {name: facts[f"alert:{name}"] for name in ("k", "n", "m", "t", "epoch")} == {
        "k": 2, "n": 4, "m": 3, "t": 180, "epoch": "1970-01-01",
    }  # fmt: skip
    state = random_state(*SHAPE)
    unseen = state["seen"] == 0
    counts = Counter(state["status"][~unseen].tolist())
    assert facts["alert:counts"]["pixels"] == {
        "no alert": counts[0], "provisional": counts[1], "confirmed": counts[2],
        "ended": counts[3], "not seen": int(unseen.sum()),
    }  # fmt: skip
    statuses = ("provisional", "confirmed", "ended", "rejected")
    assert facts["alert:counts"]["objects"] == dict.fromkeys(statuses, 1)
    assert "version" not in facts


def test_assets_say_what_their_files_hold(area: Path) -> None:
    folder = make(area)
    assets = read(folder)["assets"]
    assert {asset["href"].removeprefix("./") for asset in assets.values()} == FILES - {"item.json"}
    assert assets["alert_first"]["bands"][0]["unit"] == "days since 1970-01-01"
    names = {one["value"]: one["name"] for one in assets["alert_status"]["classification:classes"]}
    assert names == {0: "no_alert", 1: "provisional", 2: "confirmed", 3: "ended"}
    with rasterio.open(folder / "alert_first.tif") as file:
        assert assets["alert_first"]["bands"][0]["data_type"] == file.dtypes[0] == "uint16"


def test_a_second_time_touches_nothing(area: Path) -> None:
    folder = make(area)
    before = {path: path.stat().st_mtime_ns for path in area.rglob("*")}
    assert make(area) == folder
    assert {path: path.stat().st_mtime_ns for path in area.rglob("*")} == before


def test_a_replayed_day_is_a_version_beside_the_earlier_one(
    area: Path, validator: JsonSchemaSTACValidator
) -> None:
    first = make(area)
    earlier = contents(first)
    for number in (2, 3):
        write_area(area, random_state(*SHAPE, seed=number), key=str(number))
        folder = make(area)
        assert folder.name == f"{AS_OF}.v{number}" and contents(first) == earlier
        item = read(folder)
        validate_dict(item, validator=validator)
        found = pystac.Item.from_file(str(folder / "item.json"))
        assert VersionExtension.ext(found).version == str(number)
        (link,) = found.get_links("predecessor-version")
        at = (folder / link.href).resolve() if link.href.startswith("..") else Path(link.href)
        assert json.loads(Path(at).read_text())["properties"].get("version", "1") == str(number - 1)
        assert items(area) == [folder / "item.json"]


def test_a_day_that_was_withdrawn_is_taken_from_the_collection(area: Path) -> None:
    later = make(area)
    write_area(area, random_state(*SHAPE), as_of=date(2025, 6, 15))
    folder = make(area)
    assert folder.name == "2025-06-15" and later.is_dir()
    assert items(area) == [folder / "item.json"]
    write_area(area, random_state(*SHAPE))  # it came back
    assert make(area) == later
    assert items(area) == [folder / "item.json", later / "item.json"]


def test_what_a_kill_left_of_a_version_is_made_again(area: Path) -> None:
    folder = make(area)
    whole = contents(folder)
    (folder / "item.json").unlink()  # written last
    (folder / "alerts.gpkg").write_bytes(b"half")
    assert make(area) == folder and contents(folder) == whole


def test_the_same_state_gives_the_same_bytes_whatever_the_tiles(tmp_path: Path) -> None:
    made = []
    for tile_px in (32, 256):
        area = tmp_path / str(tile_px) / "farm"
        write_area(area, random_state(*SHAPE), tile_px)
        made.append(contents(make(area)))
    assert made[0] == made[1]


def test_names_with_marks_and_quotes_stay_text(
    tmp_path: Path, validator: JsonSchemaSTACValidator
) -> None:
    name = '<b>"O\'Brien" & sons</b>'
    area = tmp_path / "farm"
    grid = write_area(area, random_state(*SHAPE))
    from noise2map_core.alerts.tables import write_alerts

    write_alerts(area / "alerts" / "alerts.parquet", alert_table(grid, reject_reason=name))
    folder = make(area, AreaOfInterest(name, AOI.geometry))
    item = read(folder)
    validate_dict(item, validator=validator)
    assert item["properties"]["title"] == f"{name}: alerts of {AS_OF}"
    assert (
        gpd.read_file(folder / "alerts.gpkg", layer="alerts")["reject_reason"].tolist()
        == [name] * 4
    )


def test_an_area_without_alerts_or_without_its_table_is_named(tmp_path: Path, area: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(OutputMismatchError, match="bare has no alerts"):
        make(tmp_path / "bare")
    (area / "alerts" / "alerts.parquet").unlink()
    with pytest.raises(OutputMismatchError, match=r"alerts.parquet is missing"):
        make(area)
