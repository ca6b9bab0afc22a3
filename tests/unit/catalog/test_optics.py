"""What items say of the light that they show."""

import json
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.catalog.item import Item
from noise2map_core.catalog.optics import find_optics

SIX = {"blue", "green", "red", "nir", "swir16", "swir22"}


def made(name: str = "x", **properties: Any) -> Item:
    return Item(
        {"id": name, "properties": properties, "assets": {"red": {"href": "red.tif"}}}, "/x.json"
    )


def test_real_items_of_all_sensors_have_the_bands_that_detectors_need(real_data: Path) -> None:
    files = sorted((real_data / "items").glob("*.json"))
    assert len(files) > 5
    for file in files:
        optics = find_optics(Item(json.loads(file.read_text()), str(file)))
        assert optics.sensor == ("landsat" if "landsat" in file.name else "sentinel-2")
        assert optics.level == "l2a"
        assert {band.name for band in optics.bands} >= SIX
        assert all(band.scale for band in optics.bands if band.name in SIX)


@pytest.mark.parametrize(
    ("name", "properties", "level"),
    [
        ("S2A_MSIL1C_20200101T101010_N0500_R022_T33UUP", {}, "l1c"),
        ("S2B_T33UUP_20200101_L2A", {}, "l2a"),
        ("LC08_L1TP_021030_20200109", {}, "l1c"),
        ("x", {"s2:product_type": "S2MSI1C"}, "l1c"),
        ("x", {"processing:level": "L2A"}, "l2a"),
        ("x", {"landsat:correction": "L2SR"}, "l2a"),
        ("x_L2A", {"processing:level": "L1C"}, "l1c"),
        ("oscd-paris-20171107", {}, ""),
        ("small2a-l3a", {}, ""),
    ],
)
def test_the_level_is_stated_or_stands_in_the_name(
    name: str, properties: dict[str, Any], level: str
) -> None:
    assert find_optics(made(name, **properties)).level == level


@pytest.mark.parametrize(
    ("name", "properties", "sensor"),
    [
        ("x", {"platform": "sentinel-2b"}, "sentinel-2"),
        ("x", {"platform": "landsat-8"}, "landsat"),
        ("LE07_L2SP_021030_20100109_02_T1", {}, "landsat"),
        ("LE07_L2SP_021030_20100109_02_T1", {"platform": "naip"}, ""),
        ("m_4609732_se_14_1_2009", {}, ""),
    ],
)
def test_the_sensor_is_stated_or_stands_in_the_name(
    name: str, properties: dict[str, Any], sensor: str
) -> None:
    assert find_optics(made(name, **properties)).sensor == sensor


@pytest.mark.parametrize("broken", [{"nodata": "none"}, {"raster:scale": 0}, {"bands": [7]}])
def test_a_band_that_nobody_maps_may_be_broken(broken: dict[str, Any]) -> None:
    item = made()
    item.assets["green"] = {"href": "green.tif", **broken}
    assert "green" not in {band.name for band in find_optics(item).bands}
