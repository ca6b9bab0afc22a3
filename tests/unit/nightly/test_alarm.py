"""When a night is implausible."""

from datetime import date, timedelta
from math import log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.nightly.alarm import alarms_of, shares_of, stability_index
from noise2map_core.nightly.scores import NightScore
from noise2map_core.settings.alerts import AlarmConfig

CONFIG = AlarmConfig()
DAY = date(2025, 6, 20)


def night(number: int, high: float = 0.02, decided: int = 20_000, **counts: int) -> NightScore:
    """A night most of whose pixels are surely unchanged, and a share `high` of them surely not."""
    rng = np.random.default_rng(number)
    low = rng.beta(0.6, 20, decided - round(high * decided))
    percents = np.concatenate([low, rng.beta(8, 2, round(high * decided))])
    histogram = np.bincount(np.rint(100 * percents).astype(int), minlength=101)
    facts = {"decided": decided, "changed": round(high * decided), "hidden": 0, **counts}
    return NightScore(DAY + timedelta(days=number), **facts, histogram=tuple(histogram.tolist()))


PLAIN = [night(number) for number in range(8)]


def test_a_night_like_the_others_raises_no_alarm() -> None:
    assert alarms_of(night(9), PLAIN, CONFIG) == []


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (night(9, changed=10_001), "50% of the decided pixels are changed"),
        (night(9, changed=19_000), "95% of the decided pixels are changed"),
        (night(9, hidden=400_000), "95% of what was recorded is hidden"),
        (night(9, decided=1000, hidden=99_000), "99% of what was recorded is hidden"),
        (night(9, high=0.3), "spread unlike those of the last 8 nights"),
    ],
)
def test_each_fault_is_said_with_its_number(score: NightScore, said: str) -> None:
    (text,) = alarms_of(score, PLAIN, CONFIG)
    assert said in text


@pytest.mark.parametrize(
    ("score", "config"),
    [
        (night(9, changed=10_000), {}),
        (night(9, changed=20_000), {"changed_share": 1.0}),
        (night(9, hidden=370_000), {}),
        (night(9, high=0.3), {"drift": 99.0}),
        (night(9, high=0.3, decided=999, changed=900), {}),
    ],
)
def test_what_is_within_the_limits_is_none(score: NightScore, config: dict[str, Any]) -> None:
    assert alarms_of(score, PLAIN, AlarmConfig(**config)) == []


def test_nights_that_differ_anyway_have_a_wider_limit() -> None:
    restless = [night(number, high=0.25 * (number % 2)) for number in range(8)]
    assert alarms_of(night(9, high=0.25), restless, CONFIG) == []


def test_two_nights_are_too_few_to_be_unlike_and_small_ones_do_not_count() -> None:
    odd = night(9, high=0.3)
    assert alarms_of(odd, PLAIN[:2], CONFIG) == []
    small = [night(number, decided=900) for number in range(5)]
    assert alarms_of(odd, [*PLAIN[:2], *small], CONFIG) == []
    assert alarms_of(odd, [*PLAIN[:3], *small], CONFIG) != []


def test_a_night_without_a_single_pixel_is_no_error() -> None:
    assert alarms_of(night(9, high=0, decided=0), PLAIN, CONFIG) == []


def test_the_index_is_that_of_a_loop_over_bins() -> None:
    now, before = shares_of([night(1, high=0.2)]), shares_of(PLAIN)
    expected = sum((p - q) * log(p / q) for p, q in zip(now, before, strict=True))
    assert stability_index(now, before) == pytest.approx(expected)


@given(st.lists(st.integers(0, 10_000), min_size=101, max_size=101).filter(any))
def test_the_index_is_never_negative_and_nothing_of_a_night_and_itself(counts: list[int]) -> None:
    one = shares_of([NightScore(DAY, sum(counts), 0, 0, tuple(counts))])
    assert stability_index(one, one) == 0 and stability_index(one, shares_of(PLAIN)) >= 0
    assert stability_index(one, shares_of(PLAIN)) == pytest.approx(
        stability_index(shares_of(PLAIN), one)
    )
