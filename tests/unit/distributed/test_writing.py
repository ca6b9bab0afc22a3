"""Tiles written to object storage: few requests, patient ones, and nothing lost."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from obstore.store import from_url

from noise2map_core.distributed.prediction import MadeTile, TileWriter, to_be_written
from noise2map_core.geo.grid import Tile
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.runtime.storage import location
from tests.mosaic_factories import GRID, TILE, abandoned, mosaic_of, tile_of
from tests.small_s3 import SmallS3, small_s3

FIRST = Tile(0, 0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    with small_s3(monkeypatch) as server:
        yield server


@pytest.fixture
def output(server: SmallS3) -> Path:
    return location(f"s3://tests/{uuid4().hex}")


def writer(output: Path) -> TileWriter:
    """Of a run that holds the lease, and has written one tile."""
    fence = abandoned(output)
    mosaic_of(fence, output)
    found = TileWriter(output, GRID, fence)
    assert write(found, FIRST, 0)["unwritten"] == [False]
    return found


def write(writer: TileWriter, tile: Tile, value: int) -> dict[str, list[object]]:
    record = TileRecord(tile.row, tile.col, f"key {value}", "done")
    rows = to_be_written([MadeTile(record, tile_of(value))])
    return writer({name: np.asarray(values) for name, values in rows.items()})


def test_a_tile_takes_an_object_an_array_a_record_and_two_looks_at_the_lease(
    server: SmallS3, output: Path
) -> None:
    """Documents are read once by a process; what was written is neither read nor listed."""
    made = writer(output)
    server.asked.clear()
    write(made, TILE, 1)
    assert server.counted() == {"GET": 2, "PUT": 5}
    record = Ledger(output).newest()[TILE]
    mosaic = Mosaic(output / "mosaic.zarr", GRID)
    assert record.digest == mosaic.digest(TILE)
    assert record.objects == mosaic.shards.stated(TILE)
    assert (mosaic.read("class", GRID.window(TILE)) == tile_of(1).classes).all()


def test_a_tile_that_is_there_is_vouched_for_by_no_record_while_it_is_replaced(
    server: SmallS3, output: Path
) -> None:
    """Two of its four arrays have other pixels then."""
    writer(output)
    server.asked.clear()
    write(TileWriter(output, GRID, abandoned(output)), FIRST, 1)
    puts = [key for method, key in server.asked if method == "PUT" and "lease" not in key]
    kinds = "".join("r" if "/ledger/records/" in key else "p" for key in puts if "clock" not in key)
    assert kinds == "pppp" + "r" + "pp" + "r"
    mosaic = Mosaic(output / "mosaic.zarr", GRID)
    assert Ledger(output).newest()[FIRST].digest == mosaic.digest(FIRST)
    assert (mosaic.read("class", GRID.window(FIRST)) == tile_of(1).classes).all()


def test_storage_that_is_too_busy_is_asked_again(server: SmallS3, output: Path) -> None:
    made = writer(output)
    server.busy = 6
    assert write(made, TILE, 1)["unwritten"] == [False]
    assert server.busy == 0
    assert Ledger(output).newest()[TILE].digest == Mosaic(output / "mosaic.zarr", GRID).digest(TILE)


def test_storage_that_stays_too_busy_is_named_in_one_line_and_nothing_is_lost(
    server: SmallS3, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = writer(output)
    impatient = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}
    once = partial(_store, retry_config=impatient)
    for place in ("mapping.tile_store", "runtime.lease", "runtime.storage"):
        monkeypatch.setattr(f"noise2map_core.{place}.object_store", once)
    server.busy = 10**6
    told = write(made, TILE, 1)
    server.busy = 0
    assert told["unwritten"] == [True]
    (reason,) = told["reason"]
    assert "SlowDown" in str(reason) and "run the same command again" in str(reason)
    assert "\n" not in str(reason)
    assert list(Ledger(output).newest()) == [FIRST]
    assert write(made, TILE, 1)["unwritten"] == [False]


def _store(path: Path, give_up_s: float | None = None, **more: object) -> object:
    return from_url(str(path), **more)  # type: ignore[arg-type]
