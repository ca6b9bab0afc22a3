"""Which slices an area needs."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from noise2map_core.alerts.looks import LookRecord
from noise2map_core.catalog.interval import parse_interval
from noise2map_core.catalog.scene import Scene
from noise2map_core.nightly.cursor import Cursor, read_cursor, write_cursor
from noise2map_core.nightly.past import Past, SliceRecord
from noise2map_core.nightly.plan import AreaPlan, plan_area, rule_of, search_interval
from noise2map_core.runtime.errors import CatalogError
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.workflows.run_nightly import AreaConfig
from tests.raster_factories import frame, scene_of

SEARCH = SearchConfig(catalog="catalog.json", collection="c")
BASE = "2023-06-01"


def area(**changes: Any) -> AreaConfig:
    fields = {
        "id": "a", "aoi": "a.geojson", "sensor": "s", "checkpoint": "c", "since": "2024-01-01",
        "pair": {"kind": "fixed", "baseline": "2023"}, **changes,
    }  # fmt: skip
    return AreaConfig.model_validate(fields)


def scene(day: str, name: str | None = None, **changes: Any) -> Scene:
    moment = datetime.fromisoformat(day)
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return replace(
        scene_of("/x.tif", geobox=frame(8, 8), name=name or day), datetime=moment, **changes
    )


def plan(config: AreaConfig, scenes: list[Scene], cursor: Cursor | None = None) -> AreaPlan:
    return plan_area(config, SEARCH, cursor, scenes)


def after(config: AreaConfig, plan: AreaPlan) -> Cursor:
    """Where an area stands when a plan is carried out."""
    last = plan.slices[-1]
    return Cursor(last.day, last.items, {}, last.day, rule_of(config, SEARCH, last.day))


def days(plan: AreaPlan) -> list[str]:
    return [str(one.day) for one in plan.slices]


def test_every_later_day_with_imagery_becomes_a_slice_in_order() -> None:
    found = plan(area(), [scene(BASE), scene("2024-03-02"), scene("2024-02-01"),
                          scene("2024-02-01T09:00", "b")])  # fmt: skip
    assert days(found) == ["2024-02-01", "2024-03-02"]
    assert found.slices[0].news == ("2023-06-01", "2024-02-01", "b")
    assert found.slices[1].news == ("2024-03-02",)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 12),
       st.sampled_from([None, 1, 7]))  # fmt: skip
def test_nights_one_by_one_come_to_the_slices_of_one_that_catches_up(
    offsets: list[int], stop: int, window: int | None
) -> None:
    config = area(window_days=window)
    first = date(2024, 1, 1)
    scenes = [scene(str(first + timedelta(days=offset)), f"s{number}")
              for number, offset in enumerate(sorted(offsets))]  # fmt: skip
    base = scene(BASE)
    at_once = plan(config, [base, *scenes])
    # The catalogue grows: whole days, as nights see them.
    cut = first + timedelta(days=sorted(offsets)[min(stop, len(offsets) - 1)])
    early = plan(config, [base, *(one for one in scenes if one.datetime.date() <= cut)])
    rest = plan(config, [base, *scenes], after(config, early))
    assert early.slices + rest.slices == at_once.slices


def test_a_night_without_news_needs_nothing() -> None:
    scenes = [scene(BASE), scene("2024-02-01")]
    done = after(area(), plan(area(), scenes))
    assert plan(area(), scenes, done).slices == ()


def test_items_that_come_late_or_are_replaced_make_the_newest_slice_again() -> None:
    scenes = [scene(BASE), scene("2024-02-01")]
    done = after(area(), plan(area(), scenes))
    late = plan(area(), [*scenes, scene("2024-02-01T11:00", "late")], done)
    assert [(str(one.day), one.amended, one.news) for one in late.slices] == [
        ("2024-02-01", True, ("late",))
    ]
    other = replace(scenes[1], bands=(replace(scenes[1].bands[0], checksum="1220ab"),))
    (again,) = plan(area(), [scenes[0], other], done).slices
    assert again.amended and again.news == ("2024-02-01",)


def test_a_catalogue_that_goes_back_in_time_is_named() -> None:
    scenes = [scene(BASE), scene("2024-02-01"), scene("2024-02-01T11:00", "gone")]
    done = after(area(), plan(area(), scenes))
    with pytest.raises(CatalogError, match=r"back in time: item gone.*2024-02-01.*accept"):
        plan(area(), scenes[:2], done)
    accepted = plan(area(withdrawn="accept"), scenes[:2], done)
    assert [one.amended for one in accepted.slices] == [True]
    assert "item gone" in accepted.notices[0]


def test_other_windows_are_no_withdrawal() -> None:
    scenes = [scene(BASE), scene("2024-02-01"), scene("2024-03-01")]
    done = after(area(), plan(area(), scenes))
    narrow = area(window_days=3)
    (again,) = plan(narrow, scenes, done).slices
    assert again.amended and set(again.items) == {BASE, "2024-03-01"}


def test_rolling_and_season_pairs_compare_windows_of_one_length() -> None:
    rolling = area(pair={"kind": "rolling", "gap_days": 30}, window_days=10)
    found = plan(rolling, [scene("2024-01-25"), scene("2024-02-24")])
    assert days(found) == ["2024-02-24"] and "no slice of 2024-01-25" in found.notices[0]
    one = found.slices[0]
    assert one.before == "2024-01-16T00:00:00+00:00/2024-01-25T23:59:59+00:00"
    assert one.after == "2024-02-15T00:00:00+00:00/2024-02-24T23:59:59+00:00"
    season = area(pair={"kind": "season"}, window_days=1)
    (leap,) = plan(season, [scene("2023-02-28"), scene("2024-02-29")]).slices
    assert leap.before == "2023-02-28T00:00:00+00:00/2023-02-28T23:59:59+00:00"


def test_seasons_of_several_years_are_the_same_days_of_each_with_some_around() -> None:
    config = area(pair={"kind": "season", "years": 4, "around_days": 2}, window_days=1)
    looks = [scene(f"{year}-{day}") for year in range(2019, 2024)
             for day in ("02-25", "02-26", "03-01", "03-03")]  # fmt: skip
    (one,) = plan(config, [*looks, scene("2024-02-29")]).slices
    ranges = [parse_interval(text) for text in one.before.split(",")]
    assert [(str(r.start.date()), str(r.end.date())) for r in ranges] == [
        ("2020-02-27", "2020-03-02"), ("2021-02-26", "2021-03-02"), ("2022-02-26", "2022-03-02"),
        ("2023-02-26", "2023-03-02"),
    ]  # fmt: skip
    # By the calendar alone: 2019 is too early, and of each other year two or one of the looks fit.
    assert set(one.items) == {"2020-03-01", "2024-02-29"} | {
        f"{year}-{day}" for year in (2021, 2022, 2023) for day in ("02-26", "03-01")
    }


def test_seasons_are_searched_from_the_earliest_year_on() -> None:
    config = area(pair={"kind": "season", "years": 5, "around_days": 15}, window_days=1)
    assert search_interval(config, None, None) == "2018-12-17T00:00:00+00:00/.."


def test_other_years_are_another_rule() -> None:
    rules = {
        rule_of(area(pair={"kind": "season", **more}, window_days=1), SEARCH, date(2024, 3, 1))
        for more in ({}, {"years": 2}, {"years": 3}, {"around_days": 5})
    }
    assert len(rules) == 4


@pytest.mark.parametrize(
    ("pair", "window", "can"),
    [
        ({"kind": "fixed", "baseline": "2023"}, 1, True),
        ({"kind": "fixed", "baseline": "2023"}, None, False),
        ({"kind": "fixed", "baseline": "2023"}, 5, False),
        ({"kind": "season"}, 1, True),
        ({"kind": "season", "years": 3, "around_days": 15}, 1, True),
        ({"kind": "season", "years": 3}, 5, False),
        ({"kind": "rolling", "gap_days": 30}, 1, False),
    ],
)
def test_what_can_confirm(pair: dict[str, Any], window: int | None, can: bool) -> None:
    area(pair=pair, window_days=window)
    if can:
        area(pair=pair, window_days=window, alerts={})
    else:
        with pytest.raises(ValidationError, match="alerts need"):
            area(pair=pair, window_days=window, alerts={})


def test_of_several_years_a_slice_takes_the_median_unless_told_otherwise() -> None:
    def before(years: int, **composite: str) -> str | None:
        pair = {"kind": "season", "years": years}
        return area(pair=pair, window_days=1, composite=composite).slice_composite.before

    assert [before(1), before(2), before(2, before="first")] == [None, "median", "first"]
    assert area().slice_composite.before is None


def test_days_of_years_that_overlap_are_refused() -> None:
    with pytest.raises(ValidationError, match="must not exceed 365: the days of the years overlap"):
        area(pair={"kind": "season", "years": 2, "around_days": 180}, window_days=6)
    area(pair={"kind": "season", "years": 2, "around_days": 180}, window_days=5)


def test_days_are_those_of_the_time_zone() -> None:
    config = area(time_zone="Pacific/Auckland")
    (one,) = plan(config, [scene(BASE), scene("2024-02-01T20:00")]).slices
    assert one.day == date(2024, 2, 2)
    assert parse_interval(one.after).end == datetime.fromisoformat("2024-02-02T10:59:59+00:00")


def test_the_baseline_is_never_chosen_by_the_imagery() -> None:
    with pytest.raises(ValidationError, match='choose no "best" date, their windows decide'):
        area(pair={"kind": "fixed", "baseline": "best 2020-05-01/2020-09-30"})


def test_the_search_reaches_from_the_baseline_to_the_day_that_was_asked_for() -> None:
    assert search_interval(area(), None, None) == "2023-01-01T00:00:00+00:00/.."
    until = search_interval(area(window_days=5), Cursor(date(2024, 3, 1)), date(2024, 3, 9))
    assert until.endswith("/2024-03-09T23:59:59+00:00")
    parse_interval(search_interval(area(pair={"kind": "fixed", "baseline": "../2020"}), None, None))


def test_a_cursor_is_read_as_it_was_written(tmp_path: Any) -> None:
    cursor = Cursor(date(2024, 3, 2), {"a": "0"}, {"crs": "EPSG:32633"}, date(2024, 3, 1), "r")
    assert read_cursor(tmp_path) is None
    write_cursor(tmp_path, cursor)
    assert read_cursor(tmp_path) == cursor


def past_of(config: AreaConfig, found: AreaPlan, gone: tuple[str, ...] = (),
            settled: date | None = None) -> Past:  # fmt: skip
    """What is known when a plan is carried out; the slices of `gone` were pruned."""
    records = {}
    for one in found.slices:
        look = LookRecord(one.day, "k", (), (), ())
        records[one.day] = SliceRecord(rule_of(config, SEARCH, one.day), one.items, look)
    return Past(records, frozenset(set(records) - {date.fromisoformat(day) for day in gone}),
                settled)  # fmt: skip


def test_with_alerts_any_slice_that_is_kept_is_made_again_and_late_days_get_theirs() -> None:
    config = area(window_days=1, alerts={}, withdrawn="accept")
    scenes = [scene(BASE), scene("2024-02-01"), scene("2024-02-05"), scene("2024-02-09")]
    early = plan(config, scenes)
    past, cursor = past_of(config, early), after(config, early)

    def planned(*found: Scene, known: Past = past) -> list[tuple[str, bool, bool]]:
        slices = plan_area(config, SEARCH, cursor, found, known).slices
        return [(str(one.day), one.amended, one.gone) for one in slices]

    assert planned(*scenes) == []
    assert planned(*scenes, scene("2024-02-03")) == [("2024-02-03", False, False)]
    other = replace(scenes[1], bands=(replace(scenes[1].bands[0], checksum="1220ab"),))
    assert planned(scenes[0], other, *scenes[2:]) == [("2024-02-01", True, False)]
    assert planned(*scenes[:2], scenes[3], scene("2024-02-12")) == [
        ("2024-02-05", True, True), ("2024-02-12", False, False),
    ]  # fmt: skip
    pruned = past_of(config, early, gone=("2024-02-01",))
    assert planned(scenes[0], other, *scenes[2:], known=pruned) == []
    settled = past_of(config, early, settled=date(2024, 2, 5))
    assert planned(scenes[0], other, *scenes[2:], known=settled) == []
    assert planned() == []  # a catalogue that shows nothing is out of order
    assert planned(*scenes[1:]) == []  # so is one that lost the baseline of all slices
    unknown = Past({}, past.slices, None)
    assert [day for day, amended, _ in planned(*scenes, known=unknown) if amended] == days(early)


def test_what_is_withdrawn_of_an_earlier_slice_is_refused_unless_it_is_accepted() -> None:
    config = area(window_days=1, alerts={})
    scenes = [scene(BASE), scene("2024-02-01"), scene("2024-02-05")]
    early = plan(config, scenes)
    past, cursor = past_of(config, early), after(config, early)
    with pytest.raises(CatalogError, match=r"item 2024-02-01.*slice of 2024-02-01.*accept"):
        plan_area(config, SEARCH, cursor, [scenes[0], scenes[2]], past)


def test_the_search_reaches_back_as_far_as_slices_can_be_made_again() -> None:
    config, cursor = (
        area(window_days=1, alerts={}),
        Cursor(date(2024, 3, 1), slice=date(2024, 3, 1)),
    )
    season = area(window_days=1, alerts={}, pair={"kind": "season"})
    for settled, first in ((None, "2023-01-01"), (date(2024, 2, 9), "2023-02-10")):
        past = Past({}, frozenset(), settled)
        assert search_interval(season, cursor, None, past).startswith(first)
        assert search_interval(config, cursor, None, past).startswith("2023-01-01")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window_days": 30, "pair": {"kind": "rolling", "gap_days": 30}}, "rolling pair moves"),
        ({"window_days": 7}, "window_days: 1, and it is 7"),
        ({}, "window_days: 1, and it is None"),
        ({"window_days": 1, "alerts": {"k": 5, "n": 4}}, "k = 5 detections among the next n = 4"),
        ({"window_days": 1, "alerts": {"n": 255}}, "less than or equal to 254"),
    ],
)
def test_alerts_that_could_not_be_confirmed_are_refused(changes: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        area(**{"alerts": {}, **changes})
    assert area(window_days=1, alerts={}).alerts is not None
