from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from noise2map_core.catalog.interval import parse_interval, parse_time
from noise2map_core.runtime.errors import ConfigError

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def test_a_date_stands_for_all_of_its_day_month_or_year() -> None:
    day, month, year = map(parse_interval, ("2000-02-29", "2000-02", "2000"))
    assert (day.start, day.end) == (
        datetime(2000, 2, 29, tzinfo=UTC),
        datetime(2000, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
    )
    assert month.start == datetime(2000, 2, 1, tzinfo=UTC) and month.end == day.end
    assert year.end == datetime(2000, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


@given(MOMENTS, MOMENTS)
def test_a_range_of_times_is_read_back_as_written(one: datetime, other: datetime) -> None:
    start, end = sorted((one, other))
    interval = parse_interval(f"{start.isoformat()}/{end.isoformat()}")
    assert (interval.start, interval.end) == (start, end)
    assert parse_interval(str(interval)) == interval


@given(MOMENTS, st.integers(1, 10**6))
def test_a_range_overlaps_what_begins_in_it_and_nothing_after_it(
    start: datetime, span: int
) -> None:
    end = start + timedelta(seconds=span)
    interval = parse_interval(f"{start.isoformat()}/{end.isoformat()}")
    assert interval.overlaps(end, end + timedelta(days=1))
    assert not interval.overlaps(end + timedelta(seconds=1), end + timedelta(days=1))


def test_an_open_end_has_no_limit() -> None:
    interval = parse_interval("2000-01-01/..")
    assert interval.end is None
    assert str(interval) == "2000-01-01T00:00:00Z/.."


@pytest.mark.parametrize("text", ["", "..", "../..", "last summer", "2000-13-01", "2000/2001/2002"])
def test_what_is_no_range_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read.*Write one date"):
        parse_interval(text)


def test_a_reversed_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="reversed"):
        parse_interval("2001-01-01/2000-01-01")


@given(MOMENTS)
def test_every_moment_belongs_to_exactly_one_day(moment: datetime) -> None:
    days = [moment.date() + timedelta(days=n) for n in (-1, 0, 1)]
    within = [parse_interval(day.isoformat()).overlaps(moment, moment) for day in days]
    assert within == [False, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "2016-12-31T23:59:59.5Z", "2016-12-31T23:59:59.9999999Z", "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:60.5Z", "2017-01-01T00:59:59.5+01:00",
    ],
)  # fmt: skip
def test_the_last_second_belongs_to_its_day_with_its_fractions(text: str) -> None:
    moment = parse_time(text)
    assert parse_interval("2016-12-31").overlaps(moment, moment)
    assert not parse_interval("2017-01-01").overlaps(moment, moment)


def test_an_api_is_asked_for_all_of_the_last_second() -> None:
    assert str(parse_interval("2020-06")) == "2020-06-01T00:00:00Z/2020-06-30T23:59:59.999999Z"
