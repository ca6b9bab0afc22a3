"""Making a chip store: it holds the scenes' pixels, and no accident changes a byte of it."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import rasterio
import ray
import yaml

from noise2map_core.chips.repair import iter_checks
from noise2map_core.chips.store import iter_shards, open_chips
from noise2map_core.chips.writer import progress_folder
from noise2map_core.distributed import shards as shards_module
from noise2map_core.distributed.chips import read_chips
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import (
    AssetReadError,
    ChipStoreError,
    ConfigError,
    IncompleteRegionError,
    OutputMismatchError,
)
from noise2map_core.settings.reading import parse_yaml
from noise2map_core.testing.catalog import Fault, serve_catalog
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from pipelines.ingest_region import run
from tests.raster_factories import state_no_checksums


def settings(embedded: EmbeddedCatalog, output: Path, **more: Any) -> dict[str, Any]:
    """An ingest of the embedded catalogue into many small shards."""
    return {
        "aoi": str(embedded.train_aoi),
        "search": {
            "catalog": str(embedded.catalog),
            "collection": embedded.collection,
            "bands": list(embedded.bands),
        },
        "before": embedded.before,
        "after": embedded.after,
        "output": str(output),
        "chips": {"chip_px": 32, "stride_px": 16},
        "labels": {"kind": "raster", "asset": embedded.label_asset},
        "split": {"boxes": embedded.train_boxes},
        "resources": {"num_cpus": 2},
        **more,
    }


def ingest(embedded: EmbeddedCatalog, output: Path, **more: Any) -> Any:
    return run(IngestRegionConfig.model_validate(settings(embedded, output, **more)))


@pytest.fixture(scope="module")
def undisturbed(
    ray_cluster: None, tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog
) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "chips.zarr"
    result = ingest(embedded, output, resources={"num_cpus": 2, "reader_cpus": 0.5})
    assert result.written == result.shards > 4
    assert set(result.counts) == {"train", "val"}
    return output


def digests(store: Path) -> dict[str, str]:
    files = [path for path in store.rglob("*") if path.is_file()]
    return {str(path.relative_to(store)): file_sha256(path) for path in sorted(files)}


def test_a_store_holds_the_pixels_of_the_scenes(
    undisturbed: Path, embedded: EmbeddedCatalog
) -> None:
    chips = open_chips(undisturbed)
    items = {item["id"]: item["href"] for item in chips.attrs["items"]}
    rng = np.random.default_rng(0)
    for number in rng.choice(chips.sizes["chip"], 20, replace=False):
        chip = chips.isel(chip=number).load()
        for date, item in enumerate(chip["items"].values):
            for band, name in enumerate(embedded.bands):
                path = Path(items[item]).parent / f"{name}.tif"
                assert np.array_equal(chip.image[date, band], _source(path, chip, date))


def _source(path: Path, chip: Any, date: int) -> Any:
    """The window of a file under a chip, zero where the chip is not valid."""
    with rasterio.open(path) as file:
        col, row = ~file.transform @ (float(chip.corner_x), float(chip.corner_y))
        window = rasterio.windows.Window(round(col), round(row), 32, 32)
        pixels = file.read(1, window=window, boundless=True, fill_value=0)
    return np.where(chip.valid[date], pixels, 0)


def test_the_summary_says_what_there_is_and_where(
    undisturbed: Path, embedded: EmbeddedCatalog
) -> None:
    result = ingest(embedded, undisturbed)
    lines = "\n".join(result.summary())
    train = open_chips(undisturbed).attrs["counts"]["train"]
    assert f"{train['chips']:,} chips" in lines and "changed" in train["label_px"]["change"]
    assert f"{train['label_px']['change']['changed']:,} px changed" in lines
    assert "nothing new" in lines and str(undisturbed) in lines


def test_a_finished_store_is_left_alone_and_ray_not_asked(
    undisturbed: Path, embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*")}
    monkeypatch.setattr(shards_module.ray.data, "read_datasource", None)
    assert ingest(embedded, undisturbed).written == 0
    assert {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*")} == before
    assert not progress_folder(undisturbed).exists()


def test_one_task_or_four_write_the_same_bytes(
    undisturbed: Path, embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    alone = tmp_path / "chips.zarr"
    ingest(embedded, alone, resources={"num_cpus": 2, "reader_cpus": 2})
    assert digests(alone) == digests(undisturbed)


def test_other_settings_are_refused_and_nothing_touched(
    undisturbed: Path, embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    before = digests(undisturbed)
    with pytest.raises(OutputMismatchError, match="other scenes or settings"):
        ingest(embedded, undisturbed, labels={"kind": "none"})
    assert digests(undisturbed) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputMismatchError, match="is not a chip store"):
        ingest(embedded, tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "notes.txt"]


def test_ray_data_reads_every_chip_of_a_split_once(undisturbed: Path) -> None:
    rows = sorted(read_chips(undisturbed, "val").take_all(), key=lambda row: row["chip"])
    parts = list(iter_shards(undisturbed, "val"))
    assert [row["chip"] for row in rows] == np.concatenate([p["chip"] for p in parts]).tolist()
    for name in ("image", "valid", "label_change"):
        read = np.stack([row[name] for row in rows])
        assert np.array_equal(read, np.concatenate([part[name] for part in parts]))


def test_a_catalogue_on_the_web_gives_the_same_chips(
    undisturbed: Path, embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    with serve_catalog(embedded.root) as server:
        search = settings(embedded, tmp_path)["search"]
        for name, catalog in (("api", server.url), ("static", server.static)):
            output = tmp_path / f"{name}.zarr"
            ingest(embedded, output, search=search | {"catalog": catalog})
            for array in ("image", "valid", "label_change"):
                for key, digest in digests(undisturbed / array).items():
                    assert file_sha256(output / array / key) == digest
            assert server.url in open_chips(output).attrs["items"][0]["href"]


@pytest.mark.slow
def test_a_server_with_hiccups_gives_the_same_chips_sooner_or_later(
    undisturbed: Path, embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    """One in five range requests fails: what could not be read is named, and read by a rerun."""
    output = tmp_path / "chips.zarr"
    with serve_catalog(embedded.root, faults={".tif": Fault.FLAKY}) as server:
        search = settings(embedded, tmp_path)["search"] | {"catalog": server.static}
        for _ in range(5):
            try:
                ingest(embedded, output, search=search)
                break
            except IncompleteRegionError as error:
                assert re.search(rf"shards of .*{server.url}.*\.tif", str(error))
        ranges = sum("bytes=" in line for line in server.requests)
    assert ranges >= 50
    for array in ("image", "valid", "label_change"):
        for key, digest in digests(undisturbed / array).items():
            assert file_sha256(output / array / key) == digest


def test_an_asset_that_is_missing_leaves_nothing_behind(
    ray_cluster: None, embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    asset = f"after/{embedded.bands[-1]}.tif"
    with serve_catalog(embedded.root, faults={asset: Fault.MISSING}) as server:
        search = settings(embedded, tmp_path)["search"] | {"catalog": server.static}
        with pytest.raises(AssetReadError, match=asset):
            ingest(embedded, tmp_path / "chips.zarr", search=search)
    assert not list(tmp_path.iterdir())


def test_an_asset_cut_short_makes_no_store_and_is_named(
    ray_cluster: None, embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    asset, output = f"after/{embedded.bands[-1]}.tif", tmp_path / "chips.zarr"
    root = tmp_path / "catalog"
    shutil.copytree(embedded.root, root)
    state_no_checksums(root)  # else it is known to be cut before anything is read
    with serve_catalog(root, faults={asset: Fault.TRUNCATED}) as server:
        search = settings(embedded, tmp_path)["search"] | {"catalog": server.static}
        with pytest.raises(IncompleteRegionError, match=rf"shards of .*{asset}.*truncated"):
            ingest(embedded, output, search=search)
    with pytest.raises(ChipStoreError, match="not finished"):
        open_chips(output)


def test_bands_must_be_asked_for(embedded: EmbeddedCatalog, tmp_path: Path) -> None:
    search = settings(embedded, tmp_path)["search"] | {"bands": []}
    with pytest.raises(ConfigError, match="no bands were asked for"):
        ingest(embedded, tmp_path / "chips.zarr", search=search)


def test_taizhou_is_stored_whole_on_its_own_pixels(
    ray_cluster: None, real_data: Path, checkout: Path, tmp_path: Path
) -> None:
    config = parse_yaml((checkout / "pipelines/configs/taizhou-ingest.yaml").read_text())
    config["aoi"] = str(checkout / config["aoi"])
    config["search"]["catalog"] = str(real_data / "stac" / "catalog.json")
    config["output"] = str(tmp_path / "chips.zarr")
    result = run(IngestRegionConfig.model_validate(config))
    label = "landsat-taizhou-change-20000317-20030206"
    with rasterio.open(real_data / "stac" / "landsat-taizhou" / label / "change.tif") as file:
        labels = file.read(1)
    places = {"train": np.s_[:288, :200], "val": np.s_[304:, :200], "test": np.s_[:, 216:]}
    for split, place in places.items():
        unchanged, changed = (int((labels[place] == value).sum()) for value in (0, 1))
        expected = {"change": {"unchanged": unchanged, "changed": changed}}
        assert result.counts[split]["label_px"] == expected
    chips = open_chips(tmp_path / "chips.zarr").load()
    for number in range(0, chips.sizes["chip"], 11):
        chip = chips.isel(chip=number)
        for date, item in enumerate(chip["items"].values):
            path = real_data / "stac" / "landsat-taizhou" / str(item) / "swir16.tif"
            with rasterio.open(path) as file:
                col, row = ~file.transform @ (float(chip.corner_x), float(chip.corner_y))
                window = rasterio.windows.Window(round(col), round(row), 64, 64)
                source = file.read(1, window=window, boundless=True, fill_value=0)
            valid = chip.valid[date].values
            assert valid.any() and np.array_equal(chip.image[date, 4].values[valid], source[valid])


@pytest.mark.slow
@pytest.mark.parametrize("records", [1, 3])
def test_killed_and_started_again_a_store_is_the_same_to_the_byte(
    undisturbed: Path, embedded: EmbeddedCatalog, tmp_path: Path, checkout: Path, records: int
) -> None:
    output, config = tmp_path / "chips.zarr", tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings(embedded, output) | {"resources": {"num_cpus": 1}}))
    command = [sys.executable, str(checkout / "pipelines/ingest_region.py"), str(config)]
    assert _kill_at_records(command, progress_folder(output), records)
    with pytest.raises(ChipStoreError, match="not finished"):
        open_chips(output)
    assert ingest(embedded, output).written > 0
    assert digests(output) == digests(undisturbed)
    assert not any(iter_checks(output))
    assert not progress_folder(output).exists()
    assert ray.is_initialized()


def _kill_at_records(command: list[str], folder: Path, count: int) -> bool:
    """Start `command`; SIGKILL it and all its children as soon as `count` shards are recorded."""
    driver = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while driver.poll() is None and time.monotonic() < deadline:
        if len(list(folder.glob("shard-*.json"))) >= count:
            family = [driver, *driver.children(recursive=True)]
            for process in family:
                if process.is_running():
                    process.kill()
            psutil.wait_procs(family, timeout=30)
            return True
        time.sleep(0.005)
    return False
