"""The ledger: a tile is done if its newest record says so under the wanted key."""

from pathlib import Path

from noise2map_core.geo.grid import Tile
from noise2map_core.mapping.ledger import Ledger, TileRecord


def test_an_empty_ledger_knows_no_tile(tmp_path: Path) -> None:
    assert Ledger(tmp_path).done_keys() == {}


def test_a_later_run_wins(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append([TileRecord(0, 0, "new", "done")], fence=12)
    ledger.append([TileRecord(0, 0, "old", "done"), TileRecord(0, 1, "old", "done")], fence=2)
    assert ledger.done_keys() == {Tile(0, 0): "new", Tile(0, 1): "old"}


def test_a_failure_undoes_a_tile_until_it_is_made_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append([TileRecord(0, 0, "a", "done")], fence=1)
    ledger.append([TileRecord(0, 0, "b", "failed", reason="no file")], fence=2)
    assert ledger.done_keys() == {}
    assert ledger.newest()[Tile(0, 0)].reason == "no file"
    ledger.append([TileRecord(0, 0, "b", "done")], fence=2)
    assert ledger.done_keys() == {Tile(0, 0): "b"}


def test_repeating_a_record_changes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for _ in range(2):
        ledger.append([TileRecord(5, -3, "k", "done", chips=4)], fence=1)
    assert len(list((tmp_path / "ledger" / "records").iterdir())) == 1
