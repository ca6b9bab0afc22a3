"""Outputs as objects: the same bytes as on a disk, one run at a time, nothing done twice."""

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
import yaml

from noise2map_core import open_mosaic
from noise2map_core.chips.ingest import IngestRegionResult
from noise2map_core.chips.store import open_chips, open_store
from noise2map_core.cli.commands import store
from noise2map_core.geo.grid import Tile
from noise2map_core.inference.region_result import InferRegionResult
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import SPEC_NAME
from noise2map_core.products.stac.collection import add_to_collection
from noise2map_core.products.verification import verify_output
from noise2map_core.runtime.errors import OutputError, OutputHeldError, OutputMismatchError
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.runtime.storage import files_in, location, publish, remove
from noise2map_core.runtime.store_lease import hold_store
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from pipelines import ingest_region
from pipelines.infer_region import run
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec

pytestmark = pytest.mark.services
RACERS, RACES = 4, 25
Settings = dict[str, Any]
HOLDER = """
import sys, time
from noise2map_core.runtime import lease
from noise2map_core.runtime.storage import location
lease.EXPIRE_S, lease.RENEW_S = 4.0, 0.5
with lease.hold_lease(location(sys.argv[1])) as fence:
    print(fence, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(s3: str) -> Path:
    return location(f"{s3}/{uuid4().hex}")


def test_of_many_who_want_the_lease_at_once_one_gets_it(place: Path) -> None:
    start = Barrier(RACERS)

    def race(_: int) -> int | None:
        start.wait(timeout=30)
        try:
            with hold_lease(place) as fence:
                done.wait(timeout=30)
                return fence
        except OutputHeldError:
            done.wait(timeout=30)
            return None

    with ThreadPoolExecutor(RACERS) as pool:
        for number in range(RACES):
            done = Barrier(RACERS)
            fences = [fence for fence in pool.map(race, range(RACERS)) if fence is not None]
            assert fences == [number + 1]


def test_a_lease_is_kept_alive_and_taken_over_from_the_dead(place: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(place)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline().strip() == "1"
        time.sleep(5)  # longer than it lasts without being renewed
        with pytest.raises(OutputHeldError, match="another run") as caught, hold_lease(place):
            pass
        assert caught.value.exit_code == 4
    finally:
        holder.kill()
        holder.wait(timeout=30)
        holder.stdout.close()
    time.sleep(4.5)
    with hold_lease(place) as fence:
        assert fence == 2


def test_a_ledger_of_objects_folds_as_files_do(place: Path) -> None:
    ledger = Ledger(place)
    with patch("noise2map_core.mapping.ledger.MIN_FOLDED", 3):
        for number in range(4):
            ledger.append([TileRecord(number, 0, f"k{number}", "done")], fence=1)
        ledger.fold()
    ledger.append([TileRecord(0, 0, "new", "done")], fence=2)
    assert ledger.view().done_keys() == {(0, 0): "new", **{(n, 0): f"k{n}" for n in (1, 2, 3)}}
    assert ledger.view().done_keys(range(1, 2)) == {(1, 0): "k1"}
    assert ledger.newest()[Tile(3, 0)].key == "k3"
    assert len(list((place / "ledger" / "records").glob("*.json"))) == 1


def settings_of(embedded: EmbeddedCatalog, checkpoint: Path, output: Path | str) -> Settings:
    return {
        "aoi": str(embedded.map_aoi),
        "search": {"catalog": embedded.catalog, "collection": embedded.collection},
        "before": embedded.before, "after": embedded.after, "checkpoint": str(checkpoint),
        "output": str(output), "grid": {"tile_px": 64}, "resources": {"num_cpus": 2},
    }  # fmt: skip


def infer(settings: Settings) -> InferRegionResult:
    return run(InferRegionConfig.model_validate(settings))


def apart(checkout: Path, name: str, settings: Settings, folder: Path) -> str:
    """What an application says that runs in a process and on a cluster of its own: the tests'
    cluster may have started before there was a server, and does not know of it."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, str(checkout / "pipelines" / f"{name}.py"), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_a_map_of_objects_is_that_of_files_to_the_byte(
    s3: str, ray_cluster: None, embedded: EmbeddedCatalog, checkout: Path, tmp_path: Path
) -> None:
    spec, checkpoint = checkpoint_spec(bands=tuple(embedded.bands)), tmp_path / "checkpoint"
    save_checkpoint(Noise2Map(spec), spec, checkpoint, "# untrained\n")
    url, uploaded = f"{s3}/map", location(f"{s3}/checkpoint")
    shutil.copytree(checkpoint, tmp_path / "copy")
    publish(tmp_path / "copy", uploaded, SPEC_NAME)
    listing = location(f"{s3}/maps/collection.json")
    settings = settings_of(embedded, uploaded, url) | {"products": {"collection": str(listing)}}
    assert "0 kept from earlier runs" in apart(checkout, "infer_region", settings, tmp_path)
    infer(settings_of(embedded, checkpoint, tmp_path / "map"))
    here, there = contents(tmp_path / "map"), contents(location(url))
    assert here.keys() == there.keys() >= {"change.tif", "polygons.gpkg", "mosaic.zarr/zarr.json"}
    assert here == there
    assert links(listing) == ["../map/item.json"]
    assert "complete" in verify_output(location(url))[0]
    assert bool((open_mosaic(f"{url}/mosaic.zarr")["class"] != 255).any())
    again = infer(settings)
    assert (again.predicted, again.figures) == (0, None)
    with pytest.raises(OutputMismatchError, match="--overwrite"):
        infer(settings | {"grid": {"tile_px": 64, "resolution": 20.0}})
    remove(location(f"{url}/mosaic.zarr/class"))
    with pytest.raises(OutputError, match=r"pixels in mosaic.zarr are not those that were written"):
        verify_output(location(url))


