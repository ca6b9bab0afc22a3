"""Files of the nights for people: what was where, from when to when."""

import sqlite3
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import geopandas as gpd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.nightly import changes_files
from noise2map_core.nightly.areas import Area
from noise2map_core.nightly.changes_files import expect_changes, write_changes
from noise2map_core.nightly.objects import track, write_table
from noise2map_core.nightly.spans import SPAN_COLUMNS, Spans
from noise2map_core.settings.products import ProductsConfig
from tests.unit.nightly.test_objects import table

DAYS = [date(2024, 1, 1) + timedelta(days=number) for number in range(0, 12, 3)]
CRS = "EPSG:32633"
ORIGIN = (500_000, 5_000_000)
GRID = RegionGrid(CRS, 10.0, 0, 0, 512, Window(-500_050, 49_990, 100, 100), shapely.Point(0, 0))


def polygons(*boxes: tuple[int, int, int, int]) -> gpd.GeoDataFrame:
    """Rectangles west, south, east, north, in pixels."""
    x, y = ORIGIN
    shapes = [shapely.box(x + 10 * w, y + 10 * s, x + 10 * e, y + 10 * n) for w, s, e, n in boxes]
    return table(shapes, [f"1:{box[1]}:{box[0]}" for box in boxes])


NIGHTS = [
    polygons((0, 0, 4, 4), (10, 10, 12, 12)),
    polygons((0, 0, 4, 4), (10, 10, 12, 12), (20, 0, 23, 3)),
    polygons((0, 0, 6, 4), (20, 0, 23, 3)),
    polygons((0, 0, 6, 4), (20, 0, 23, 3)),
]


@pytest.fixture
def area(tmp_path: Path) -> Area:
    """An area with the tables of four nights."""
    found = SimpleNamespace(
        config=SimpleNamespace(products=ProductsConfig()), output=tmp_path,
        id='<b>"Äcker"</b>/1', collection=tmp_path / "collection.json",
        objects_path=lambda day: tmp_path / "objects" / f"{day}.parquet",
        changes_path=lambda day: tmp_path / "changes" / f"{day}.parquet",
    )  # fmt: skip
    earlier = None
    for day, night in zip(DAYS, NIGHTS, strict=True):
        tracked = track(earlier, night, day)
        earlier = tracked.objects
        write_table(found.objects_path(day), tracked.objects)
        write_table(found.changes_path(day), tracked.changes)
    return cast(Area, found)


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is listed in the collection."""
    names: list[str] = []
    monkeypatch.setattr(changes_files, "add_asset", lambda _, path, __: names.append(path.name))
    return names


def test_objects_and_changes_lie_in_one_package_with_styles(area: Area, listed: list[str]) -> None:
    write_changes(area, GRID)
    path = area.output / "changes.gpkg"
    objects = gpd.read_file(path, layer="objects").set_index("object_id")
    assert dict(objects["state"]) == {
        "20240101-1:0:0": "present", "20240104-1:0:20": "present", "20240101-1:10:10": "gone",
    }  # fmt: skip
    grown, gone = objects.loc["20240101-1:0:0"], objects.loc["20240101-1:10:10"]
    told = ["first_seen", "last_seen", "date", "until"]
    assert [str(day)[:10] for day in grown[told]] == [
        "2024-01-01", "2024-01-10", "2024-01-07", "2024-01-10",
    ]  # fmt: skip
    assert [str(day)[:10] for day in gone[told]] == [
        "2024-01-01", "2024-01-04", "2024-01-01", "2024-01-04",
    ]  # fmt: skip
    changes = gpd.read_file(path, layer="changes")
    assert len(changes) == 0 and changes.crs.to_epsg() == 32633
    with sqlite3.connect(path) as database:
        rows = list(database.execute(
            "SELECT f_table_name, useAsDefault, styleQML, styleSLD FROM layer_styles"
        ))  # fmt: skip
        kinds = dict(database.execute("SELECT name, type FROM pragma_table_info('objects')"))
    assert [row[:2] for row in rows] == [("objects", 1), ("changes", 1)]
    assert 'attr="state"' in rows[0][2] and "grown" in rows[1][3]
    assert kinds["first_seen"] == kinds["until"] == "DATE"
    assert listed == ["changes.gpkg", "changes.pmtiles"]


def test_tiles_hold_every_outline_with_its_days(area: Area) -> None:
    write_changes(area, GRID)
    found = gpd.read_file(area.output / "changes.pmtiles")
    assert set(SPAN_COLUMNS) <= set(found.columns)
    assert set(found["state"]) == {"present", "gone", "earlier"}
    for day, night in zip(DAYS, NIGHTS, strict=True):
        there = found[(found["date"] <= str(day)) & (found["until"] >= str(day))]
        assert there["object_id"].nunique() == len(night)
        same = shapely.union_all(there.to_crs(CRS).geometry.to_numpy())
        assert same.area == pytest.approx(night.area.sum(), rel=0.1)


def test_they_are_made_again_only_when_the_tables_changed_and_then_with_the_same_bytes(
    area: Area,
) -> None:
    write_changes(area, GRID)
    paths = [area.output / "changes.gpkg", area.output / "changes.pmtiles"]
    before = [(path.read_bytes(), path.stat().st_ino) for path in paths]
    write_changes(area, GRID)
    assert [path.stat().st_ino for path in paths] == [inode for _, inode in before]
    expect_changes(area)
    write_changes(area, GRID)
    assert [path.read_bytes() for path in paths] == [made for made, _ in before]
    assert sorted(path.name for path in area.output.iterdir()) == [
        "changes", "changes.gpkg", "changes.pmtiles", "objects",
    ]  # fmt: skip


def test_a_night_that_ends_before_the_files_has_them_made_by_the_next(area: Area) -> None:
    write_changes(area, GRID)
    expect_changes(area)
    area.objects_path(DAYS[-1]).unlink()
    before = (area.output / "changes.gpkg").read_bytes()
    write_changes(area, GRID)
    assert (area.output / "changes.gpkg").read_bytes() != before
    changes = gpd.read_file(area.output / "changes.gpkg", layer="changes")
    assert set(changes["event"]) == {"grown", "gone"}
    assert {str(day)[:10] for day in changes["date"]} == {"2024-01-07"}


box = st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 3)] * 2)
night = st.lists(box, max_size=4)


@given(st.lists(night, min_size=1, max_size=5))
def test_on_every_night_the_outlines_are_those_of_that_night(
    nights: list[list[tuple[int, int, int, int]]],
) -> None:
    spans, earlier, expected = Spans(), None, []
    for number, boxes in enumerate(nights):
        day = date(2024, 1, 1) + timedelta(days=number)
        whole = shapely.union_all([shapely.box(w, s, w + a, s + b) for w, s, a, b in boxes])
        parts = [part for part in shapely.get_parts(whole) if part.area]
        now = table(parts, [f"1:{one}:{number}" for one in range(len(parts))])
        earlier = track(earlier, now, day).objects
        spans.add(day, earlier)
        expected.append((day, _told(earlier)))
    rows = spans.table(CRS)
    for day, objects in expected:
        assert _told(rows[(rows["date"] <= day) & (rows["until"] >= day)]) == objects
    last = rows[rows["until"] == expected[-1][0]]
    assert set(last["state"]) <= {"present"}
    assert not set(rows["state"]) - {"present", "earlier", "gone"}
    assert (rows["state"] != "earlier").sum() == rows["object_id"].nunique()


def _told(objects: Any) -> list[tuple[str, str]]:
    pairs = zip(objects["object_id"], objects.geometry, strict=True)
    return sorted((name, shape.wkt) for name, shape in pairs)
