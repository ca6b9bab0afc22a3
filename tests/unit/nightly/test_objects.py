"""Objects keep their ids; what became of each is named."""

from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import shapes
from scipy import ndimage

from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.nightly.objects import Tracked, read_objects, track, write_table
from tests.alert_factories import GRID, write_look

D1, D2 = date(2024, 1, 1), date(2024, 1, 2)


def polygons(*boxes: tuple[float, float, float, float]) -> gpd.GeoDataFrame:
    """Rectangles west, south, east, north as polygons.parquet would have them."""
    return table([shapely.box(*box) for box in boxes], [f"1:{b[1]}:{b[0]}" for b in boxes])


def table(found: list[shapely.Geometry], ids: list[str]) -> gpd.GeoDataFrame:
    area = np.array([one.area for one in found], np.float64)
    fields = {
        "polygon_id": pd.Series(ids, dtype="str"), "class": np.ones(len(ids), np.uint8),
        "class_name": pd.Series(["changed"] * len(ids), dtype="str"), "area_m2": area,
        "pixels": area.astype(np.int64), "probability": np.ones(len(ids)),
    }  # fmt: skip
    return gpd.GeoDataFrame(pd.DataFrame(fields), geometry=found, crs="EPSG:32633")


def between(earlier: gpd.GeoDataFrame, now: gpd.GeoDataFrame) -> Tracked:
    return track(track(None, earlier, D1).objects, now, D2)


def events(found: Tracked) -> list[tuple[str, str, str]]:
    return list(found.changes[["event", "object_id", "parents"]].itertuples(index=False, name=None))


def test_the_first_slice_is_all_new() -> None:
    first = track(None, polygons((0, 0, 2, 2)), D1)
    assert events(first) == [("new", "20240101-1:0:0", "")]
    assert list(first.objects["object_id"]) == ["20240101-1:0:0"]


@pytest.mark.parametrize(
    ("now", "event"), [((0, 0, 3, 2), "grown"), ((0, 0, 1, 2), "shrunk"), ((1, 0, 3, 2), "moved")]
)
def test_one_that_changes_keeps_its_id(now: tuple[int, int, int, int], event: str) -> None:
    found = between(polygons((0, 0, 2, 2)), polygons(now))
    assert events(found) == [(event, "20240101-1:0:0", "20240101-1:0:0")]


def test_what_stays_is_no_change_and_what_goes_is_named_with_its_last_place() -> None:
    found = between(polygons((0, 0, 2, 2), (9, 9, 10, 10)), polygons((0, 0, 2, 2)))
    assert events(found) == [("gone", "20240101-1:9:9", "20240101-1:9:9")]
    assert found.changes.geometry.iat[0].equals(shapely.box(9, 9, 10, 10))
    assert found.counts == {"gone": 1}


def test_of_a_split_the_largest_part_inherits() -> None:
    found = between(polygons((0, 0, 10, 1)), polygons((0, 0, 3, 1), (4, 0, 10, 1)))
    assert events(found) == [
        ("split", "20240102-1:0:0", "20240101-1:0:0"),
        ("split", "20240101-1:0:0", "20240101-1:0:0"),
    ]


def test_of_a_merger_the_largest_share_is_inherited_and_all_parents_are_named() -> None:
    found = between(polygons((0, 0, 3, 1), (4, 0, 10, 1)), polygons((0, 0, 10, 1)))
    assert events(found) == [("merged", "20240101-1:0:4", "20240101-1:0:4 20240101-1:0:0")]
    assert found.changes["area_m2_before"].iat[0] == 9


def test_polygons_that_only_share_an_edge_are_strangers() -> None:
    found = between(polygons((0, 0, 1, 1)), polygons((1, 0, 2, 1)))
    assert found.counts == {"new": 1, "gone": 1}


