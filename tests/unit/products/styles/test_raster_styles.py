"""Styles of rasters: what a program that reads them finds, whatever names are called."""

from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import rasterio

from noise2map_core.products.styles.attribute_table import attribute_table
from noise2map_core.products.styles.legend import (
    Legend,
    amount_legend,
    class_legend,
    number_legend,
)
from noise2map_core.products.styles.raster_qml import raster_style
from noise2map_core.products.styles.sld import polygon_sld, raster_sld

HOSTILE = '<b>"Äcker" & Wald\'s/Wiese</b> 森林'
NAMES = {0: "unchanged", 2: HOSTILE}
COLORS = {0: (204, 204, 204, 0), 2: (215, 25, 28, 255), 255: (0, 0, 0, 0)}
SLD = "{http://www.opengis.net/sld}"
OGC = "{http://www.opengis.net/ogc}"


def qml_entries(text: str, tag: str) -> list[tuple[str, ...]]:
    root = Xml.fromstring(text.partition("\n")[2])
    return [tuple(one.attrib[key] for key in ("value", "label", "color", "alpha"))
            for one in root.iter(tag)]  # fmt: skip


def test_qgis_is_told_of_the_classes_that_there_are_and_no_others() -> None:
    text = raster_style(class_legend(NAMES, COLORS))
    assert qml_entries(text, "paletteEntry") == [
        ("0", "unchanged", "#cccccc", "0"), ("2", HOSTILE, "#d7191c", "255"),
    ]  # fmt: skip


def test_an_sld_tells_the_same() -> None:
    root = Xml.fromstring(raster_sld("a<b>", class_legend(NAMES, COLORS)).encode())
    (name,) = root.iter(f"{SLD}Name")
    assert name.text == "a<b>"
    (colors,) = root.iter(f"{SLD}ColorMap")
    assert colors.attrib == {"type": "values"}
    assert [tuple(one.attrib.values()) for one in colors] == [
        ("#cccccc", "0", "unchanged", "0"), ("#d7191c", "2", HOSTILE, "1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("legend", "low", "high"),
    [(amount_legend(), "0", "1"), (amount_legend(100), "0", "100"),
     (number_legend(20_000, 20_200), "20000", "20200"), (number_legend(1, 3), "1", "3"),
     (number_legend(7, 7), "7", "7")],
)  # fmt: skip
def test_a_ramp_goes_up_from_the_lowest_to_the_highest(legend: Legend, low: str, high: str) -> None:
    found = qml_entries(raster_style(legend), "item")
    values = [float(value) for value, *_ in found]
    assert (found[0][0], found[-1][0]) == (low, high)
    assert values == sorted(set(values))
    root = Xml.fromstring(raster_sld("x", legend).encode())
    (colors,) = root.iter(f"{SLD}ColorMap")
    assert [one.attrib["quantity"] for one in colors] == [value for value, *_ in found]


def test_nothing_is_clear_and_half_is_not() -> None:
    entries = {entry.label: entry.color[3] for entry in amount_legend().entries}
    assert entries["0%"] == 0 and entries["50%"] == entries["100%"] == 255


def test_gdal_reads_a_colour_table_that_ends_with_the_last_class(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", count=1, width=2, height=2,
                       crs="EPSG:32633", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
                       ) as file:  # fmt: skip
        file.write_colormap(1, COLORS)
        file.write(np.zeros((1, 2, 2), np.uint8))
    (tmp_path / "a.tif.aux.xml").write_text(attribute_table(NAMES, COLORS))
    with rasterio.open(path) as file:
        assert file.colormap(1) == {0: COLORS[0], 1: (0, 0, 0, 0), 2: COLORS[2]}


def test_polygons_get_a_rule_a_value_and_one_for_none() -> None:
    colors = {"": "#f5c211", "yes": "#c62828"}
    text = polygon_sld("review", colors, {"": "not judged", "yes": HOSTILE}, "verdict")
    rules = list(Xml.fromstring(text.encode()).iter(f"{SLD}Rule"))
    assert [rule.findtext(f"{SLD}Title") for rule in rules] == ["not judged", HOSTILE]
    assert [next(rule.iter(f"{OGC}Filter"))[0].tag for rule in rules] == [
        f"{OGC}PropertyIsNull", f"{OGC}PropertyIsEqualTo",
    ]  # fmt: skip
    fills = [one.text for rule in rules for one in rule.iter(f"{SLD}CssParameter")]
    assert fills[0] == "#f5c211" and "#c62828" in fills
