import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from noise2map_core.imagery.moments import Moments


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 6), st.sampled_from(["uint8", "uint16", "float32"])
)
def test_merged_parts_have_numpys_mean_and_variance(seed: int, cut: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 250, (6, 2, 3, 4, 5)).astype(dtype)
    valid = rng.random((6, 2, 4, 5)) < 0.7
    merged = Moments.of(image[:cut], valid[:cut]).merge(Moments.of(image[cut:], valid[cut:]))
    for date in range(2):
        for band in range(3):
            values = image[:, date, band][valid[:, date]].astype(np.float64)
            assert merged.count[date, band] == values.size
            np.testing.assert_allclose(merged.mean[date, band], values.mean(), rtol=1e-12)
            np.testing.assert_allclose(merged.m2[date, band] / values.size, values.var(), rtol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_counts_nowhere(bad: float) -> None:
    image = np.arange(24, dtype=np.float32).reshape(1, 2, 1, 3, 4)
    image[0, 1, 0, 2] = bad
    found = Moments.of(image, np.ones((1, 2, 3, 4), np.bool_))
    assert found.count.tolist() == [[12], [8]] and found.mean.tolist() == [[5.5], [15.5]]
    assert np.isfinite(found.m2).all()


def test_no_pixels_change_nothing() -> None:
    some = Moments.of(np.full((1, 2, 1, 2, 2), 3, np.uint8), np.ones((1, 2, 2, 2), np.bool_))
    for merged in (some.merge(Moments.none(2, 1)), Moments.none(2, 1).merge(some)):
        assert merged.to_json() == some.to_json()


def test_numbers_survive_json_to_the_bit() -> None:
    image = np.random.default_rng(0).integers(0, 99, (3, 2, 2, 5, 7))
    moments = Moments.of(image, np.ones((3, 2, 5, 7), np.bool_))
    back = Moments.from_json(json.loads(json.dumps(moments.to_json())))
    assert np.array_equal(back.mean, moments.mean) and np.array_equal(back.m2, moments.m2)
