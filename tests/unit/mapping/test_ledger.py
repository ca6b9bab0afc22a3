"""The ledger: a tile is done if its newest record says so under the wanted key."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import noise2map_core.mapping.ledger
from noise2map_core.geo.grid import Tile
from noise2map_core.mapping.ledger import Done, Ledger, TileRecord
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import sweep


def test_an_empty_ledger_knows_no_tile(tmp_path: Path) -> None:
    assert Ledger(tmp_path).view().done_keys() == {}


def test_a_later_run_wins(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append([TileRecord(0, 0, "new", "done")], fence=12)
    ledger.append([TileRecord(0, 0, "old", "done"), TileRecord(0, 1, "old", "done")], fence=2)
    assert ledger.view().done_keys() == {(0, 0): "new", (0, 1): "old"}


def test_a_failure_undoes_a_tile_until_it_is_made_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append([TileRecord(0, 0, "a", "done")], fence=1)
    ledger.append([TileRecord(0, 0, "b", "failed", reason="no file")], fence=2)
    assert ledger.view().done_keys() == {}
    assert ledger.newest()[Tile(0, 0)].reason == "no file"
    ledger.append([TileRecord(0, 0, "b", "done")], fence=2)
    assert ledger.view().done_keys() == {(0, 0): "b"}


def test_repeating_a_record_changes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for _ in range(2):
        ledger.append([TileRecord(5, -3, "k", "done", chips=4)], fence=1)
    assert len(list((tmp_path / "ledger" / "records").iterdir())) == 1


runs = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.lists(
            st.tuples(st.integers(-2, 2), st.integers(0, 3), st.sampled_from(["done", "failed"])),
            min_size=1, max_size=6,
        ),
        st.booleans(),
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=60)
@given(runs=runs)
def test_a_folded_ledger_says_what_its_records_said(
    runs: list[tuple[int, list[tuple[int, int, Any]], bool]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever the order of runs, and whenever it is folded; against a plain dictionary."""
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    told: dict[tuple[int, int], tuple[tuple[int, bool], str]] = {}
    with patch("noise2map_core.mapping.ledger.MIN_FOLDED", 1):
        for number, (fence, tiles, fold) in enumerate(runs):
            batch = [
                TileRecord(row, col, f"{number}.{at}", status, chips=number)
                for at, (row, col, status) in enumerate(tiles)
                if (fence, status == "done") != told.get((row, col), ((0, False), ""))[0]
                and (row, col) not in {tile[:2] for tile in tiles[:at]}
            ]
            ledger.append(batch, fence)
            for one in batch:
                rank = (fence, one.status == "done")
                told[one.row, one.col] = max(
                    told.get((one.row, one.col), (rank, one.key)), (rank, one.key),
                    key=lambda entry: entry[0],
                )  # fmt: skip
            if fold:
                ledger.fold()
    wanted = {at: key for at, ((_, done), key) in told.items() if done}
    view = ledger.view()
    assert view.done_keys() == wanted
    by_band = [view.done_keys(range(row, row + 2)) for row in (-2, 0, 2)]
    assert {at: key for band in by_band for at, key in band.items()} == wanted
    assert {(r.row, r.col): r.key for r in view.newest()} == {at: k for at, (_, k) in told.items()}


def test_few_files_are_left_as_they_are_and_full_segments_too(tmp_path: Path) -> None:
    ledger, folder = Ledger(tmp_path), tmp_path / "ledger"
    with (
        patch("noise2map_core.mapping.ledger.MIN_FOLDED", 4),
        patch("noise2map_core.mapping.ledger.SEGMENT_ROWS", 8),
    ):
        for number in range(13):
            ledger.append([TileRecord(number, 0, "k", "done")], fence=1)
            ledger.fold()
    segments = [pq.read_metadata(path).num_rows for path in (folder / "segments").iterdir()]
    assert sorted(segments) == [4, 8] and len(list((folder / "records").iterdir())) == 1
    assert len(ledger.view().done_keys()) == 13


def test_a_fold_that_dies_loses_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    for number in range(5):
        ledger.append([TileRecord(number, 0, "k", "done")], fence=1)
    monkeypatch.setattr("noise2map_core.mapping.ledger.MIN_FOLDED", 1)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError("died")))
    with pytest.raises(OSError, match="died"):
        ledger.fold()
    assert len(ledger.view().done_keys()) == 5


def folded(output: Path, tiles: int = 6) -> Ledger:
    """A ledger with a segment and some loose records."""
    ledger = Ledger(output)
    with patch("noise2map_core.mapping.ledger.MIN_FOLDED", 2):
        for number in range(tiles):
            ledger.append([TileRecord(number, 0, f"k{number}", "done", digest="d")], fence=1)
        ledger.fold()
    ledger.append([TileRecord(tiles, 0, "loose", "done")], fence=2)
    return ledger


def test_what_a_killed_writer_left_is_no_record(tmp_path: Path) -> None:
    """Of this version and of earlier ones; the holder of the lease sweeps it."""
    ledger = folded(tmp_path)
    told, folder = ledger.view().done_keys(), tmp_path / "ledger"
    (folder / "segments" / ".0f.17.partial.parquet").write_bytes(b"PAR1")
    (folder / "records" / ".1-2.17.partial.json").write_text("{")
    unfinished = folder / "segments" / ".0f.parquet.x1.partial"
    unfinished.mkdir()
    (unfinished / "0f.parquet").write_bytes(b"")
    assert ledger.view().done_keys() == told
    with patch("noise2map_core.mapping.ledger.MIN_FOLDED", 1):
        ledger.fold()
    assert ledger.view().done_keys() == told
    sweep(folder)
    assert not [*folder.rglob("*partial*")] and ledger.view().done_keys() == told


