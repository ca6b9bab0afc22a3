"""Verdicts of a file: all of them or none, and what makes no sense is named in one line."""

import json
import sqlite3
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest

from noise2map_core.alerts.tables import ALERTS, read_alerts
from noise2map_core.alerts.verdicts import VERDICTS, read_verdicts
from noise2map_core.review.package import LAYER, write_package
from noise2map_core.review.queue import alerts_with_verdicts, in_order
from noise2map_core.review.verdict_files import Filled, TakenIn, read_filled, take_in
from noise2map_core.runtime.errors import ConfigError, OutputHeldError
from noise2map_core.runtime.lease import hold_lease
from tests.event_factories import alert, write_area

DAY = date(2025, 7, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [(f"o{number}", 0, "opened") for number in range(5)]
    return write_area(tmp_path / "farm" / "alerts", rows)


def package(folder: Path) -> Path:
    path = folder.parent / "review.gpkg"
    write_package(path, in_order(alerts_with_verdicts(folder)), DAY)
    return path


def fill(path: Path, rows: dict[str, tuple[str | None, str | None]]) -> None:
    """As QGIS does: in place, row by row."""
    with sqlite3.connect(path) as database:
        for name in ("IsEmpty", "MinX", "MaxX", "MinY", "MaxY"):  # of triggers that do not fire
            database.create_function(f"ST_{name}", 1, lambda _: 0)
        for name, (verdict, reason) in rows.items():
            database.execute(
                f"UPDATE {LAYER} SET verdict = ?, reject_reason = ?, reviewer = 'ada' "
                "WHERE object_id = ?", (verdict, reason, name),
            )  # fmt: skip
    database.close()


def as_geojson(path: Path, rows: list[dict[str, Any]]) -> Path:
    features = [{"type": "Feature", "geometry": None, "properties": row} for row in rows]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_geopackage_that_was_filled_in_becomes_verdicts_and_marks(folder: Path) -> None:
    path = package(folder)
    fill(
        path, {"o0": ("rejected", "seasonality"), "o1": ("confirmed", None), "o2": ("unsure", None)}
    )
    assert take_in(folder, read_filled(path), path, DAY) == TakenIn(3, 0, 0, 0)
    verdicts = read_verdicts(folder / VERDICTS).set_index("object_id")
    assert verdicts["verdict"].to_dict() == {"o0": "rejected", "o1": "confirmed", "o2": "unsure"}
    assert verdicts["reason"].to_dict() == {"o0": "seasonality", "o1": "", "o2": ""}
    assert set(verdicts["reviewer"]) == {"ada"} and set(verdicts["decided_on"]) == {DAY}
    alerts = read_alerts(folder / ALERTS).set_index("object_id")
    assert alerts["review"].tolist() == ["rejected", "confirmed", "unsure", "", ""]
    assert alerts["reject_reason"].tolist() == ["seasonality", "", "", "", ""]
    assert verdicts.geometry.to_list() == alerts.geometry.loc[verdicts.index].to_list()


def test_taking_in_the_same_again_changes_no_byte(folder: Path) -> None:
    path = package(folder)
    fill(path, {"o0": ("rejected", "cloud")})
    take_in(folder, read_filled(path), path, DAY)
    before = state(folder)
    assert take_in(folder, read_filled(path), path, date(2026, 1, 1)) == TakenIn(0, 0, 0, 1)
    assert state(folder) == before


def test_verdicts_may_change_and_be_taken_back(folder: Path) -> None:
    path = package(folder)
    fill(path, {"o0": ("rejected", "cloud"), "o1": ("unsure", None), "o2": ("confirmed", None)})
    take_in(folder, read_filled(path), path, DAY)
    path = package(folder)
    fill(path, {"o0": (None, None), "o1": ("confirmed", None)})
    assert take_in(folder, read_filled(path), path, date(2025, 8, 1)) == TakenIn(0, 1, 1, 1)
    verdicts = read_verdicts(folder / VERDICTS).set_index("object_id")
    assert verdicts["verdict"].to_dict() == {"o1": "confirmed", "o2": "confirmed"}
    assert verdicts["decided_on"].to_dict() == {"o1": date(2025, 8, 1), "o2": DAY}
    assert set(read_alerts(folder / ALERTS)["review"]) == {"", "confirmed"}


@pytest.mark.parametrize("kind", ["geojson", "parquet"])
def test_other_files_of_some_objects_do_as_well(folder: Path, tmp_path: Path, kind: str) -> None:
    rows = [{"object_id": "o3", "verdict": "rejected", "reject_reason": "snow"}]
    path = as_geojson(tmp_path / "verdicts.geojson", rows)
    if kind == "parquet":
        table = gpd.GeoDataFrame(rows, geometry=[None], crs="EPSG:4326")
        path = tmp_path / "verdicts.parquet"
        table.to_parquet(path)
    assert take_in(folder, read_filled(path), path, DAY).new == 1
    assert read_verdicts(folder / VERDICTS)["object_id"].tolist() == ["o3"]


def test_an_object_that_is_no_more_keeps_its_verdict_and_may_get_another(folder: Path) -> None:
    path = package(folder)
    fill(path, {"o4": ("rejected", "cloud")})
    take_in(folder, read_filled(path), path, DAY)
    shape = read_verdicts(folder / VERDICTS).geometry.iloc[0]
    write_area(folder, [("o0", 0, "opened")], [alert("o0")])
    take_in(folder, [Filled("o4", "unsure", "", "bob")], path, DAY)
    (row,) = read_verdicts(folder / VERDICTS).itertuples()
    assert (row.object_id, row.verdict, row.geometry) == ("o4", "unsure", shape)


BAD = [
    ([{"object_id": "x9", "verdict": "confirmed"}], "does not have: x9"),
    ([{"object_id": f"x{n}", "verdict": "unsure"} for n in range(9)], r"… \(9 in all\)"),
    ([{"object_id": "o1", "verdict": "maybe"}], "object o1: verdict 'maybe' is none of confirmed"),
    ([{"object_id": "o1", "verdict": "rejected"}], "object o1: it is rejected without a reason"),
    ([{"object_id": "o1", "verdict": "rejected", "reject_reason": " "}], "without a reason"),
    ([{"object_id": "o1", "verdict": "unsure"}] * 2, "object o1: it stands there twice"),
    ([{"object_id": None, "verdict": "unsure"}], "row 2: there is no object_id"),
    ([{"object_id": "o1", "verdict": "unsure", "reviewer": "x" * 300}], "up to 200 characters"),
    ([{"id": "o1", "verdict": "unsure"}], "lack object_id; their columns are: id, verdict"),
    ([{"object_id": "o1", "class": 3}], "lack verdict; their columns are: object_id, class"),
]


@pytest.mark.parametrize(("rows", "said"), BAD)
def test_what_makes_no_sense_is_named_and_nothing_is_written(
    folder: Path, tmp_path: Path, rows: list[dict[str, Any]], said: str
) -> None:
    path = as_geojson(tmp_path / "v.geojson", [{"object_id": "o0", "verdict": "confirmed"}, *rows]
                      if "id" not in rows[0] and "class" not in rows[0] else rows)  # fmt: skip
    before = state(folder)
    with pytest.raises(ConfigError, match=said) as caught:
        take_in(folder, read_filled(path), path, DAY)
    assert "\n" not in str(caught.value) and state(folder) == before


def test_a_geopackage_with_other_columns_names_them(folder: Path, tmp_path: Path) -> None:
    path = package(folder)
    with sqlite3.connect(path) as database:
        database.execute(f"ALTER TABLE {LAYER} RENAME COLUMN verdict TO opinion")
    database.close()
    with pytest.raises(ConfigError, match="lack verdict; their columns are: opinion, reject_rea"):
        read_filled(path)


@pytest.mark.parametrize("body", [b"", b"PAR1 no", b"SQLite format 3\0 no", b'{"type": "x"}'])
def test_a_file_that_is_none_is_named(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x").write_bytes(body)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_filled(tmp_path / "x")
    with pytest.raises(ConfigError, match=r"cannot be read: .*No such file"):
        read_filled(tmp_path / "missing")


def test_a_night_at_work_is_not_disturbed(folder: Path) -> None:
    nights = folder.parent.parent
    path = package(folder)
    fill(path, {"o0": ("unsure", None)})
    with hold_lease(nights), pytest.raises(OutputHeldError):
        take_in(folder, read_filled(path), path, DAY)
    assert not (folder / VERDICTS).exists()


def test_a_failed_write_leaves_the_verdicts_as_they_were(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = package(folder)
    fill(path, {"o0": ("unsure", None)})
    before = state(folder)
    monkeypatch.setattr(
        "noise2map_core.products.vectors.polygon_files.GeoParquetFile.write",
        lambda *_: (_ for _ in ()).throw(RuntimeError("full")),
    )
    with pytest.raises(RuntimeError):
        take_in(folder, read_filled(path), path, DAY)
    assert state(folder) == before


def test_the_geopackage_has_a_form_for_qgis_and_the_same_bytes_each_time(folder: Path) -> None:
    path = package(folder)
    first = path.read_bytes()
    path.unlink()
    assert package(folder).read_bytes() == first
    table = pyogrio.read_dataframe(path, layer=LAYER)
    assert list(table.columns[:3]) == ["verdict", "reject_reason", "reviewer"]
    assert table["verdict"].isna().all() and table.crs == "EPSG:32631"
    assert pd.api.types.is_datetime64_any_dtype(table["first_seen"])
    styles = pyogrio.read_dataframe(path, layer="layer_styles")
    assert styles["f_table_name"].tolist() == [LAYER] and styles["useAsDefault"].all()


def test_the_form_offers_the_verdicts_and_lets_nothing_else_be_edited(folder: Path) -> None:
    path = package(folder)
    qml = pyogrio.read_dataframe(path, layer="layer_styles")["styleQML"].iloc[0]
    root = Xml.fromstring(qml.partition("\n")[2])
    choices = "editWidget[@type='ValueMap']/config"
    widgets = {
        field.get("name"): [
            (option.get("name"), option.get("value"))
            for option in field.findall(f"{choices}/Option/Option/Option/*")
        ]
        for field in root.findall("fieldConfiguration/field")
    }  # fmt: skip
    assert [value for _, value in widgets["verdict"][1:]] == ["confirmed", "rejected", "unsure"]
    assert widgets["verdict"][0][0] == "" and ("seasonality",) * 2 in widgets["reject_reason"]
    editable = {
        one.get("name") for one in root.findall("editable/field") if one.get("editable") == "1"
    }
    assert editable == {"verdict", "reject_reason", "reviewer"}
    shown = {one.get("value") for one in root.findall("renderer-v2/categories/category")}
    assert shown == {"", "confirmed", "rejected", "unsure"}
    assert root.find("renderer-v2").get("attr") == "verdict"