@given(st.integers(0, 10_000))
def test_ids_stay_unique_and_every_object_is_accounted_for(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (traced(rng.random((8, 8)) < 0.5) for _ in range(2))
    before = track(None, first, D1).objects
    found = track(before, second, D2)
    now, changed = set(found.objects["object_id"]), found.changes
    assert found.objects["object_id"].is_unique
    gone = set(changed.loc[changed["event"] == "gone", "object_id"])
    merged = set(" ".join(changed.loc[changed["event"] == "merged", "parents"]).split())
    split = set(" ".join(changed.loc[changed["event"] == "split", "parents"]).split())
    assert set(before["object_id"]) == gone | (set(before["object_id"]) & (now | merged | split))
    assert not gone & now
    union = shapely.union_all(before.geometry.to_numpy())
    for row in changed[changed["event"] == "new"].itertuples():
        assert row.geometry.intersection(union).area == 0


def seen_at(tmp_path: Path, day: date, hidden: np.ndarray) -> Mosaic:
    """A map of 32 x 32 pixels of 10 m that decides all but `hidden`."""
    found = np.where(hidden, 255, 0).astype(np.uint8)
    path = write_look(tmp_path, day, found, np.zeros((32, 32), np.int64)).mosaic
    assert path is not None
    return Mosaic(path, GRID)


def placed(*boxes: tuple[int, int, int, int]) -> gpd.GeoDataFrame:
    """Rectangles of pixels west, south, east, north, counted from the map's lower left corner."""
    found = polygons(*(tuple(10 * edge for edge in box) for box in boxes))
    found["pixels"] //= 100
    return found.set_geometry(found.geometry.translate(160, 0))


def columns(*wanted: range) -> np.ndarray:
    hidden = np.zeros((32, 32), np.bool_)
    for some in wanted:
        hidden[:, list(some)] = True
    return hidden


def test_what_a_cloud_hides_stays_with_its_id_and_is_found_again(tmp_path: Path) -> None:
    first = track(None, placed((2, 2, 12, 6)), D1)
    away = track(first.objects, placed(), D2, seen_at(tmp_path, D2, columns(range(20))))
    assert [row[0] for row in events(away)] == ["unseen"] and away.objects["unseen"].tolist() == [1]
    day = date(2024, 1, 3)
    still = track(away.objects, placed(), day, seen_at(tmp_path, day, columns(range(20))))
    assert events(still) == [] and list(still.objects["object_id"]) == ["20240101-1:20:20"]
    day = date(2024, 1, 4)
    back = track(still.objects, placed((2, 2, 12, 6)), day, seen_at(tmp_path, day, columns()))
    assert events(back) == [] and list(back.objects["object_id"]) == ["20240101-1:20:20"]


def test_what_is_seen_unchanged_is_gone(tmp_path: Path) -> None:
    first = track(None, placed((2, 2, 12, 6)), D1)
    for hidden in (columns(), columns(range(2, 7))):
        found = track(first.objects, placed(), D2, seen_at(tmp_path, D2, hidden))
        assert [row[0] for row in events(found)] == ["gone"] and not len(found.objects)


def test_an_object_is_known_by_the_part_that_was_hidden_the_night_before(tmp_path: Path) -> None:
    """Night after night another half is under cloud: neither new nor gone, nor of another size."""
    objects = track(None, placed((2, 2, 12, 6)), D1).objects
    for number in range(4):
        day = date(2024, 1, 2 + number)
        left, cloud = (placed((2, 2, 7, 6)), range(7, 20)), (placed((7, 2, 12, 6)), range(7))
        half, hidden = (left, cloud)[number % 2]
        found = track(objects, half, day, seen_at(tmp_path, day, columns(hidden)))
        assert events(found) == []
        assert list(found.objects["object_id"]) == ["20240101-1:20:20"]
        assert found.objects["hidden_px"].tolist() == [20]
        objects = found.objects


def test_tables_of_earlier_versions_are_taken_on() -> None:
    first = track(None, polygons((0, 0, 2, 2)), D1).objects
    old = first.drop(columns=["unseen", "hidden_px", "hidden"])
    found = track(old, polygons((0, 0, 2, 2)), D2)
    assert events(found) == [] and list(found.objects["object_id"]) == ["20240101-1:0:0"]


def traced(mask: np.ndarray) -> gpd.GeoDataFrame:
    labels, _ = ndimage.label(mask)
    pairs = [(shapely.geometry.shape(g), v) for g, v in shapes(labels.astype(np.int32), mask)]
    return table([shape for shape, _ in pairs], [f"1:{int(value)}" for _, value in pairs])


def test_tables_are_written_the_same_twice_and_read_back(tmp_path: Path) -> None:
    found = between(polygons((0, 0, 3, 1), (4, 0, 10, 1)), polygons((0, 0, 10, 1)))
    for name in ("a", "b"):
        write_table(tmp_path / f"{name}.parquet", found.changes)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    back = read_objects(tmp_path / "a.parquet")
    assert list(back["parents"]) == list(found.changes["parents"]) and back.crs == "EPSG:32633"
    empty = track(None, polygons((0, 0, 1, 1)).iloc[:0], D1)
    write_table(tmp_path / "empty.parquet", empty.changes)
    assert len(read_objects(tmp_path / "empty.parquet")) == 0