KILLER = """
import os, shutil, signal, sys
from pathlib import Path
from noise2map_core.mapping import ledger

root, events, steps = Path(sys.argv[1]), [0], 0
ledger.MIN_FOLDED = 2

def watch(name, args):
    if armed and name in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.listdir"):
        if str(root) in str(args[0]):
            events[0] += 1
            if events[0] == steps:
                os.kill(os.getpid(), signal.SIGKILL)

armed = False
sys.addaudithook(watch)
while True:
    steps += 1
    shutil.copytree(root / "whole", root / f"step{steps}")
    child = os.fork()
    if not child:
        armed = True
        ledger.Ledger(root / f"step{steps}").fold()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_killed_at_any_step_of_a_fold_the_ledger_says_the_same(tmp_path: Path) -> None:
    """A real SIGKILL at every call on the disk; then the same fold again."""
    ledger = folded(tmp_path / "whole")
    ledger.append([TileRecord(0, 1, "more", "done")], fence=2)
    told = ledger.view().done_keys()
    subprocess.run([sys.executable, "-c", KILLER, str(tmp_path)], check=True, timeout=120)
    steps = sorted(tmp_path.glob("step*"))
    assert len(steps) > 10
    states = set()
    for step in steps:
        left = Ledger(step)
        states.add(tuple(sorted(path.suffix for path in (step / "ledger").rglob("*.*"))))
        assert left.view().done_keys() == told
        with patch("noise2map_core.mapping.ledger.MIN_FOLDED", 1):
            left.fold()
        assert left.view().done_keys() == told
    assert len(states) > 3


@pytest.mark.parametrize("moment", ["a record", "a segment"])
def test_a_reader_is_not_disturbed_by_a_fold(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is folded between a reader's listing and his reading, again and again."""
    ledger, number = folded(tmp_path), 100
    told = ledger.view().done_keys()
    name = "_read_records" if moment == "a record" else "_read_segment"
    read = getattr(noise2map_core.mapping.ledger, name)

    def folded_first(path: Path, *args: Any) -> Any:
        nonlocal number
        if number < 105:
            number += 1
            with (
                monkeypatch.context() as plain,
                patch("noise2map_core.mapping.ledger.MIN_FOLDED", 1),
            ):
                plain.setattr(f"noise2map_core.mapping.ledger.{name}", read)
                ledger.append([TileRecord(number, 0, "new", "done")], fence=3)
                ledger.fold()
        return read(path, *args)

    monkeypatch.setattr(f"noise2map_core.mapping.ledger.{name}", folded_first)
    found = ledger.view().done_keys()
    assert {at: key for at, key in found.items() if at[0] <= 100} == told


def test_two_folds_at_once_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = folded(tmp_path)
    told = ledger.view().done_keys()
    monkeypatch.setattr("noise2map_core.mapping.ledger.MIN_FOLDED", 1)
    read = noise2map_core.mapping.ledger._read_segment
    with monkeypatch.context() as first:

        def other_first(path: Path, *args: Any) -> Any:
            first.setattr("noise2map_core.mapping.ledger._read_segment", read)
            Ledger(tmp_path).fold()
            return read(path, *args)

        first.setattr("noise2map_core.mapping.ledger._read_segment", other_first)
        ledger.fold()
    assert ledger.view().done_keys() == told


def test_a_damaged_segment_names_itself_and_the_way_out(tmp_path: Path) -> None:
    """Whichever byte is another: it is found, or it does not matter."""
    ledger = folded(tmp_path)
    told = ledger.view().done_keys()
    (segment,) = (tmp_path / "ledger" / "segments").iterdir()
    body, refused = segment.read_bytes(), 0
    for at in range(0, len(body), 7):
        segment.write_bytes(body[:at] + bytes([body[at] ^ 0x55]) + body[at + 1 :])
        try:
            assert ledger.view().done_keys() == told
        except OutputError as error:
            assert f"{segment.name} is damaged" in str(error) and "Delete it" in str(error)
            refused += 1
    assert refused > 50
    segment.unlink()
    assert ledger.view().done_keys() == {(6, 0): "loose"}


def test_segments_of_earlier_versions_are_read(tmp_path: Path) -> None:
    ledger = folded(tmp_path)
    (segment,) = (tmp_path / "ledger" / "segments").iterdir()
    pq.write_table(pq.read_table(segment).drop_columns(["objects", "digest"]), segment)
    assert ledger.view().done(range(1, 2)) == {(1, 0): Done("k1", "", "")}
    assert [one.objects for one in ledger.view().newest()] == [""] * 7


def test_a_fold_reads_no_record_that_its_run_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of one record and of several, and one of somebody else, which has to be read."""
    monkeypatch.setattr(noise2map_core.mapping.ledger, "MIN_FOLDED", 4)
    ledger, held = (
        Ledger(tmp_path),
        [TileRecord(0, col, "k", "done", read_s=0.1 * col) for col in range(9)],
    )
    for start, end in ((0, 1), (1, 2), (2, 5), (5, 8)):
        ledger.append(held[start:end], 7)
    ledger.append([TileRecord(1, 0, "other", "done")], 7)
    read: list[Path] = []

    def reading(path: Path) -> bytes:
        read.append(path)
        return path.read_bytes()

    monkeypatch.setattr(noise2map_core.mapping.ledger, "read_bytes", reading)
    assert ledger.fold(held, 7)
    assert len(read) == 1 and not ledger._files()
    assert sorted(ledger.newest()) == [Tile(0, col) for col in range(8)] + [Tile(1, 0)]
