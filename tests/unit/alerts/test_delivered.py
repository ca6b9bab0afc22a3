"""What people said of objects: it changes what leaves the house, and nothing else."""

from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from noise2map_core.alerts.delivered import judged_alerts, judged_history
from noise2map_core.alerts.evidence import with_items
from noise2map_core.alerts.looks import ItemPlace, LookRecord
from noise2map_core.alerts.settle import OBJECTS, is_settled, revised, settle
from noise2map_core.alerts.tables import (
    ALERT_TYPES,
    ALERTS,
    HISTORY,
    HISTORY_COLUMNS,
    REVISIONS,
    read_alerts,
    read_history,
    write_alerts,
    write_history,
)
from noise2map_core.alerts.verdicts import VERDICTS, read_verdicts, write_verdicts
from noise2map_core.runtime.errors import OutputError
from tests.alert_factories import GRID, WORLD
from tests.event_factories import alert, write_area

D = [date(2024, 1, day) for day in range(1, 29)]


def objects(*rows: tuple[str, str, shapely.Geometry]) -> gpd.GeoDataFrame:
    found = [alert(name, parents=parents, geometry=shape, status="provisional", review="",
                   reject_reason="") for name, parents, shape in rows]  # fmt: skip
    return gpd.GeoDataFrame(found, geometry="geometry", crs="EPSG:32633")


def verdicts(*rows: tuple[str, str, date, shapely.Geometry]) -> gpd.GeoDataFrame:
    found = [{"object_id": name, "verdict": verdict, "reason": "cloud" * (verdict == "rejected"),
              "reviewer": "ada", "decided_on": day, "geometry": shape}
             for name, verdict, day, shape in rows]  # fmt: skip
    return gpd.GeoDataFrame(found, geometry="geometry", crs="EPSG:32633")


def history(*rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=HISTORY_COLUMNS)


def box(left: float, right: float) -> shapely.Geometry:
    return shapely.box(left, 0, right, 10)


OPENED = history(("a", D[0], 100.0, 0.0, "opened"))


def test_a_rejected_object_stays_rejected_whatever_it_grows_to() -> None:
    grown = objects(("a", "", box(0, 100)), ("b", "", box(200, 300)))
    said = verdicts(("a", "rejected", D[1], box(0, 10)), ("b", "unsure", D[1], box(200, 300)))
    found = judged_alerts(grown, OPENED, said).set_index("object_id")
    assert found["status"].to_dict() == {"a": "rejected", "b": "provisional"}
    assert found["review"].to_dict() == {"a": "rejected", "b": "unsure"}
    assert found["reject_reason"].to_dict() == {"a": "cloud", "b": ""}


def test_what_parts_from_a_rejected_object_is_rejected_where_it_was_judged() -> None:
    parted = objects(("a", "", box(0, 40)), ("b", "a", box(50, 60)), ("c", "a", box(95, 200)),
                     ("d", "b", box(60, 70)), ("e", "", box(70, 80)))  # fmt: skip
    found = judged_alerts(parted, OPENED, verdicts(("a", "rejected", D[1], box(0, 100))))
    status = found.set_index("object_id")["status"]
    assert status[status == "rejected"].index.tolist() == ["a", "b", "d"]


def test_one_that_takes_in_another_since_it_was_judged_is_raised_again() -> None:
    both = objects(("a", "b", box(0, 40)), ("b", "", box(30, 40)))
    said = verdicts(("a", "rejected", D[5], box(0, 20)))
    for day, status in ((D[8], "provisional"), (D[3], "rejected")):
        events = history(("a", day, 400.0, 0.0, "merged"), ("b", day, 0.0, 0.0, "merged"))
        assert judged_alerts(both, events, said)["status"][0] == status
    said = verdicts(("a", "rejected", D[5], box(0, 20)), ("b", "rejected", D[5], box(30, 40)))
    events = history(("a", D[8], 400.0, 0.0, "merged"), ("b", D[8], 0.0, 0.0, "merged"))
    assert judged_alerts(both, events, said)["status"].tolist() == ["rejected", "rejected"]


