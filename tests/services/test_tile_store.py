"""Tiles on object storage: written by whoever holds the lease, over what he saw alone."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import obstore
import pytest
from obstore.exceptions import GenericError

from noise2map_core.geo.grid import Tile
from noise2map_core.runtime.errors import LeaseLostError, OutputError
from noise2map_core.runtime.storage import location
from tests.mosaic_factories import GRID, TILE, abandoned, mosaic_of, tile_of

pytestmark = pytest.mark.services


@pytest.fixture
def output(s3: str) -> Path:
    return location(f"{s3}/{uuid4().hex}")


def test_a_run_that_was_taken_over_writes_no_tile(output: Path) -> None:
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


@pytest.mark.parametrize("earlier", [None, 0], ids=["nothing there", "an earlier run's tile there"])
def test_a_run_that_sleeps_between_its_look_and_its_writing_destroys_nothing(
    earlier: int | None, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = abandoned(output)
    stale = mosaic_of(first, output)
    if earlier is not None:
        stale.write(TILE, tile_of(earlier))
    put, woken = obstore.put, []

    def take_over() -> None:
        mosaic_of(abandoned(output), output).write(TILE, tile_of(2))

    def sleep_first(store: Any, key: str, *args: Any, **options: Any) -> object:
        replaces = earlier is None or options["mode"] != "create"
        if "/c/" in key and replaces and not woken:
            woken.append(key)
            monkeypatch.setattr(obstore, "put", put)
            take_over()
        return put(store, key, *args, **options)

    monkeypatch.setattr(obstore, "put", sleep_first)
    lost = "was written by another run meanwhile|has taken it over"
    with pytest.raises(LeaseLostError, match=lost):
        stale.write(TILE, tile_of(1))
    alone = mosaic_of(0, output / "alone")
    alone.write(TILE, tile_of(2))
    assert woken and stale.digest(TILE) == alone.digest(TILE)


def test_an_answer_that_is_lost_is_no_other_run(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sends a tile anew, and storage says that it is there already."""
    put = obstore.put

    def twice(*args: Any, **options: Any) -> object:
        put(*args, **options)
        return put(*args, **options)

    mosaic = mosaic_of(abandoned(output), output)
    monkeypatch.setattr(obstore, "put", twice)
    for value in (1, 2):
        mosaic.write(TILE, tile_of(value))
    assert (mosaic.read("class", GRID.window(TILE)) == tile_of(2).classes).all()


def test_storage_that_refuses_is_named_in_one_line(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def refuse(*_: object, **__: object) -> object:
        raise GenericError("503 Slow Down\n\nDebug source: lots")

    mosaic = mosaic_of(abandoned(output), output)
    monkeypatch.setattr(obstore, "put", refuse)
    with pytest.raises(OutputError, match=r"cannot write s3://.*/class/c/1/0: 503 Slow Down\. See"):
        mosaic.write(TILE, tile_of(1))


def test_copies_of_a_bucket_are_read_before_they_are_doubted(output: Path) -> None:
    mosaic = mosaic_of(abandoned(output), output)
    mosaic.write(TILE, tile_of(1))
    said = mosaic.shards.stated(TILE)
    look = mosaic.shards.look(range(2))[1, 0]
    assert mosaic.shards.tell(said, look) is True
    copied = {name: at._replace(tag="other") for name, at in look.items()}
    assert mosaic.shards.tell(said, copied) is None
    on_disk = {name: at._replace(tag="") for name, at in look.items()}
    assert mosaic.shards.tell(said, on_disk) is True
    shorter = {name: at._replace(size=at.size - 1) for name, at in look.items()}
    assert mosaic.shards.tell(said, shorter) is False
    assert mosaic.shards.tell(said, {}) is False and mosaic.shards.tell("none", {}) is True
