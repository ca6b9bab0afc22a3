from typing import Any

import numpy as np
import pytest
from skimage.exposure import match_histograms as skimage_match

from noise2map_core.imagery.radiometry import (
    corrected,
    estimate_normalisation,
    match_histograms,
    no_change_probability,
)
from noise2map_core.imagery.recipe import Correction

GAIN, OFFSET = np.array([1.3, 0.8, 1.1, 0.6]), np.array([150.0, -80.0, 30.0, 400.0])
"""What is done to the second date."""


def two_dates(changed: float = 0.3, pixels: int = 20_000, seed: int = 0) -> Any:
    """Samples of four correlated bands; a share of them shows something else after."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(4, 4)) + 2 * np.eye(4)
    ground = 2000 + 400 * rng.normal(size=(pixels, 4)) @ mixing / 2
    later = ground.copy()
    change = rng.uniform(size=pixels) < changed
    later[change] = 2000 + 700 * rng.normal(size=(int(change.sum()), 4))
    before = ground + 10 * rng.normal(size=ground.shape)
    after = GAIN * later + OFFSET + 10 * rng.normal(size=ground.shape)
    return before, after, change


def test_gain_and_offset_are_found_under_much_change() -> None:
    before, after, change = two_dates()
    found = estimate_normalisation(before, after)
    assert found is not None
    assert np.allclose(found.gain, 1 / GAIN, rtol=0.02)
    assert change[found.invariant].mean() < 0.05
    assert max(found.rmse_after) < 30 < min(found.rmse_before)


def test_no_change_probability_does_not_depend_on_gain_and_offset() -> None:
    before, after, change = two_dates()
    one = no_change_probability(before, after)
    other = no_change_probability(before * 3 - 100, (after - OFFSET) / GAIN)
    assert np.abs(one - other).max() < 0.02
    assert np.median(one[change]) < 0.01 < 0.1 < np.median(one[~change])


def test_dates_that_do_not_correlate_or_hardly_overlap_give_nothing() -> None:
    before, after, _ = two_dates()
    assert estimate_normalisation(before[:100], after[:100]) is None


def test_matched_histograms_are_those_of_scikit_image() -> None:
    rng = np.random.default_rng(1)
    before = rng.gamma(4, 200, (120, 120)).astype(np.uint16)
    after = rng.normal(900, 150, (120, 120)).clip(1).astype(np.uint16)
    knots = match_histograms(before.reshape(-1, 1), after.reshape(-1, 1))
    valid = np.ones(before.shape, np.bool_)
    made = corrected(after[None], valid, Correction(knots=knots), None)[0]
    oracle = skimage_match(after, before)
    shares = np.linspace(0.02, 0.98, 20)
    assert np.allclose(np.quantile(made, shares), np.quantile(oracle, shares), rtol=0.02)
    assert np.abs(made - oracle)[np.abs(after - 900.0) < 300].mean() < 0.01 * oracle.mean()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_corrected_numbers_are_rounded_clipped_and_never_nodata(dtype: str) -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 120, (2, 30, 30)).astype(dtype)
    valid = image.min(axis=0) > 5
    made = corrected(image, valid, Correction(gain=(3.0, 0.5), offset=(-90.0, 0.26)), 0)
    assert made.dtype == image.dtype
    assert np.array_equal(made[:, ~valid], image[:, ~valid])
    exact = image * np.array([3.0, 0.5])[:, None, None] + np.array([-90.0, 0.26])[:, None, None]
    if dtype == "float32":
        assert np.allclose(made[:, valid], exact[:, valid], rtol=1e-5)
        return
    limits = np.iinfo(dtype)
    expected = np.rint(exact).clip(limits.min, limits.max)
    expected[expected == 0] = 1
    assert np.array_equal(made[:, valid], expected[:, valid])
