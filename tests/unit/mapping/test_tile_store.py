"""Tiles on a disk: written by whoever holds the lease, and there before a record says so."""

import os
from pathlib import Path

import pytest

from noise2map_core.geo.grid import Tile
from noise2map_core.runtime.errors import LeaseLostError
from tests.mosaic_factories import TILE, abandoned, mosaic_of, tile_of


def test_a_run_that_was_taken_over_writes_no_tile(tmp_path: Path) -> None:
    output = tmp_path / "map"
    first, second = abandoned(output), abandoned(output)
    stale, mosaic = mosaic_of(first, output), mosaic_of(second, output)
    mosaic.write(TILE, tile_of(2))
    before = mosaic.digest(TILE)
    with pytest.raises(LeaseLostError, match=f"run {second} has taken it over from run {first}"):
        stale.write(TILE, tile_of(1))
    with pytest.raises(LeaseLostError):
        stale.write(Tile(0, 0), tile_of(1))
    assert mosaic.digest(TILE) == before
    assert mosaic.shards.stated(Tile(0, 0)) == "none"


def test_a_tile_is_on_the_disk_before_its_writing_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and every folder that leads to them, new ones too."""
    mosaic, synced = mosaic_of(0, tmp_path), set()
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    mosaic.write(TILE, tile_of(1))
    for name in ("class", "probability", "valid"):
        folder = mosaic.path / name
        assert {str(folder), str(folder / "c"), str(folder / "c" / "1")} <= synced
        assert any(f"/{name}/c/1/.0." in one and one.endswith("/0") for one in synced)


def test_a_damaged_tile_can_be_written_anew(tmp_path: Path) -> None:
    mosaic = mosaic_of(0, tmp_path)
    mosaic.write(TILE, tile_of(1))
    whole = mosaic.digest(TILE)
    for file in mosaic.path.glob("*/c/1/0"):
        file.write_bytes(b"nonsense")
    mosaic.write(TILE, tile_of(1))
    assert mosaic.digest(TILE) == whole
