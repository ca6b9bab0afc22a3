"""Alerts brought up to their slices: however the looks came in, the same bytes."""

import os
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from noise2map_core.alerts.replay import Slice, settled_through, snapshot_days
from noise2map_core.alerts.state import ARRAYS
from noise2map_core.alerts.store import NAME, StateRules, StateStore, read_about
from noise2map_core.alerts.tables import read_alerts, read_history
from noise2map_core.alerts.tiles import fold_here
from noise2map_core.alerts.update import update_alerts
from noise2map_core.runtime.errors import OutputError
from noise2map_core.settings.alerts import AlertsConfig
from tests.alert_factories import FIRST, GRID, Area, drawn_look, pruned, write_look


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[Slice]:
    root = tmp_path_factory.mktemp("slices")
    return [drawn_look(root, number) for number in range(10)]


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory, slices: list[Slice]) -> Area:
    """Alerts after ten nights; to be copied."""
    return nightly(tmp_path_factory.mktemp("ten"), slices)


def copied(area: Area, root: Path) -> Area:
    shutil.copytree(area.root, root)
    return Area(root)


def scratch(root: Path, slices: list[Slice]) -> Area:
    area = Area(root)
    area.update(slices)
    return area


def nightly(root: Path, slices: list[Slice]) -> Area:
    area = Area(root)
    for stop in range(1, len(slices) + 1):
        area.update(slices[:stop])
    return area


def test_night_after_night_comes_to_the_bytes_of_all_at_once(
    tmp_path: Path, slices: list[Slice], ten: Area
) -> None:
    one, other = ten, scratch(tmp_path / "b", slices)
    assert one.files() == other.files()
    assert [str(day) for day in snapshot_days(one.folder)] == ["2024-01-30", "2024-02-29"]
    assert not (one.folder / "staged").exists() and not (one.folder / "revisions.parquet").exists()
    objects, history = (
        read(one.folder / name)
        for read, name in ((read_alerts, "alerts.parquet"), (read_history, "history.parquet"))
    )
    # Five patches of 30 pixels, clouds or not: ids stay, and each is opened once.
    large = objects[objects["area_m2"] > 1500]
    assert len(large) >= 4 and objects["object_id"].is_unique
    opened = history[history["event"] == "opened"]["object_id"]
    assert opened.is_unique and set(large["object_id"]) <= set(opened)
    assert "confirmed" in set(large["status"])


def test_late_replaced_and_withdrawn_looks_give_what_is_left_from_scratch(
    tmp_path: Path, slices: list[Slice]
) -> None:
    slices = slices[:6]
    final = [one for number, one in enumerate(slices) if number != 2]
    final[3] = drawn_look(tmp_path / "again", 4, seed=5)
    area = scratch(tmp_path / "a", [one for n, one in enumerate(slices) if n not in (1, 3)])
    assert area.update([one for n, one in enumerate(slices) if n != 3]).anew  # late
    assert area.update(slices).anew  # late, another
    replaced = [*slices[:4], final[3], *slices[5:]]
    assert area.update(replaced).anew
    last = area.update(final)  # withdrawn
    assert last is not None and last.anew
    other = scratch(tmp_path / "b", final)
    assert area.files() == other.files()
    assert area.update(final) is None and area.files() == other.files()


def test_a_replay_begins_with_the_snapshot_before_what_changed(
    tmp_path: Path, slices: list[Slice], ten: Area
) -> None:
    area = copied(ten, tmp_path / "a")
    first = [pruned(one) for one in slices[:3]]  # to the end of January
    changed = [*first, *slices[3:9], drawn_look(tmp_path / "x", 9, seed=9)]
    assert area.update(changed).looks == 1  # there is a snapshot of 29 February
    earlier = [*first, drawn_look(tmp_path / "x", 3, seed=9), *slices[4:]]
    assert area.update(earlier).looks == 7
    at_once = scratch(tmp_path / "b", [*slices[:3], *earlier[3:]])
    assert area.files() == at_once.files()


def test_what_a_replay_needs_and_is_pruned_is_named_and_nothing_is_touched(
    tmp_path: Path, slices: list[Slice], ten: Area
) -> None:
    area = copied(ten, tmp_path / "a")
    before = area.files(revisions=True)
    gone = [*map(pruned, slices[:6]), *slices[6:]]
    assert area.update(gone) is None
    changed = [replace(gone[0], record=replace(gone[0].record, key="other")), *gone[1:]]
    with pytest.raises(OutputError, match=r"earlier imagery has changed; the slices of 2024-01-20"):
        area.update(changed)
    with pytest.raises(OutputError, match=r"k = 2.*asked for is k = 1.*2024-02-09 and 1 more"):
        area.update(gone, k=1)
    assert area.files(revisions=True) == before
    assert settled_through(area.folder, {one.record.day for one in gone[:6]}) == date(2024, 2, 29)
    assert settled_through(area.folder, set()) is None
    shutil.rmtree(area.folder)  # as the message says
    area.update(gone)
    assert area.files() == scratch(tmp_path / "b", slices[6:]).files()
    assert area.update(gone) is None


@pytest.mark.parametrize("change", [{"k": 1}, {"minimum_m2": 900.0}])
def test_other_parameters_make_the_state_anew(
    tmp_path: Path, slices: list[Slice], change: dict[str, float]
) -> None:
    area, other = scratch(tmp_path / "a", slices[:3]), Area(tmp_path / "b")
    assert area.update(slices[:3], **change).anew
    other.update(slices[:3], **change)
    assert area.files() == other.files()


