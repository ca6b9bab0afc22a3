"""Precision by verdicts, against scikit-free formulas of others."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from noise2map_core.review.precision import Precision, precision_of
from tests.event_factories import write_area, write_verdict


@given(confirmed=st.integers(0, 300), rejected=st.integers(0, 300))
def test_the_interval_is_wilsons(confirmed: int, rejected: int) -> None:
    found = Precision(confirmed, rejected, 3)
    if not confirmed + rejected:
        assert found.interval == (0.0, 1.0) and found.share is None
        return
    expected = binomtest(confirmed, confirmed + rejected).proportion_ci(0.95, method="wilson")
    assert found.interval == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_who_is_unsure_says_nothing_of_precision(tmp_path: Path) -> None:
    write_area(tmp_path, [("a", 0, "opened")])
    assert precision_of(tmp_path) is None
    write_verdict(tmp_path, "a", "unsure")
    found = precision_of(tmp_path)
    assert found is not None and found.document()["precision"] is None
    assert found.line() == "1 alerts judged, all unsure"
    assert Precision(42, 8, 3).line() == (
        "precision by verdicts 0.84 (0.71 to 0.92): 42 of 50 alerts confirmed; 3 unsure"
    )
