"""Invented worlds, against what their own classes say."""

import numpy as np
import pytest

from noise2map_core.testing.worlds.classes import BUILDING, NAMES
from noise2map_core.testing.worlds.pair import FAMILIES, Family, WorldPair, render_pair

GSD: dict[Family, float] = {"buildings": 0.5, "land": 10.0}
ARRAYS = ("before", "after", "classes_before", "classes_after", "changed")


def pairs(family: Family, count: int, changes: bool | None = None) -> list[WorldPair]:
    return [render_pair(family, 7, index, 96, GSD[family], changes) for index in range(count)]


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


def test_change_of_buildings_is_where_a_building_came_or_went() -> None:
    found = pairs("buildings", 24)
    for pair in found:
        came_or_went = (pair.classes_before == BUILDING) ^ (pair.classes_after == BUILDING)
        assert np.array_equal(pair.changed, came_or_went)
    assert 4 < sum(pair.changed.any() for pair in found) < 24


def test_change_of_land_is_where_the_classes_differ() -> None:
    found = pairs("land", 24)
    for pair in found:
        assert np.array_equal(pair.changed, pair.classes_before != pair.classes_after)
    assert 8 < sum(pair.changed.any() for pair in found) < 24


@pytest.mark.parametrize("family", FAMILIES)
def test_where_nothing_changes_the_pictures_differ_all_the_same(family: Family) -> None:
    for pair in pairs(family, 12, changes=False):
        assert not pair.changed.any()
        assert (pair.before != pair.after).mean() > 0.5


def test_worlds_hold_every_class() -> None:
    for family, count in (("buildings", 40), ("land", 60)):
        seen = np.unique([[p.classes_before, p.classes_after] for p in pairs(family, count)])
        assert len(seen) >= len(NAMES) - (family == "buildings")


def test_pictures_are_as_bright_and_as_varied_as_real_ones() -> None:
    means = [image.mean() for p in pairs("buildings", 30) for image in (p.before, p.after)]
    assert 85 < np.median(means) < 135 and 10 < np.std(means) < 40
    infrared = [p.before[3].mean() for p in pairs("land", 30)]
    assert 1500 < np.median(infrared) < 3500 and np.std(infrared) > 300
