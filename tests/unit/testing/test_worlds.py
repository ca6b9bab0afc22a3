"""Invented worlds, against what their own classes say."""

import numpy as np
import pytest

from noise2map_core.testing.worlds.classes import BUILDING, NAMES
from noise2map_core.testing.worlds.pair import FAMILIES, Family, WorldPair, render_pair

GSD: dict[Family, float] = {"buildings": 0.5, "land": 10.0}
Worlds = dict[Family, list[WorldPair]]
ARRAYS = ("before", "after", "classes_before", "classes_after", "changed")


def pairs(family: Family, count: int, changes: bool | None = None) -> list[WorldPair]:
    return [render_pair(family, 7, index, 80, GSD[family], changes) for index in range(count)]


@pytest.fixture(scope="module")
def worlds() -> Worlds:
    """Enough of each family to say how they are on the whole."""
    return {"buildings": pairs("buildings", 30), "land": pairs("land", 40)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_and_an_index_are_a_world(family: Family) -> None:
    one, again = (render_pair(family, 3, 5, 64, GSD[family]) for _ in range(2))
    others = [render_pair(family, seed, index, 64, GSD[family]) for seed, index in ((3, 6), (4, 5))]
    assert all(np.array_equal(getattr(one, name), getattr(again, name)) for name in ARRAYS)
    assert not any(np.array_equal(one.before, other.before) for other in others)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [32, 75])
def test_arrays_are_as_large_as_asked_for_and_hold_no_nodata(family: Family, size: int) -> None:
    bands, dtype = {"buildings": (3, "uint8"), "land": (6, "uint16")}[family]
    pair = render_pair(family, 0, 0, size, GSD[family])
    for image in (pair.before, pair.after):
        assert image.shape == (bands, size, size) and image.dtype == dtype and image.min() > 0
    for classes in (pair.classes_before, pair.classes_after):
        assert classes.shape == (size, size) and classes.max() < len(NAMES)
    assert pair.changed.shape == (size, size)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_pixels_may_be_smaller_or_larger(family: Family, factor: float) -> None:
    pair = render_pair(family, 1, 1, 64, GSD[family] * factor)
    assert pair.before.std() > 0


def test_change_of_buildings_is_where_a_building_came_or_went(worlds: Worlds) -> None:
    for pair in worlds["buildings"]:
        came_or_went = (pair.classes_before == BUILDING) ^ (pair.classes_after == BUILDING)
        assert np.array_equal(pair.changed, came_or_went)


def test_change_of_land_is_where_the_classes_differ(worlds: Worlds) -> None:
    for pair in worlds["land"]:
        assert np.array_equal(pair.changed, pair.classes_before != pair.classes_after)


def test_some_places_change_and_some_do_not(worlds: Worlds) -> None:
    for found in worlds.values():
        assert 0.1 < np.mean([pair.changed.any() for pair in found]) < 0.95


@pytest.mark.parametrize("family", FAMILIES)
def test_where_nothing_changes_the_pictures_differ_all_the_same(family: Family) -> None:
    for pair in pairs(family, 6, changes=False):
        assert not pair.changed.any()
        assert (pair.before != pair.after).mean() > 0.5


def test_worlds_hold_every_class(worlds: Worlds) -> None:
    for family, found in worlds.items():
        seen = np.unique([[pair.classes_before, pair.classes_after] for pair in found])
        assert len(seen) >= len(NAMES) - (family == "buildings")  # where nothing burns


def test_pictures_are_as_bright_and_as_varied_as_real_ones(worlds: Worlds) -> None:
    means = [image.mean() for p in worlds["buildings"] for image in (p.before, p.after)]
    assert 85 < np.median(means) < 135 and 10 < np.std(means) < 40
    infrared = [pair.before[3].mean() for pair in worlds["land"]]
    assert 1500 < np.median(infrared) < 3500 and np.std(infrared) > 300
