"""What a store says of the light of its scenes, against numpy on the same pixels."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from noise2map_core.chips.scenes import SAMPLE_SIDE
from noise2map_core.chips.store import ChipStore, open_chips, open_store
from noise2map_core.imagery.moments import CENTRAL, LEAST_PIXELS, robust_light
from noise2map_core.learning.alteration import PairWindow, pair_alteration
from tests.chip_factories import make_store, plan_store, store_of_places


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    return open_store(make_store(plan_store(folder / "a", folder / "chips.zarr")))


def test_a_date_has_the_median_and_the_central_spread_of_its_pixels(store: ChipStore) -> None:
    chips = open_chips(store.path).load()
    light = store.lights(np.arange(store.num_chips))
    assert (light == light[0]).all()
    for date in range(2):
        few = slice(None, None, -(-store.num_chips // 64))
        seen = chips.valid.values[few, date]
        for band in range(2):
            values = chips.image.values[few, date, band][seen]
            low, centre, high = np.quantile(values, CENTRAL)
            assert light[0, date, :, band] == pytest.approx([centre, (high - low) / 2])


def test_an_append_leaves_the_light_of_earlier_scenes_and_adds_its_own(tmp_path: Path) -> None:
    (one := tmp_path / "one").mkdir()
    (two := tmp_path / "two").mkdir()
    first = open_store(store_of_places(one, ["north"]))
    both = open_store(store_of_places(two, ["north", "south"]))
    light = both.read("light")
    assert light.shape == (4, 2, 2) and first.read("light").shape == (2, 2, 2)
    north = both.places == "north"
    assert north.any() and not north.all()
    assert not np.array_equal(light[:2], light[2:])


def test_gain_and_offset_move_centre_and_spread_alone() -> None:
    pixels = np.random.default_rng(0).normal(size=(3, 5000))
    centre, spread = robust_light(pixels)
    assert spread == pytest.approx(pixels.std(axis=1), rel=0.05)
    moved = robust_light(7 * pixels + 100)
    assert moved[0] == pytest.approx(7 * centre + 100) and moved[1] == pytest.approx(7 * spread)


def test_a_cloud_over_a_tenth_hardly_moves_it() -> None:
    pixels = np.random.default_rng(1).normal(1000, 100, size=(1, 10_000))
    cloudy = pixels.copy()
    cloudy[:, :1000] = 9000
    clear, seen = robust_light(pixels), robust_light(cloudy)
    assert abs(seen[0] - clear[0]) < 0.2 * clear[1] and abs(seen[1] / clear[1] - 1) < 0.25
    assert cloudy.std() > 20 * pixels.std()


def test_too_few_pixels_and_bands_that_do_not_vary_say_nothing() -> None:
    few = np.random.default_rng(2).normal(size=(2, LEAST_PIXELS - 1))
    assert np.isnan(robust_light(few)).all()
    flat = np.stack([np.ones(LEAST_PIXELS), np.arange(LEAST_PIXELS)])
    light = robust_light(flat)
    assert np.isnan(light[:, 0]).all() and np.isfinite(light[:, 1]).all()


def test_a_pair_has_the_variates_of_its_pixels(store: ChipStore) -> None:
    found = store.alterations(np.arange(store.num_chips))
    assert found is not None and (found == found[0]).all()
    np.testing.assert_allclose(
        found[0], pair_alteration(*_looked_at(store), windows=_windows(store)), rtol=1e-6
    )


def test_after_an_append_each_pair_has_its_own(tmp_path: Path) -> None:
    store = open_store(store_of_places(tmp_path, ["north", "south"]))
    assert store.read("pair").tolist() == [[0, 1], [2, 3]]
    for place in ("north", "south"):
        found = store.alterations(np.flatnonzero(store.places == place))
        assert found is not None and (found == found[0]).all()
        expected = pair_alteration(*_looked_at(store, place), windows=_windows(store, place))
        np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def _looked_at(store: ChipStore, place: str | None = None) -> NDArray[np.generic]:
    """The pixels [date, band, pixel] that speak for a pair, read by xarray."""
    chips, few = open_chips(store.path).load(), _few(store, place)
    step = max(1, int(chips.sizes["y"] * (len(few) / 64) ** 0.5) // SAMPLE_SIDE)
    even = slice(step // 2, None, step)
    seen = chips.valid.values[few][..., even, even].all(axis=1)
    image = chips.image.values[few][..., even, even]
    return np.asarray(image.transpose(1, 2, 0, 3, 4)[:, :, seen])


def _windows(store: ChipStore, place: str | None = None) -> list[PairWindow]:
    """The same chips, whole."""
    chips, few = open_chips(store.path).load(), _few(store, place)
    images, valid = chips.image.values[few], chips.valid.values[few].all(axis=1)
    return list(zip(images, valid, strict=True))


def _few(store: ChipStore, place: str | None) -> NDArray[np.intp]:
    mine = np.arange(store.num_chips) if place is None else np.flatnonzero(store.places == place)
    return mine[:: -(-len(mine) // 64)]
