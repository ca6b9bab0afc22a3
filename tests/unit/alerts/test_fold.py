"""The state machine of pixels: scenarios worked out by hand, and a scalar loop."""

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.alerts.fold import Rules, fold
from noise2map_core.alerts.state import ARRAYS, Look, PixelState, Status, look_of, nothing_known
from noise2map_core.runtime.errors import OutputError

RULES = Rules(k=2, n=4, m=3, t_days=180)
EMPTY = dict.fromkeys(ARRAYS, 0)
FIRST_ALERT = {
    "status": 2, "prior": 10, "first": 15, "last": 35, "confirmed": 35, "seen": 35, "looks": 4,
    "hits": 3, "quiet": 0, "p_max": 90, "p_sum": 230,
}  # fmt: skip
ONE = "10U 15C80 20N 25C60 30U 35C90"


def looks_of(text: str) -> list[Look]:
    """Looks at one pixel: day, then C and percent, U or N."""
    found = []
    for word in text.split():
        kind = next(letter for letter in "CUN" if letter in word)
        day, percent = word.split(kind)
        code = {"U": 0, "C": 1, "N": 255}[kind]
        found.append(Look(int(day), np.array([code], np.uint8), np.array([percent or 0], np.uint8)))
    return found


def after(text: str, rules: Rules = RULES) -> dict[str, int]:
    state = nothing_known((1,))
    for look in looks_of(text):
        state = fold(state, look, rules)
    return {name: int(values[0]) for name, values in state.arrays().items()}


def test_change_that_comes_again_is_confirmed_and_a_cloud_changes_no_byte() -> None:
    assert after(ONE) == FIRST_ALERT
    assert after("10U 15C80 20N") == after("10U 15C80")


def test_change_that_does_not_come_again_is_taken_back() -> None:
    for until in ("10C70", "10C70 15U", "10C70 15U 20U", "10C70 15U 20U 25N"):
        assert after(until)["status"] == Status.PROVISIONAL
    assert after("10C70 15U 20U 25N 30U") == EMPTY | {"seen": 30}


def test_a_confirmed_alert_ends_with_its_dates_and_may_begin_anew() -> None:
    ended = after(f"{ONE} 40U 45N 50U 55U")
    assert ended == FIRST_ALERT | {"status": 3, "looks": 7, "hits": 3, "quiet": 3, "seen": 55}
    assert after(f"{ONE} 40U 45N 50U 55U 60C75") == EMPTY | {
        "status": 1, "prior": 55, "first": 60, "last": 60, "looks": 1, "hits": 1, "p_max": 75,
        "p_sum": 75, "seen": 60,
    }  # fmt: skip


def test_what_is_not_confirmed_in_time_begins_anew() -> None:
    held = after("10C90 190C80")
    assert (held["status"], held["hits"]) == (Status.PROVISIONAL, 2)
    assert after("10C90 195U") == EMPTY | {"seen": 195}
    again = after("10C90 195C90")
    assert (again["status"], again["first"], again["prior"], again["hits"]) == (1, 195, 10, 1)


def test_a_late_look_and_a_withdrawn_one_give_the_states_of_what_is_left() -> None:
    early = after("10U 15C80 20C80 30C80")
    assert (early["status"], early["confirmed"], early["looks"]) == (2, 30, 3)
    late = after("10U 15C80 17U 20C80 30C80")
    assert (late["status"], late["confirmed"], late["looks"]) == (2, 30, 4)
    left = after("10U 15C80 17U 30C80")
    assert (left["status"], left["looks"], left["hits"], left["confirmed"]) == (1, 3, 2, 0)


def test_the_state_has_17_bytes_a_pixel() -> None:
    state = nothing_known((3, 5))
    assert sum(values.nbytes for values in state.arrays().values()) == 17 * 15
    assert list(state.arrays()) == list(ARRAYS)


def test_a_clock_that_runs_backwards_is_refused_where_it_would_count() -> None:
    seen = fold(nothing_known((1,)), looks_of("10C80")[0], RULES)
    for again in ("10C80", "9U"):
        with pytest.raises(OutputError, match=r"seen on 1970-01-11 already.*earlier one"):
            fold(seen, looks_of(again)[0], RULES)
    assert fold(seen, looks_of("9N")[0], RULES) == seen


def test_counts_end_at_255_and_their_sum_with_them() -> None:
    text = " ".join(f"{day}C90" for day in range(1, 301))
    full = after(text)
    assert (full["looks"], full["hits"], full["p_sum"], full["last"]) == (255, 255, 255 * 90, 300)
    quiet = after(text + " " + " ".join(f"{day}U" for day in range(301, 600)), Rules(2, 4, 0, 180))
    assert (quiet["status"], quiet["quiet"], quiet["seen"]) == (Status.CONFIRMED, 255, 599)


