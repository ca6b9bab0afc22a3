"""From probabilities to codes: reasons, and the threshold on what is stored."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.inference.decision import decide_change
from noise2map_core.mapping.mosaic import Reason


def test_each_pixel_gets_its_reason() -> None:
    probability = np.full((1, 5), 0.9, np.float32)
    before = np.array([[True, False, True, False, False]])
    after = np.array([[True, True, False, False, True]])
    inside = np.array([[True, True, True, True, False]])
    tile = decide_change(probability, 0.5, np.stack([before, after]), inside)
    assert tile.reason.tolist() == [[
        Reason.DECIDED, Reason.NODATA_BEFORE, Reason.NODATA_AFTER, Reason.NODATA_BEFORE,
        Reason.OUTSIDE,
    ]]  # fmt: skip
    assert tile.classes.tolist() == [[1, 255, 255, 255, 255]]
    assert tile.probability.tolist() == [[9000, 65_535, 65_535, 65_535, 65_535]]
    assert tile.valid.tolist() == [[True, False, False, False, False]]


@given(st.floats(0, 1, width=32), st.floats(0, 1))
def test_the_class_follows_from_the_stored_probability(p: float, threshold: float) -> None:
    yes = np.ones((1, 1), np.bool_)
    tile = decide_change(np.full((1, 1), p, np.float32), threshold, np.stack([yes, yes]), yes)
    assert tile.classes[0, 0] == (tile.probability[0, 0] >= round(threshold * 1e4))