def links(collection: Path) -> list[str]:
    """The items that it lists."""
    found = json.loads(collection.read_text())["links"]
    return [link["href"] for link in found if link["rel"] == "item"]


def _list_copies(collection: Path, item: Path, count: int) -> None:
    """Copies of a map's item, all listed at once: none is lost."""
    items = [collection.parent / f"copy{number}.json" for number in range(count)]
    for copy in items:
        copy.write_bytes(item.read_bytes())
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda copy: add_to_collection(collection, copy), items))
    assert links(collection) == ["../map/item.json", *(copy.name for copy in items)]


def contents(output: Path) -> dict[str, bytes]:
    """What does not speak of the run itself: pixels, rasters, polygons, picture."""
    told = ("ledger/", "report.html", "manifest.json", "item.json")
    return {
        key: path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and not (key := path.relative_to(output).as_posix()).startswith(told)
    }


@pytest.mark.timeout(600)
def test_a_chip_store_of_objects_is_that_of_files_to_the_byte(
    s3: str, ray_cluster: None, embedded: EmbeddedCatalog, checkout: Path, tmp_path: Path
) -> None:
    """Several tasks write at once; then another area is appended, an object lost, and mended."""
    url = f"{s3}/{uuid4().hex}/chips.zarr"
    remote = {
        "aoi": str(embedded.map_aoi),
        "search": {
            "catalog": embedded.catalog, "collection": embedded.collection,
            "bands": list(embedded.bands),
        },
        "before": embedded.before, "after": embedded.after, "output": url,
        "chips": {"chip_px": 32, "stride_px": 16},
        "resources": {"num_cpus": 2, "reader_cpus": 0.5},
    }  # fmt: skip
    local = remote | {"output": str(tmp_path / "chips.zarr")}
    for area in (embedded.map_aoi, embedded.train_aoi):
        apart(checkout, "ingest_region", remote | {"aoi": str(area)}, tmp_path)
        made = ingest(local | {"aoi": str(area)})
        assert made.shards > 1 and made.written > 0
        assert ingest(remote | {"aoi": str(area)}).written == 0
    here, there = objects(tmp_path / "chips.zarr"), objects(location(url))
    assert here.keys() == there.keys()
    assert here == there
    assert open_chips(url).sizes["chip"] == open_store(url).num_chips
    lost = next(key for key in there if key.startswith("image/c/"))
    (location(url) / lost).unlink()
    assert store.verify(location(url))[1] == 1
    assert store.repair(location(url))[1] == 0
    assert objects(location(url)) == here


def test_who_comes_while_a_chip_store_of_objects_is_held_is_refused_and_touches_nothing(
    place: Path, tmp_path: Path
) -> None:
    chips = make_store(plan_store(tmp_path / "sources", place / "chips.zarr"))
    (chips / next(key for key in open_store(chips).objects if key.startswith("image/c/"))).unlink()
    before = objects(chips)
    with hold_store(chips):
        for write in (store.repair, store.verify):
            with pytest.raises(OutputHeldError, match=r"another run is writing chip store s3://"):
                write(chips)
        with pytest.raises(OutputHeldError), hold_store(chips):
            pass
        assert objects(chips) == before
    assert store.verify(chips)[1] == 1
    assert store.repair(chips)[1] == 0 and store.verify(chips)[1] == 0


def ingest(settings: Settings) -> IngestRegionResult:
    return ingest_region.run(IngestRegionConfig.model_validate(settings))


def objects(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files_in(path)}
