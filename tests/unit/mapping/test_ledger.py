"""The ledger: a tile is done if its newest record says so under the wanted key."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise2map_core.geo.grid import Tile
from noise2map_core.mapping.ledger import Ledger, TileRecord


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
