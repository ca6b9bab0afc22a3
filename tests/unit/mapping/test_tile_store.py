"""Tiles on a disk: written by whoever holds the lease, and there before a record says so."""

import os
from pathlib import Path

import numpy as np
import pytest
import shapely

from noise2map_core.errors import LeaseLostError
from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.mapping.lease import hold_lease
from noise2map_core.mapping.mosaic import Mosaic, TileMap

GRID = RegionGrid(
    "EPSG:32633", 10.0, 0.0, 0.0, 64, Window(0, 0, 128, 64), shapely.box(-1e9, -1e9, 1e9, 1e9)
)
CLASSES = [{"value": 0, "name": "same"}, {"value": 1, "name": "changed"}]
TILE = Tile(1, 0)


def tile_of(value: int) -> TileMap:
    rng = np.random.default_rng(value)
    return TileMap(
        rng.integers(0, 2, (64, 64)).astype(np.uint8),
        rng.integers(0, 10_000, (64, 64)).astype(np.uint16),
        np.ones((64, 64), np.bool_), np.zeros((64, 64), np.uint8),
    )  # fmt: skip


def mosaic_of(fence: int, output: Path) -> Mosaic:
    return Mosaic.create(output / "mosaic.zarr", GRID, CLASSES, (), fence)


def abandoned(output: Path) -> int:
    """The number of a run that took the lease and is no more at work."""
    with hold_lease(output) as fence:
        return fence


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
