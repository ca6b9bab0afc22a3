"""Nights: only what is new is predicted, and many nights come to what one that catches up does."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import pystac
import pytest
import rasterio
import yaml

from noise2map_core.nightly.objects import EVENTS
from noise2map_core.testing.nights import Night, publish, write_nights
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.run_nightly import NightlyConfig
from pipelines import run_nightly
from tests.nightly_factories import (
    Here,
    nightly_settings,
    random_checkpoint,
    results,
    touched_tiles,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class World:
    embedded: EmbeddedCatalog
    nights: list[Night]
    root: Path
    checkpoint: Path

    def run(self, known: list[Night], output: str, here: Here, **more: Any) -> Any:
        table = self.root / f"{output}.parquet"
        publish(self.embedded, known, table)
        return run_nightly.run(NightlyConfig.model_validate(
            nightly_settings(self.embedded, table, self.checkpoint, self.root / output, **more)
        ), here)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog) -> World:
    root = tmp_path_factory.mktemp("nights")
    checkpoint = random_checkpoint(root / "checkpoint", tuple(embedded.bands))
    return World(embedded, write_nights(embedded, root / "files", 3), root, checkpoint)


def test_three_nights_predict_what_new_items_touch_and_equal_one_that_catches_up(
    world: World,
) -> None:
    by_night, at_once = Here(), Here()
    for number in range(1, 4):
        night = world.run(world.nights[:number], "by-night", by_night)
        assert [one.day for one in night.areas[0].slices] == [world.nights[number - 1].day]
    again = world.run(world.nights, "by-night", by_night)
    assert again.areas[0].status == "current" and len(by_night.predicted) == 3
    world.run(world.nights, "at-once", at_once)
    assert at_once.predicted == by_night.predicted
    area = world.root / "by-night" / "farm"
    with rasterio.open(area / "slices" / str(world.nights[0].day) / "change.tif") as file:
        expected = [touched_tiles(night, *_frame(file), 32, 16) for night in world.nights]
    assert by_night.predicted == expected and expected[1] < expected[0]
    assert results(area) == results(world.root / "at-once" / "farm")
    collection = pystac.Collection.from_file(str(area / "collection.json"))
    assert len(list(collection.get_items())) == 3 and len(collection.assets) == 9
    _check_objects(area, world.nights)


PROGRESS = r"[0-9TZ:-]+ [a-z -]+: \d+ s"


def test_a_slice_by_processes_and_ray_is_the_same(world: World) -> None:
    """The way that a scheduler goes: a command, which starts infer-region."""
    here = Here()
    world.run(world.nights[:1], "here", here)
    table = world.root / "here.parquet"
    settings = nightly_settings(world.embedded, table, world.checkpoint, world.root / "command")
    (world.root / "areas.yaml").write_text(yaml.safe_dump(settings))
    done = subprocess.run(
        [Path(sys.executable).parent / "noise2map", "run-nightly", world.root / "areas.yaml"],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0
    assert all(re.fullmatch(PROGRESS, line) for line in done.stderr.splitlines()), done.stderr
    assert f"{here.predicted[0]} tiles predicted, 0 kept" in done.stdout
    assert results(world.root / "command" / "farm") == results(world.root / "here" / "farm")


def _frame(file: Any) -> tuple[Any, tuple[int, int]]:
    """The tile frame: the map, grown to whole tiles of the anchored grid."""
    size = 64
    left, top = round(file.transform.c / 10), round(-file.transform.f / 10)
    col, row = left // size * size, top // size * size
    shape = (-(-(top + file.height - row) // size) * size,
             -(-(left + file.width - col) // size) * size)  # fmt: skip
    return rasterio.Affine(10, 0, col * 10, 0, -10, -row * 10), shape


def _check_objects(area: Path, nights: list[Night]) -> None:
    earlier: set[str] = set()
    for night in nights:
        objects = gpd.read_parquet(area / "objects" / f"{night.day}.parquet")
        changes = gpd.read_parquet(area / "changes" / f"{night.day}.parquet")
        polygons = gpd.read_parquet(area / "slices" / str(night.day) / "polygons.parquet")
        assert objects["object_id"].is_unique and set(changes["event"]) <= set(EVENTS)
        assert len(changes) > 0
        assert list(objects["polygon_id"]) == list(polygons["polygon_id"])
        now = set(objects["object_id"])
        assert set(changes.loc[changes["event"] == "new", "object_id"]) <= now - earlier
        assert set(changes.loc[changes["event"] == "gone", "object_id"]) <= earlier - now
        earlier = now
