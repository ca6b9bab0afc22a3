import json
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.catalog.bands import find_bands
from noise2map_core.catalog.item import Item
from noise2map_core.catalog.sensors import BandNumbers, find_mask, numbers_of
from noise2map_core.runtime.errors import CatalogError


def item(real_data: Path, name: str) -> Item:
    path = real_data / "items" / f"{name}.json"
    return Item(json.loads(path.read_text()), str(path))


@pytest.mark.parametrize(
    ("name", "added", "mask"),
    [
        ("s2-l2a-baseline-0212", 0, "scl"),
        ("s2-l2a-baseline-0400", -1000, "scl"),
        ("s2-l2a-baseline-0509-antimeridian", -1000, "scl"),
        ("landsat-c2-l2-oli", 0, "qa_pixel"),
        ("landsat-c2-l2-tm", 0, "qa_pixel"),
    ],
)
def test_real_items_give_offset_and_mask(real_data: Path, name: str, added: int, mask: str) -> None:
    document = item(real_data, name)
    found = find_bands(document, ("red",))
    assert found is not None and found.sources[0].added_dn == added
    source = find_mask(document)
    assert source is not None and source.kind == mask


def test_an_offset_that_was_taken_off_already_is_not_taken_off_again(real_data: Path) -> None:
    document = item(real_data, "s2-l2a-baseline-0400")
    document.document["properties"]["earthsearch:boa_offset_applied"] = True
    found = find_bands(document, ("red",))
    assert found is not None and found.sources[0].added_dn == 0


@pytest.mark.parametrize(
    ("baseline", "added"),
    [("03.01", 0), ("05.10", -1000), ("N0510", -1000), ("N0212", 0), ("2.12", 0), (5.1, -1000)],
)
def test_without_a_stated_offset_the_processing_baseline_decides(
    real_data: Path, baseline: Any, added: int
) -> None:
    document = item(real_data, "s2-l2a-baseline-0400")
    document.document["properties"]["s2:processing_baseline"] = baseline
    for asset in document.document["assets"].values():
        asset.pop("raster:bands", None)
    found = find_bands(document, ("red", "aot"))
    assert found is not None
    assert [source.added_dn for source in found.sources] == [added, 0]


def stating(properties: dict[str, Any], **document: Any) -> Item:
    return Item({"id": "i", "properties": properties, **document}, "/i.json")


SENTINEL_2 = {"scale": 0.0001, "offset": -0.1}


@pytest.mark.parametrize(
    "item",
    [
        stating({"platform": "sentinel-2a"}),
        stating({"platform": "Sentinel-2C"}),
        stating({"constellation": "Sentinel-2"}),
        stating({"s2:processing_baseline": "04.00"}),
        stating({}, collection="sentinel-2-l2a"),
        stating({}, id="S2B_MSIL2A_20220125T000241_N0400_R030_T01KAB"),
    ],
)
def test_sentinel_2_is_known_by_what_the_item_says_of_its_sensor(item: Item) -> None:
    assert numbers_of(item, SENTINEL_2).added_dn == -1000


@pytest.mark.parametrize(
    ("item", "table"),
    [
        (stating({"platform": "planet"}, collection="sentinel-2-like"), SENTINEL_2),
        (stating({"platform": "sentinel-20"}), SENTINEL_2),
        (stating({}), SENTINEL_2),
        (stating({}, collection="glass2-lst"), SENTINEL_2),
        (stating({"platform": "sentinel-2a"}), {"scale": 0.004, "offset": -0.08}),
        (stating({"platform": "sentinel-2a"}), {"scale": 0.001, "offset": -1.0}),
    ],
)
def test_whole_numbers_of_steps_of_anything_else_stay(item: Item, table: dict[str, float]) -> None:
    assert numbers_of(item, table) == BandNumbers(table["scale"], table["offset"])


def test_what_is_not_stated_beside_a_scale_or_an_offset_is_nothing() -> None:
    assert numbers_of(stating({}), {"scale": 0.5}) == BandNumbers(0.5, 0.0)
    assert numbers_of(stating({}), {"offset": -40}) == BandNumbers(1.0, -40.0)
    assert numbers_of(stating({}), {}) == BandNumbers(None, None)


@pytest.mark.parametrize(
    "table",
    [
        {"scale": 0.1, "offset": float("nan")}, {"scale": 0.1, "offset": 1e308},
        {"scale": float("inf")}, {"scale": 0}, {"scale": 0.1, "raster:offset": 10**400},
    ],
)  # fmt: skip
def test_numbers_that_measure_nothing_are_refused(table: dict[str, float]) -> None:
    with pytest.raises(CatalogError, match=r"item i: its (raster:)?(scale|offset) is"):
        numbers_of(stating({}), table)