def test_a_rejection_is_an_event_of_the_day_it_was_decided_on() -> None:
    events = history(("a", D[0], 100.0, 0.0, "opened"), ("a", D[9], 300.0, 0.0, "grew"))
    known, said = objects(("a", "", box(0, 10))), verdicts(
        ("a", "rejected", D[5], box(0, 10)), ("z", "rejected", D[5], box(0, 10))
    )  # fmt: skip
    found = judged_history(events, known, said)
    assert found.iloc[-1].tolist() == ["a", D[5], 100.0, 0.0, "rejected"] and len(found) == 3


def test_verdicts_are_taken_in_and_taken_back(tmp_path: Path) -> None:
    folder = write_area(tmp_path, [("o0", 0, "opened"), ("o1", 0, "opened")])
    before = {name: (folder / name).read_bytes() for name in (ALERTS, HISTORY)}
    assert is_settled(folder)
    shape = read_alerts(folder / ALERTS).geometry[0]
    write_verdicts(folder / VERDICTS, verdicts(("o0", "rejected", D[1], shape)))
    assert not is_settled(folder)
    settle(folder)
    assert is_settled(folder) and read_alerts(folder / ALERTS)["status"][0] == "rejected"
    assert "rejected" in set(read_history(folder / HISTORY)["event"])
    write_verdicts(folder / VERDICTS, read_verdicts(folder / VERDICTS)[:0])
    settle(folder)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_what_a_replay_takes_back_is_told(tmp_path: Path) -> None:
    old = write_area(tmp_path / "old", [("a", 0, "opened"), ("b", 0, "opened"), ("c", 0, "opened")])
    new = write_area(tmp_path / "new", [("b", 0, "opened"), ("c", 0, "opened")])
    for folder, status in ((old, "confirmed"), (new, "provisional")):
        write_alerts(folder / ALERTS, read_alerts(folder / ALERTS).assign(status=status))
    found = revised(old, new, D[9])
    rows = found[["object_id", "event"]].itertuples(index=False, name=None)
    assert sorted(rows) == [("a", "withdrawn"), ("b", "downgraded"), ("c", "downgraded")]
    write_history(new / REVISIONS, found)
    assert set(read_history(new / REVISIONS)["event"]) == {"withdrawn", "downgraded"}


def test_the_clearest_looks_before_and_after_are_named() -> None:
    def record(day: date, pixels: int) -> LookRecord:
        items = ItemPlace("base", WORLD), ItemPlace(f"i{day.day}", WORLD)
        return LookRecord(day, "", ((-2, 1, pixels),), items[:1], items[1:])

    looks = [record(D[0], 100), record(D[1], 200), record(D[2], 200), record(D[3], 50),
             record(D[4], 90), record(D[5], 90), record(D[6], 255)]  # fmt: skip
    shape = shapely.box(165, 315, 175, 325)
    about = {"polygon_id": "1:-32:16", "geometry": shape, "first_seen": D[3]}
    rows = [alert("a", prior_look=D[2], last_look=D[5], **about),
            alert("b", prior_look=None, last_look=D[6], **about)]  # fmt: skip
    table = gpd.GeoDataFrame(rows, geometry="geometry", crs=GRID.crs)
    found = with_items(table, looks, GRID)
    assert found["before_item"].tolist() == ["i3", "base"]
    assert found["after_item"].tolist() == ["i5", "i7"]
    assert set(ALERT_TYPES) <= set(found.columns)


@pytest.mark.parametrize("name", [OBJECTS, VERDICTS])
def test_damaged_tables_are_named_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PAR1 and no more")
    read = read_verdicts if name == VERDICTS else read_alerts
    with pytest.raises(OutputError, match=f"{name} is damaged") as said:
        read(tmp_path / name)
    assert "\n" not in str(said.value)