def test_a_look_floors_the_probability_and_takes_every_class_of_change() -> None:
    classes = np.array([0, 1, 7, 255, 1], np.uint8)
    look = look_of(classes, np.array([9999, 8099, 100, 65535, 10_000], np.uint16), 5)
    assert look.found.tolist() == [0, 1, 1, 255, 1]
    assert look.percent[[0, 1, 2, 4]].tolist() == [99, 80, 1, 100]


def scalar(old: dict[str, int], day: int, found: int, p: int, rules: Rules) -> dict[str, int]:
    """One pixel, one look, written from the table of the design, not from the code."""
    if found == 255:
        return old
    new = dict(old)
    if new["status"] == 1 and day - new["first"] > rules.t_days:
        new = EMPTY | {"seen": old["seen"]}
    if found == 1 and new["status"] in (0, 3):
        new = EMPTY | {"status": 1, "prior": old["seen"], "first": day, "last": day, "looks": 1,
                       "hits": 1, "p_max": p, "p_sum": p}  # fmt: skip
        if rules.k == 0:
            new |= {"status": 2, "confirmed": day}
    elif found == 1:
        new["looks"] = min(255, new["looks"] + 1)
        if new["hits"] < 255:
            new["hits"] += 1
            new["p_sum"] += p
        new |= {"quiet": 0, "last": day, "p_max": max(new["p_max"], p)}
        if new["status"] == 1 and new["hits"] - 1 >= rules.k:
            new |= {"status": 2, "confirmed": day}
    elif new["status"] in (1, 2):
        new["looks"] = min(255, new["looks"] + 1)
        new["quiet"] = min(255, new["quiet"] + 1)
        if new["status"] == 1 and new["looks"] - new["hits"] > rules.n - rules.k:
            new = dict(EMPTY)
        elif new["status"] == 2 and rules.m > 0 and new["quiet"] >= rules.m:
            new["status"] = 3
    new["seen"] = day
    return new


RULE_SETS = st.integers(0, 5).flatmap(
    lambda k: st.builds(Rules, st.just(k), st.integers(k, 8), st.integers(0, 4), st.integers(1, 60))
)
SHAPE = (4, 5)


def drawn(seed: int, days: int) -> list[Look]:
    """Looks of random days: half undecided, a third of the others changed."""
    rng = np.random.default_rng(seed)
    numbers = 100 + np.cumsum(rng.integers(1, 20, days))
    codes = rng.choice(np.array([0, 1, 255], np.uint8), (days, *SHAPE), p=[0.35, 0.25, 0.4])
    percents = rng.integers(0, 101, (days, *SHAPE)).astype(np.uint8)
    return [Look(int(d), c, p) for d, c, p in zip(numbers, codes, percents, strict=True)]


def folded(looks: list[Look], rules: Rules, state: PixelState | None = None) -> PixelState:
    state = state or nothing_known(looks[0].found.shape)
    for look in looks:
        state = fold(state, look, rules)
    return state


def same(one: PixelState, other: PixelState) -> bool:
    pairs = zip(astuple(one), astuple(other), strict=True)
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@given(st.integers(0, 2**32), st.integers(1, 25), RULE_SETS)
def test_arrays_do_what_a_loop_over_pixels_does(seed: int, days: int, rules: Rules) -> None:
    looks = drawn(seed, days)
    found = folded(looks, rules)
    for at in np.ndindex(SHAPE):
        pixel: dict[str, int] = dict(EMPTY)
        for look in looks:
            pixel = scalar(pixel, look.day, int(look.found[at]), int(look.percent[at]), rules)
        assert {name: int(values[at]) for name, values in found.arrays().items()} == pixel


@given(st.integers(0, 2**32), st.integers(1, 15), RULE_SETS, st.data())
def test_looks_without_a_decision_change_nothing_wherever_they_come(
    seed: int, days: int, rules: Rules, data: Any
) -> None:
    looks = drawn(seed, days)
    hidden = Look(0, np.full(SHAPE, 255, np.uint8), np.full(SHAPE, 77, np.uint8))
    more = list(looks)
    for place in data.draw(st.lists(st.integers(0, days), max_size=5)):
        more.insert(place, hidden)
    assert same(folded(looks, rules), folded(more, rules))


@given(st.integers(0, 2**32), st.integers(1, 15), RULE_SETS, st.integers(1, 3))
def test_pixels_do_not_know_how_they_are_cut(seed: int, days: int, rules: Rules, cut: int) -> None:
    looks, whole = drawn(seed, days), folded(drawn(seed, days), rules)
    parts = []
    for rows in (slice(0, cut), slice(cut, None)):
        parts.append(folded([Look(o.day, o.found[rows], o.percent[rows]) for o in looks], rules))
    for name, values in whole.arrays().items():
        assert np.array_equal(values, np.concatenate([getattr(part, name) for part in parts]))