def test_a_tile_without_a_decision_is_not_written(tmp_path: Path, slices: list[Slice]) -> None:
    area = scratch(tmp_path / "a", slices[:3])
    found = np.full((32, 32), 255, np.uint8)
    found[:16, :16] = 1
    shards = {path: (path.stat().st_ino, path.read_bytes())
              for path in area.folder.glob(f"{NAME}/*/c/*/*")}  # fmt: skip
    day = date(2024, 2, 4)
    area.update([*slices[:3], write_look(tmp_path, day, found, np.full((32, 32), 80))])
    for path, (inode, content) in shards.items():
        if path.parent.name == "0" and path.name == "0":
            continue
        assert (path.stat().st_ino, path.read_bytes()) == (inode, content)
    nothing = np.full((32, 32), 255, np.uint8)
    before = {path: path.read_bytes() for path in area.folder.glob(f"{NAME}/*/c/*/*")}
    hidden = write_look(tmp_path, date(2024, 2, 5), nothing, np.full((32, 32), 80))
    area.update([*slices[:3], write_look(tmp_path, day, found, np.full((32, 32), 80)), hidden])
    assert {path: path.read_bytes() for path in area.folder.glob(f"{NAME}/*/c/*/*")} == before


@pytest.mark.parametrize("stop", [1, 6])
def test_a_crash_while_a_state_takes_its_place_is_made_good(
    tmp_path: Path, slices: list[Slice], stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    area = scratch(tmp_path / "a", slices[:4])
    amended = [*slices[:2], slices[3]]
    moves = 0

    def failing(self: Path, target: Path) -> Path:
        nonlocal moves
        moves += self.parent.name == "staged" or self.parent == area.folder
        if moves > stop:
            raise KeyboardInterrupt
        os.replace(self, target)
        return Path(target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        patch.setattr(Path, "rename", failing)
        with pytest.raises(KeyboardInterrupt):
            area.update(amended)
    area.update(amended)
    assert area.files() == scratch(tmp_path / "b", amended).files()


def test_a_crash_before_leaves_what_was_there(
    tmp_path: Path, slices: list[Slice], monkeypatch: pytest.MonkeyPatch
) -> None:
    area = scratch(tmp_path / "a", slices[:2])
    before = area.files()
    with monkeypatch.context() as patch:
        patch.setattr("noise2map_core.alerts.update.commit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            area.update(slices[:3])
    left = area.files()
    assert {name: left[name] for name in before} == before
    area.update(slices[:3])
    assert area.files() == scratch(tmp_path / "b", slices[:3]).files()


@pytest.mark.parametrize("content", ["{", '{"attributes": {"k": 2}}'])
def test_a_damaged_state_is_named_and_made_again_when_it_is_deleted(
    tmp_path: Path, slices: list[Slice], content: str
) -> None:
    area = scratch(tmp_path / "a", slices[:2])
    good = area.files()
    (area.folder / NAME / "zarr.json").write_text(content)
    with pytest.raises(OutputError, match=r"alerts\.zarr is damaged.*Delete it and run") as said:
        area.update(slices[:3])
    assert "\n" not in str(said.value)
    shutil.rmtree(area.folder / NAME)
    area.update(slices[:2])
    assert area.files() == good


def test_damaged_pixels_and_tables_are_named(tmp_path: Path, slices: list[Slice]) -> None:
    area = scratch(tmp_path / "a", slices[:2])
    shard = area.folder / NAME / "seen" / "c" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 4] ^= 255
    shard.write_bytes(content)
    with pytest.raises(OutputError, match=r"alerts\.zarr is damaged.*Delete it"):
        area.update(slices[:3])
    shutil.rmtree(area.folder / NAME)
    area.update(slices[:2])
    (area.folder / "events.parquet").write_bytes(b"PAR1")
    with pytest.raises(OutputError, match=r"events\.parquet is damaged"):
        area.update(slices[:3])


def test_attributes_say_of_what_the_state_is(tmp_path: Path, slices: list[Slice]) -> None:
    area = scratch(tmp_path / "a", slices[:3])
    about = read_about(area.folder / NAME)
    assert about is not None and about.as_of == date(2024, 1, 30)
    assert [look.day for look in about.looks] == [one.record.day for one in slices[:3]]
    store = StateStore(area.folder / NAME, GRID)
    seen = {int(day) for tile in GRID.tiles() for day in np.unique(store.read(tile).seen)}
    assert seen <= {0} | {(one.record.day - date(1970, 1, 1)).days for one in slices[:3]}
    assert set(ARRAYS) <= {path.name for path in (area.folder / NAME).iterdir()}
    assert slices[0].record.day == FIRST


def test_looks_are_cut_at_the_threshold_of_the_products(tmp_path: Path) -> None:
    percent = np.arange(32 * 32).reshape(32, 32) % 100
    found = np.where(percent >= 50, 1, 0).astype(np.uint8)
    found[:, :4] = 255
    one, folder = write_look(tmp_path, FIRST, found, percent), tmp_path / "alerts"
    rules = StateRules.of(AlertsConfig(minimum_m2=0), GRID)
    update_alerts(folder, GRID, rules, [one], fold_here, threshold=0.8)
    store, frame = StateStore(folder / NAME, GRID), GRID.tile_frame
    hits, seen = store.read_array("hits", frame), store.read_array("seen", frame)
    assert np.array_equal(hits == 1, (percent >= 80) & (found != 255))
    assert np.array_equal(seen > 0, found != 255)
    assert np.array_equal(store.read_array("p_max", frame)[hits == 1], percent[hits == 1])
