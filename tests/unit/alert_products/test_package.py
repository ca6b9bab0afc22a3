"""GeoPackages of alerts, as other programs read them."""

import sqlite3
from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import pytest
import shapely

from noise2map_core.alert_products.package import alert_style, write_package, write_style
from noise2map_core.alerts.tables import ALERT_COLUMNS
from tests.alert_product_factories import AS_OF, alert_table
from tests.map_factories import region_grid

GRID = region_grid(40, 200, 64)
NASTY = '<b>"O\'Brien" & sons</b>'


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "alerts.gpkg"
    write_package(path, alert_table(GRID, reject_reason=NASTY), AS_OF)
    return path


def test_other_programs_read_what_the_table_says(package: Path) -> None:
    table, found = alert_table(GRID), gpd.read_file(package, layer="alerts")
    assert list(found.columns) == ALERT_COLUMNS
    assert found.crs == table.crs
    assert found["status"].tolist() == ["provisional", "confirmed", "ended", "rejected"]
    assert found["reject_reason"].tolist() == [NASTY] * 4
    assert shapely.area(found.geometry.to_numpy()).tolist() == [400.0] * 4
    assert found["p_mean"].tolist() == [0.8] * 4


def test_days_are_dates_and_none_is_null(package: Path) -> None:
    with sqlite3.connect(package) as database:
        kinds = {row[1]: row[2] for row in database.execute("PRAGMA table_info(alerts)")}
        days = database.execute(
            "SELECT prior_look, first_seen, confirmed_on FROM alerts"
        ).fetchall()
    database.close()
    assert [kinds[name] for name in ("prior_look", "first_seen", "confirmed_on")] == ["DATE"] * 3
    assert days == [
        ("2025-05-01", "2025-06-10", None), (None, "2025-06-10", "2025-06-20"),
        (None, "2025-06-10", None), (None, "2025-06-10", None),
    ]  # fmt: skip


def test_qgis_finds_a_style_with_a_colour_for_every_status(package: Path, tmp_path: Path) -> None:
    with sqlite3.connect(package) as database:
        rows = database.execute(
            "SELECT f_table_name, useAsDefault, styleQML, styleSLD FROM layer_styles"
        ).fetchall()
    database.close()
    assert rows == [("alerts", 1, alert_style().qml, alert_style().sld)]
    write_style(tmp_path / "alerts.qml")
    root = ElementTree.parse(tmp_path / "alerts.qml").getroot()
    renderer = root.find("renderer-v2")
    assert renderer is not None and renderer.get("attr") == "status"
    names = [one.get("value") for one in renderer.iter("category")]
    assert names == ["provisional", "confirmed", "ended", "rejected"]
    colors = {one.get("value") for one in renderer.iter("Option") if one.get("name") == "color"}
    assert len(colors) == 4


def test_an_area_without_any_alert_has_an_empty_layer(tmp_path: Path) -> None:
    write_package(tmp_path / "alerts.gpkg", alert_table(GRID, 0), AS_OF)
    found = gpd.read_file(tmp_path / "alerts.gpkg", layer="alerts")
    assert len(found) == 0 and list(found.columns) == ALERT_COLUMNS


def test_the_same_table_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    again = tmp_path / "again" / "alerts.gpkg"
    again.parent.mkdir()
    write_package(again, alert_table(GRID, reject_reason=NASTY), AS_OF)
    assert again.read_bytes() == package.read_bytes()
