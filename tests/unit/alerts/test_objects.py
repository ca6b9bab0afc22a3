"""Alerts as objects: measured by their pixels, named once, followed through merging and parting."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from noise2map_core.alerts.components import find_components
from noise2map_core.alerts.fold import Rules, fold
from noise2map_core.alerts.objects import Followed, follow, lasting, no_objects
from noise2map_core.alerts.state import ARRAYS, Look, PixelState, day_number, nothing_known
from noise2map_core.alerts.store import StateRules, StateStore
from noise2map_core.settings.alerts import AlertsConfig
from tests.alert_factories import FIRST, GRID, PIXEL_M2

RULES = Rules(k=1, n=2, m=1, t_days=400)
LEAST = 2.9 * PIXEL_M2
"""Three pixels: on the ground they are a little smaller than in this projection."""


class Days:
    """A state that takes looks, and the objects that follow from it."""

    def __init__(self, root: Path) -> None:
        self.store = StateStore.create(root / "alerts.zarr", GRID, StateRules.of(
            AlertsConfig(), GRID))  # fmt: skip
        self.state, self.objects, self.number = nothing_known((32, 32)), no_objects(GRID.crs), 0

    def look(self, found: Any, percent: int = 80) -> Followed:
        found = np.asarray(found, np.uint8)
        day = FIRST + timedelta(days=self.number)
        look = Look(day_number(day), found, np.full(found.shape, percent, np.uint8))
        self.state, self.number = fold(self.state, look, RULES), self.number + 1
        for tile in GRID.tiles():
            at = GRID.window(tile).slices_in(GRID.tile_frame)
            part = {name: values[at] for name, values in self.state.arrays().items()}
            self.store.write(tile, self.store.read(tile), PixelState(**part))
        known = lasting(self.objects).geometry.to_numpy()
        components = find_components(self.store, LEAST, known)
        followed = follow(self.objects, components, day, LEAST, GRID.resolution)
        self.objects = followed.objects
        return followed


@pytest.fixture
def days(tmp_path: Path) -> Days:
    return Days(tmp_path)


def blocks(*places: tuple[int, int, int, int]) -> np.ndarray:
    """Changed in rectangles row, col, height, width; unchanged elsewhere."""
    found = np.zeros((32, 32), np.uint8)
    for row, col, height, width in places:
        found[row : row + height, col : col + width] = 1
    return found


def events(found: Followed) -> list[tuple[str, str]]:
    return sorted(found.events[["object_id", "event"]].itertuples(index=False, name=None))


LEFT, RIGHT = (5, 3, 4, 5), (5, 20, 4, 6)
BRIDGE = (6, 3, 1, 23)
A, B = "20240120-r-27c19", "20240121-r-27c36"
"""Row 5 of the map is row −27 of the grid, column 3 its column 19."""


def test_an_object_is_opened_grows_is_confirmed_and_ends(days: Days) -> None:
    assert events(days.look(blocks(LEFT))) == [(A, "opened")]
    found = days.look(blocks((5, 3, 4, 7)))
    assert events(found) == [(A, "confirmed"), (A, "grew")]
    row = found.objects.iloc[0]
    assert (row["status"], row["area_m2"] // 1, row["area_confirmed_m2"] // 1) == (
        "confirmed", pytest.approx(2800, rel=1e-2), pytest.approx(2000, rel=1e-2),
    )  # fmt: skip
    assert events(days.look(np.full((32, 32), 255))) == []
    ended = days.look(blocks())
    assert days.objects["status"].tolist() == ["provisional"]  # two columns are not decided yet
    assert (A, "downgraded") in events(ended)
    assert events(days.look(blocks())) == [(A, "ended")]
    row = days.objects.iloc[0]
    assert (row["status"], row["last_look"]) == ("ended", FIRST + timedelta(days=4))
    again = days.look(blocks(LEFT))
    assert events(again) == [("20240125-r-27c19", "opened")]
    assert days.objects["status"].tolist() == ["ended", "provisional"]


def test_what_is_smaller_than_the_minimum_is_no_object_until_it_grows(days: Days) -> None:
    assert events(days.look(blocks((1, 1, 1, 2)))) == []
    assert events(days.look(blocks((1, 1, 1, 3)))) == [("20240120-r-31c17", "opened")]


def test_of_a_merger_the_oldest_lives_on_whatever_its_size(days: Days) -> None:
    days.look(blocks(LEFT))
    assert (B, "opened") in events(days.look(blocks(LEFT, RIGHT)))
    found = days.look(blocks(LEFT, RIGHT, BRIDGE))
    assert (A, "merged") in events(found) and (B, "merged") in events(found)
    by_id = found.objects.set_index("object_id")
    assert by_id.loc[A, "parents"] == B and by_id.loc[B, "status"] == "ended"
    gone = found.events[found.events["object_id"] == B]
    assert gone["area_m2"].tolist() == [0.0]


def test_of_a_split_the_largest_part_lives_on_and_names_are_never_given_twice(days: Days) -> None:
    days.look(blocks(LEFT, RIGHT, BRIDGE))
    first = days.objects["object_id"].tolist()
    assert first == [A]
    days.look(blocks(LEFT, RIGHT, BRIDGE))
    found = days.look(blocks(LEFT, RIGHT))  # m = 1: the bridge has ended
    # The right part is larger; the left one has the seed that the whole was named by.
    child = f"{A}-20240122"
    assert events(found) == [(A, "split"), (child, "confirmed"), (child, "split")]
    by_id = found.objects.set_index("object_id")
    assert by_id.loc[child, "parents"] == A
    assert by_id.loc[A].geometry.area > by_id.loc[child].geometry.area


def test_attributes_are_those_of_the_pixels(days: Days) -> None:
    days.look(blocks())
    days.look(blocks(LEFT), 90)
    days.look(blocks((5, 3, 4, 2)), 70)
    row = days.objects.iloc[0]
    assert row["prior_look"] == FIRST and row["first_seen"] == FIRST + timedelta(days=1)
    assert row["last_seen"] == row["last_look"] == FIRST + timedelta(days=2)
    assert (row["looks"], row["detections"], row["p_max"]) == (2, 2, 0.9)
    # 8 pixels hit twice, 12 once; all 20 looked at twice.
    assert row["support"] == 28 / 40 and row["p_mean"] == pytest.approx((20 * 90 + 8 * 70) / 2800)
    assert row["confidence"] == pytest.approx(row["p_mean"] * row["support"])
    assert row["polygon_id"] == "1:-27:19"


def test_a_cloud_over_any_part_changes_no_object(days: Days) -> None:
    days.look(blocks(LEFT, RIGHT))
    days.look(blocks(LEFT, RIGHT))
    before = days.objects
    for start in range(0, 32, 7):
        hidden = blocks(LEFT, RIGHT)
        hidden[:, start:] = 255
        found = days.look(hidden)
        assert events(found) == []
        assert list(found.objects["object_id"]) == list(before["object_id"])
        assert found.objects.geometry.geom_equals(before.geometry).all()


@settings(max_examples=3)
@given(st.integers(0, 2**32))
def test_objects_are_the_components_of_the_state_and_ids_are_unique(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng, days = np.random.default_rng(seed), Days(tmp_path_factory.mktemp("days"))
    coarse = rng.random((6, 8, 8))
    told: set[tuple[str, date, str]] = set()
    for smooth in coarse:
        fine = np.kron(smooth, np.ones((4, 4)))
        found = days.look(np.where(fine > 0.8, 255, fine < 0.3))
        active = (days.state.status == 1) | (days.state.status == 2)
        labels, count = ndimage.label(active)
        sizes = np.bincount(labels.ravel())[1:]
        lasts = lasting(found.objects)
        assert found.objects["object_id"].is_unique
        assert len(lasts) <= count and len(lasts) >= int((sizes >= 3).sum())
        assert lasts.geometry.area.sum() <= active.sum() * PIXEL_M2 + 1e-6
        assert (lasts.geometry.area / PIXEL_M2).round().isin(sizes).all()
        rows = set(found.events[["object_id", "day", "event"]].itertuples(index=False, name=None))
        assert len(rows) == len(found.events) and not rows & told
        told |= rows
    ended = {name for name, _, event in told if event == "ended"}
    assert set(found.objects.loc[found.objects["status"] == "ended", "object_id"]) >= ended


def test_tables_have_the_columns_of_the_contract(days: Days) -> None:
    found = days.look(blocks(LEFT))
    assert isinstance(found.objects, gpd.GeoDataFrame) and found.objects.crs == GRID.crs
    assert set(ARRAYS) and found.events["day"].tolist() == [FIRST]
