"""Encodings of alerts, against Python's own calendar."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from noise2map_core.alert_products.encodings import ENCODINGS, Encoding
from noise2map_core.runtime.errors import ConfigError

GFW, RADD, DIST = ENCODINGS["gfw"], ENCODINGS["radd"], ENCODINGS["dist"]
LAST = date(2149, 6, 6)
"""Of 16 bits from 1970 on."""


def one(encoding: Encoding, status: int, day: date) -> int:
    """A single pixel, encoded."""
    number = np.array([(day - date(1970, 1, 1)).days], np.uint16)
    encoded = encoding.of(np.array([status], np.uint8), number)
    assert encoded.dtype == np.dtype(encoding.dtype)
    return int(encoded[0])


def days(encoding: Encoding) -> st.SearchStrategy[date]:
    return st.dates(encoding.first, encoding.last)


@given(days(GFW), st.sampled_from([1, 2]))
@example(date(2014, 12, 31), 1)
@example(date(2042, 5, 17), 2)
def test_gfw_is_a_digit_and_days_since_2014(day: date, status: int) -> None:
    found = one(GFW, status, day)
    assert found // 10_000 == {1: 2, 2: 3}[status]
    assert date(2014, 12, 31) + timedelta(days=found % 10_000) == day


@given(days(RADD), st.sampled_from([1, 2]))
@example(date(2024, 12, 31), 1)
@example(date(2000, 2, 29), 2)
@example(date(2065, 12, 31), 2)
@example(date(2023, 12, 31), 2)
def test_radd_is_the_year_and_its_day_as_strftime_says_them(day: date, status: int) -> None:
    assert f"{one(RADD, status, day):05d}" == f"{day:%y%j}"


def test_the_last_day_of_a_leap_year_is_the_366th() -> None:
    assert one(RADD, 2, date(2024, 12, 31)) == 24_366
    assert one(RADD, 2, date(2023, 12, 31)) == 23_365


@given(days(DIST), st.sampled_from([1, 2]))
@example(date(2021, 1, 1), 1)
def test_dist_is_days_since_2020(day: date, status: int) -> None:
    assert date(2020, 12, 31) + timedelta(days=one(DIST, status, day)) == day


@given(st.sampled_from(list(ENCODINGS)), st.dates(date(1970, 1, 1), LAST), st.sampled_from([0, 3]))
def test_what_is_not_open_is_nothing_whatever_its_day(name: str, day: date, status: int) -> None:
    assert one(ENCODINGS[name], status, day) == 0


@given(st.sampled_from(list(ENCODINGS)), st.dates(date(1970, 1, 2), LAST))
def test_a_day_is_written_or_refused_by_name(name: str, day: date) -> None:
    encoding = ENCODINGS[name]
    if encoding.first <= day <= encoding.last:
        assert one(encoding, 1, day) > 0
        return
    with pytest.raises(ConfigError, match=f"encoding {name} has days from .* begins on {day}"):
        one(encoding, 1, day)


def test_gfw_ends_where_its_digits_do() -> None:
    with pytest.raises(ConfigError, match=r"to 2042-05-17, and an alert begins on 2042-05-18"):
        one(GFW, 1, date(2042, 5, 18))
