"""Mapping a region: the bundle is true, a rerun does nothing, and no accident changes a byte."""

import base64
import json
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import psutil
import pystac
import pytest
import rasterio
import rioxarray
import torch
import yaml
from dask.base import is_dask_collection
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from PIL import Image
from pystac.errors import STACValidationError
from pystac.validation import validate_dict
from rio_cogeo.cogeo import cog_validate
from scipy import ndimage

from noise2map_core import open_mosaic, predict_pair
from noise2map_core.catalog.pairing import search_pair
from noise2map_core.catalog.scene import Scene
from noise2map_core.cli.commands import plan, verify
from noise2map_core.detectors.spec import KINDS, is_detector
from noise2map_core.distributed import region
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.imagery.composite import read_date
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.imagery.recipe import plan_recipe
from noise2map_core.mapping.mosaic import Reason
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec, Normalisation
from noise2map_core.products.verification import verify_output
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import OutputError, OutputHeldError
from noise2map_core.runtime.storage import location
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.imagery import CompositeConfig, MaskConfig
from noise2map_core.testing.item_table import write_item_table
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.tools.plan import PlanConfig
from pipelines.infer_region import run
from tests.factories import checkpoint_spec
from tests.plain_web import served
from tests.raster_factories import state_no_checksums
from tests.stac import dead_hrefs, offline_validator, require_valid

TILE_PX = 64


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog) -> Path:
    """An untrained network: what it says is noise, but the same noise every time."""
    return save_random(tmp_path_factory.mktemp("checkpoint") / "random", tuple(embedded.bands))


@pytest.fixture(scope="session")
def checkpoint_by_scene(
    tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog
) -> Path:
    """The same network, told how bright each date is."""
    path = tmp_path_factory.mktemp("checkpoint") / "by-scene"
    return save_random(path, tuple(embedded.bands), of="scene")


@pytest.fixture(params=["early", "ranks"])
def checkpoint_of_scenes(
    request: pytest.FixtureRequest, tmp_path: Path, embedded: EmbeddedCatalog
) -> Path:
    """Networks that are told of each date, and of the pair."""
    bands = tuple(embedded.bands)
    return save_random(tmp_path / request.param, bands, of="scene", fusion=request.param)


def save_random(
    path: Path, bands: tuple[str, ...], of: str = "training", fusion: str = "early"
) -> Path:
    """Its threshold parts its map into halves."""
    numbers = {"mean": ((1000.0,) * len(bands),) * 2, "std": ((500.0,) * len(bands),) * 2}
    normalisation = Normalisation.model_validate({"of": of, **numbers})
    network = checkpoint_spec().network.model_copy(update={"fusion": fusion})
    made = partial(checkpoint_spec, bands=bands, normalisation=normalisation, network=network)
    model = random_model(made())
    with torch.inference_mode():
        logits = model.logits(torch.randint(0, 3000, (4, 2 * len(bands), 32, 32)), 999)
    median = float(logits.softmax(dim=1)[:, 1].median())
    spec = made(threshold={"changed": median})
    save_checkpoint(random_model(spec), spec, path, "# x\n")
    return path


def random_model(spec: CheckpointSpec) -> Noise2Map:
    torch.manual_seed(0)
    return Noise2Map(spec).eval()


def settings(
    embedded: EmbeddedCatalog, checkpoint: Path, output: Path, **more: Any
) -> dict[str, Any]:
    """Of a map by a checkpoint, or by a detector of that name."""
    bands = {"bands": list(embedded.bands)} if is_detector(checkpoint) else {}
    return {
        "aoi": str(embedded.map_aoi),
        "search": {"catalog": str(embedded.catalog), "collection": embedded.collection, **bands},
        "before": embedded.before,
        "after": embedded.after,
        "checkpoint": str(checkpoint),
        "output": str(output),
        "grid": {"tile_px": TILE_PX},
        "resources": {"num_cpus": 2},
        **more,
    }


def infer(embedded: EmbeddedCatalog, checkpoint: Path, output: Path, **more: Any) -> Any:
    config = InferRegionConfig.model_validate(settings(embedded, checkpoint, output, **more))
    return run(config)


def planned(
    embedded: EmbeddedCatalog, checkpoint: Path, output: Path, **more: Any
) -> plan.RegionPlan:
    made = settings(embedded, checkpoint, output, **more)
    return plan.run(PlanConfig.model_validate(made))


@pytest.fixture(scope="session")
def undisturbed(
    ray_cluster: None,
    tmp_path_factory: pytest.TempPathFactory,
    embedded: EmbeddedCatalog,
    checkpoint: Path,
) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "map"
    result = infer(embedded, checkpoint, output)
    assert result.predicted == result.tiles > 4
    return output


@pytest.fixture(scope="session", params=["network", "network by scene", *KINDS])
def maker(request: pytest.FixtureRequest, checkpoint: Path, checkpoint_by_scene: Path) -> Path:
    """What a map is made by: a network, or one of the detectors."""
    networks = {"network": checkpoint, "network by scene": checkpoint_by_scene}
    return networks.get(request.param) or Path(request.param)


@pytest.fixture(scope="session")
def made_by(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    embedded: EmbeddedCatalog,
    maker: Path,
) -> Path:
    """An undisturbed map by each maker."""
    if maker.name == "random":
        return Path(request.getfixturevalue("undisturbed"))
    request.getfixturevalue("ray_cluster")
    output = tmp_path_factory.mktemp("undisturbed") / maker.name
    infer(embedded, maker, output)
    return output


def pixels(output: Path) -> dict[str, str]:
    """Digest of every file of the mosaic, and of the rasters."""
    files = [path for path in (output / "mosaic.zarr").rglob("*") if path.is_file()]
    files += [output / "change.tif", output / "probability.tif"]
    return {str(path.relative_to(output)): file_sha256(path) for path in sorted(files)}


def test_rasters_are_valid_cogs_on_the_source_grid(
    undisturbed: Path, embedded: EmbeddedCatalog
) -> None:
    with rasterio.open(embedded.truth) as truth:
        source = truth.transform
    for name in ("change.tif", "probability.tif"):
        assert cog_validate(undisturbed / name, strict=True)[0]
        with rasterio.open(undisturbed / name) as file:
            assert file.crs == embedded.crs and file.res == (source.a, source.a)
            row, col = ~source @ (file.transform.c, file.transform.f)
            assert (row, col) == (pytest.approx(round(row)), pytest.approx(round(col)))


def test_polygons_hold_the_changed_pixels_of_all_areas_of_four_or_more(undisturbed: Path) -> None:
    polygons = gpd.read_parquet(undisturbed / "polygons.parquet")
    with rasterio.open(undisturbed / "change.tif") as file:
        changed = file.read(1) == 1
    sizes = np.bincount(ndimage.label(changed)[0].ravel())[1:]
    assert sorted(polygons["pixels"]) == sorted(sizes[sizes >= 4])
    assert len(polygons) > 0
    assert polygons["polygon_id"].is_unique


@pytest.mark.slow
def test_numbers_that_the_checkpoint_does_not_expect_are_counted_by_tile_and_said(
    ray_cluster: None, embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    narrow = tmp_path / "narrow"
    spec = checkpoint_spec(bands=tuple(embedded.bands), value_range=(0.0, 500.0))
    save_checkpoint(random_model(spec), spec, narrow, "# x\n")
    result = infer(embedded, narrow, tmp_path / "map")
    manifest = json.loads((tmp_path / "map" / "manifest.json").read_text())
    strange = manifest["strange_px"]
    warning = next(line for line in result.summary() if line.startswith("warning"))
    assert f"{strange['total']:,} pixels in {strange['tiles']} tiles" in warning
    assert strange["total"] == strange_in_sources(embedded, tmp_path / "map" / "change.tif") > 0
    assert "(0 to 500)" in warning
    assert manifest["warnings"][0] == warning.removeprefix("warning: ")
    again = infer(embedded, narrow, tmp_path / "map")
    assert again.figures is None
    assert warning in again.summary()
    item = json.loads((tmp_path / "map" / "item.json").read_text())
    assert item["properties"]["noise2map:warnings"] == manifest["warnings"]


def strange_in_sources(embedded: EmbeddedCatalog, change: Path) -> int:
    """Decided pixels whose numbers exceed 500 in any band or date, from the source files."""
    with rasterio.open(change) as file:
        box, decided = GeoBox(file.shape, file.transform, file.crs), file.read(1) != 255
    images = [read_pixels(scenes, box)[0] for scenes in scenes_of(embedded)]
    return int(((np.stack(images) > 500).any(axis=(0, 1)) & decided).sum())


def scenes_of(embedded: EmbeddedCatalog) -> tuple[list[Scene], list[Scene]]:
    """The scenes before and after."""
    search = SearchConfig(catalog=embedded.catalog, collection=embedded.collection)
    before, after = search_pair(
        search, read_aoi(embedded.map_aoi), embedded.before, embedded.after, embedded.bands
    )
    return list(before), list(after)


def seen_of(scenes: Sequence[Scene], frame: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Image [band, H, W] and what the scenes' masks leave of it [H, W]."""
    recipe = plan_recipe(CompositeConfig(), MaskConfig(), scenes)
    pixels = read_date(scenes, frame, recipe)
    return pixels.image, pixels.valid


def test_a_pair_in_memory_gives_the_map_of_the_pipeline_to_the_bit(
    undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path
) -> None:
    expected = open_mosaic(undisturbed / "mosaic.zarr").load()
    frame = expected.odc.geobox.pad(32)  # the chips that reach in from outside
    images = [
        wrap_xr(np.where(valid, pixels, 0), frame, nodata=0, axis=1)
        for pixels, valid in (seen_of(scenes, frame) for scenes in scenes_of(embedded))
    ]
    made = predict_pair(images[0].chunk(y=100), images[1], checkpoint, tile_px=TILE_PX)
    assert is_dask_collection(made["class"].data)
    found = made.isel(y=slice(32, -32), x=slice(32, -32)).load()
    decided = (expected["reason"] == 0).values
    assert decided.sum() > 10_000
    for name in ("class", "probability"):
        np.testing.assert_array_equal(found[name].values[decided], expected[name].values[decided])
    assert found.odc.crs == expected.odc.crs


def test_a_pair_in_memory_has_the_light_of_a_region_of_its_extent(
    ray_cluster: None, embedded: EmbeddedCatalog, checkpoint_of_scenes: Path, tmp_path: Path
) -> None:
    infer(embedded, checkpoint_of_scenes, tmp_path / "map")
    grid = json.loads((tmp_path / "map" / "manifest.json").read_text())["grid"]
    frame = GeoBox(tuple(grid["shape"]), rasterio.Affine(*grid["transform"]), grid["crs"])
    images = [
        wrap_xr(np.where(valid, pixels, 0), frame, nodata=0, axis=1)
        for pixels, valid in (seen_of(scenes, frame) for scenes in scenes_of(embedded))
    ]
    found = predict_pair(images[0], images[1], checkpoint_of_scenes, tile_px=TILE_PX)
    inner = found.isel(y=slice(32, -32), x=slice(32, -32))  # chips there reach no further
    expected = open_mosaic(tmp_path / "map" / "mosaic.zarr").load().sel(y=inner.y, x=inner.x)
    decided = (expected["reason"] == 0).values
    assert decided.sum() > 1_000
    for name in ("class", "probability"):
        np.testing.assert_array_equal(inner[name].values[decided], expected[name].values[decided])


def test_the_item_is_valid_offline(undisturbed: Path, real_data: Path) -> None:
    validator = offline_validator(real_data / "stac_schemas")
    item = json.loads((undisturbed / "item.json").read_text())
    require_valid(item, validator)
    assert item["properties"]["mlm:framework"] == "PyTorch"
    assert dead_hrefs(undisturbed / "item.json") == []
    item["assets"]["change"]["file:checksum"] = "not hexadecimal"
    with pytest.raises(STACValidationError):
        validate_dict(item, validator=validator)


def test_the_item_names_its_sources_and_every_checksum_is_true(undisturbed: Path) -> None:
    item = pystac.Item.from_file(str(undisturbed / "item.json"))
    assert item.get_links("derived_from") == []  # they lie on this disk, and nobody else has them
    assert len(item.properties["noise2map:sources"]) == 2
    model = item.assets["model"]
    assert model.roles == ["metadata", "mlm:model"]
    digest = item.properties["noise2map:model"]["digest"]
    assert (
        CheckpointSpec.model_validate_json((undisturbed / "model.json").read_text()).digest
        == digest
    )
    assert item.assets.pop("mosaic").href.endswith("mosaic.zarr")
    for asset in item.assets.values():
        path = undisturbed / Path(asset.href).name
        assert asset.extra_fields["file:checksum"] == "1220" + file_sha256(path)
        assert asset.extra_fields["file:size"] == path.stat().st_size


def test_the_manifest_says_what_was_made_from_what(undisturbed: Path) -> None:
    manifest = json.loads((undisturbed / "manifest.json").read_text())
    for name, entry in manifest["products"].items():
        assert entry["sha256"] == file_sha256(undisturbed / name)
    assert manifest["tiles"]["failed"] == 0
    assert manifest["tiles"]["predicted"] == manifest["tiles"]["total"]
    for date in ("before", "after"):
        for item in manifest["source_items"][date]:
            for asset in item["assets"].values():
                assert asset["identity"].partition(":")[2]
    assert set(manifest["seconds"]) >= {"search", "predict", "rasters", "polygons", "report"}


def test_a_rerun_predicts_nothing_and_starts_no_ray(
    made_by: Path, embedded: EmbeddedCatalog, maker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_ray(*_: Any) -> None:
        raise AssertionError("Ray was asked for")

    monkeypatch.setattr("noise2map_core.distributed.region.ray_session", no_ray)
    before = pixels(made_by)
    result = infer(embedded, maker, made_by)
    assert result.predicted == 0 and result.figures is None
    assert "nothing new" in "\n".join(result.summary())
    assert pixels(made_by) == before


def test_torch_is_loaded_only_where_there_is_work() -> None:
    code = "import sys, pipelines.infer_region; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_lost_products_come_back_without_a_forward_pass(
    undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path
) -> None:
    before = pixels(undisturbed)
    (undisturbed / "change.tif").unlink()
    result = infer(embedded, checkpoint, undisturbed)
    assert result.predicted == 0 and result.figures is not None
    assert pixels(undisturbed) == before


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    "resources",
    [
        pytest.param({"predictors": 2, "predictor_cpus": 0.5}, id="two workers"),
        pytest.param(
            {"predictors": 4, "predictor_cpus": 0.25}, id="four workers", marks=pytest.mark.slow
        ),
        pytest.param({"tiles_per_task": 3}, id="three tiles a task", marks=pytest.mark.slow),
    ],
)
def test_workers_and_super_tiles_do_not_change_a_byte(
    made_by: Path,
    embedded: EmbeddedCatalog,
    maker: Path,
    tmp_path: Path,
    resources: dict[str, Any],
) -> None:
    infer(embedded, maker, tmp_path / "map", resources={"num_cpus": 2, **resources})
    assert pixels(tmp_path / "map") == pixels(made_by)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_tiles_in_any_order_give_the_same_bytes(
    undisturbed: Path,
    embedded: EmbeddedCatalog,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = region.predict_tiles

    def shuffled(job: Any, tiles: np.ndarray, resources: Any) -> Iterator[Any]:
        return plain(job, np.random.default_rng(5).permutation(tiles), resources)

    monkeypatch.setattr(region, "predict_tiles", shuffled)
    infer(embedded, checkpoint, tmp_path / "map")
    assert pixels(tmp_path / "map") == pixels(undisturbed)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.slow
def test_a_lost_tile_record_costs_one_tile(
    undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path
) -> None:
    before = pixels(undisturbed)
    next((undisturbed / "ledger" / "records").iterdir()).unlink()
    assert infer(embedded, checkpoint, undisturbed).predicted == 1
    assert pixels(undisturbed) == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_killed_and_run_again_it_ends_with_the_same_bytes(
    made_by: Path, embedded: EmbeddedCatalog, maker: Path, tmp_path: Path, seed: int
) -> None:
    output = tmp_path / "map"
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings(embedded, maker, output)))
    command = [sys.executable, "pipelines/infer_region.py", str(config)]
    total = len(list((made_by / "ledger" / "records").iterdir()))
    wanted = random.Random(seed).randrange(1, total)
    killed = _kill_when(command, output / "ledger" / "records", wanted)
    assert killed, "the run ended before it was killed"
    assert not (output / "manifest.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    assert "kept from earlier runs" in again.stdout
    assert pixels(output) == pixels(made_by)


def _kill_when(command: list[str], records: Path, wanted: int) -> bool:
    """Start `command`, and SIGKILL it and all its children once `wanted` records are there."""
    driver = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while driver.poll() is None and time.monotonic() < deadline:
        if records.exists() and len(list(records.glob("*.json"))) >= wanted:
            family = [driver, *driver.children(recursive=True)]
            for process in family:
                if process.is_running():
                    process.kill()
            psutil.wait_procs(family, timeout=30)
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("time_of_two", range(2))
def test_of_two_runs_started_at_once_one_maps_and_the_other_leaves(
    undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path, time_of_two: int
) -> None:
    output, config = tmp_path / "map", tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings(embedded, checkpoint, output)))
    command = [sys.executable, "pipelines/infer_region.py", str(config)]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=240)[1] for run in runs]
    codes = [run.returncode for run in runs]
    assert sorted(codes) == [0, OutputHeldError.exit_code], said
    assert "another run" in said[codes.index(OutputHeldError.exit_code)]
    records = [file.read_text() for file in (output / "ledger" / "records").iterdir()]
    assert {fence for text in records for fence in re.findall(r'"fence": ?(\d+)', text)} == {"1"}
    assert pixels(output) == pixels(undisturbed)


@pytest.mark.slow
def test_sigterm_leaves_a_state_that_a_rerun_continues(
    undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    output, config = tmp_path / "map", tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings(embedded, checkpoint, output)))
    command = [sys.executable, "pipelines/infer_region.py", str(config)]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    records = output / "ledger" / "records"
    deadline = time.monotonic() + 200
    while driver.poll() is None and time.monotonic() < deadline:
        if records.exists() and any(records.glob("*.json")):
            driver.terminate()
            break
        time.sleep(0.01)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 143, errors
    assert "same command continues" in errors
    subprocess.run(command, capture_output=True, timeout=240, check=True)
    assert pixels(output) == pixels(undisturbed)


def test_a_plan_writes_nothing_and_says_what_the_run_does(
    undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    fresh = planned(embedded, checkpoint, tmp_path / "map", price_per_hour=3.0)
    manifest = json.loads((undisturbed / "manifest.json").read_text())
    estimate = fresh.estimate
    assert estimate.todo == estimate.tiles == manifest["tiles"]["total"]
    assert estimate.read_bytes == pytest.approx(manifest["throughput"]["bytes_read"], rel=0.3)
    assert any(line.startswith("cost") for line in fresh.summary())
    assert not (tmp_path / "map").exists()
    again = planned(embedded, checkpoint, undisturbed)
    assert again.estimate.todo == 0 and "predict nothing" in again.summary()[0]


@pytest.fixture(scope="module")
def cloudy(embedded: EmbeddedCatalog, tmp_path_factory: pytest.TempPathFactory) -> SearchConfig:
    """The earlier scene on three days, the later one on two, each under a cloud of its own; the
    items say the contrary of their masks."""
    folder = tmp_path_factory.mktemp("cloudy")
    told = {
        "before": [("2023-04-02", 0.5), ("2023-06-12", 0.1), ("2023-08-20", 0.9)],
        "after": [("2025-02-03", 0.02), ("2025-06-20", 0.05)],
    }
    items = [
        on_another_day(embedded, folder, part, day, share)
        for part, days in told.items()
        for day, share in days
    ]
    table = folder / "items.parquet"
    write_item_table(items, table)
    return SearchConfig(catalog=str(table), collection=embedded.collection)


def on_another_day(
    embedded: EmbeddedCatalog, folder: Path, part: str, day: str, share: float
) -> dict[str, Any]:
    """An item of a scene, its rows of the top hidden by the classes of another file."""
    home = embedded.root / embedded.collection / f"{embedded.collection}-{part}"
    item: dict[str, Any] = json.loads((home / f"{home.name}.json").read_text())
    for asset in item["assets"].values():
        asset["href"] = str((home / asset["href"]).resolve())
    with rasterio.open(item["assets"]["red"]["href"]) as file:
        height, width, transform, crs = file.height, file.width, file.transform, file.crs
    classes = np.full((height, width), 4, np.uint8)
    classes[: round(share * height)] = 9
    path = folder / f"scl-{day}.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=height, width=width, dtype="uint8", nodata=0,
        crs=crs, transform=transform,
    ) as file:  # fmt: skip
        file.write(classes, 1)
    item["assets"]["scl"] = {"href": str(path), "roles": ["data"]}
    item["properties"] |= {"datetime": f"{day}T10:00:00Z", "eo:cloud_cover": 100 * (1 - share)}
    return {**item, "id": f"{part}-{day}", "links": []}


def test_the_best_days_of_two_ranges_are_mapped_as_if_they_had_been_named(
    ray_cluster: None, embedded: EmbeddedCatalog, checkpoint: Path, cloudy: SearchConfig,
    tmp_path: Path,
) -> None:  # fmt: skip
    search = cloudy.model_dump(mode="json")
    asked = {"before": "best 2023", "after": "best 2025-01-01/2025-12-31"}
    made = infer(embedded, checkpoint, tmp_path / "best", search=search, **asked)
    first, second = made.summary()[:2]
    assert re.fullmatch(r"before: 2023-06-12, \d+ % cloud, of 3 dates", first)
    assert re.fullmatch(r"after: 2025-06-20, \d+ % cloud, of 2 dates", second)  # as in June before
    named = {"before": "2023-06-12", "after": "2025-06-20"}
    infer(embedded, checkpoint, tmp_path / "named", search=search, **named)
    assert pixels(tmp_path / "best") == pixels(tmp_path / "named")
    manifest = json.loads((tmp_path / "best" / "manifest.json").read_text())
    assert {name: manifest["config"][name] for name in asked} == asked
    assert manifest["chosen_dates"] == named
    assert "chosen_dates" not in json.loads((tmp_path / "named" / "manifest.json").read_text())
    again = infer(embedded, checkpoint, tmp_path / "best", search=search, **asked)
    assert again.predicted == 0 and "nothing new" in again.summary()[-1]
    mended = verify.repair(tmp_path / "best")  # by the days as they were chosen
    assert mended[0].startswith("0 of ") and "nothing new" in mended[-1]
    lines = planned(embedded, checkpoint, tmp_path / "best", search=search, **asked).summary()
    assert lines[:2] == [first, second] and "predict nothing" in lines[2]
    assert lines[3:] == ["before   before-2023-06-12", "after    after-2025-06-20"]


def test_an_undisturbed_output_verifies(undisturbed: Path) -> None:
    lines = verify_output(undisturbed)
    manifest = json.loads((undisturbed / "manifest.json").read_text())
    assert f"{manifest['tiles']['total']} tiles complete" in lines[0]
    assert any("edges of tiles" in line for line in lines)


def test_an_output_verifies_over_plain_http_where_nothing_is_listed(
    undisturbed: Path, tmp_path: Path
) -> None:
    with served(undisturbed) as url:
        assert verify_output(location(url)) == verify_output(undisturbed)
    output = tmp_path / "map"
    shutil.copytree(undisturbed, output)
    _flip(next(file for file in (output / "mosaic.zarr" / "class" / "c").rglob("*/0")))
    with served(output) as url, pytest.raises(OutputError, match="are not those that were"):
        verify_output(location(url))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"manifest.json": 404}, r"manifest.json is not there \(HTTP 404\)"),
        ({"manifest.json": 403}, r"refuses it \(HTTP 403\)"),
        ({"ledger": 404}, "tiles of .* have no record"),
    ],
)
def test_what_the_web_does_not_give_is_told_in_a_line(
    undisturbed: Path, status: dict[str, int], said: str
) -> None:
    with served(undisturbed, status=status) as url, pytest.raises(OutputError, match=said):
        verify_output(location(url))


def _flip(file: Path) -> None:
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 4
    file.write_bytes(body)


def _swap(one: Path, other: Path) -> None:
    bodies = one.read_bytes(), other.read_bytes()
    assert bodies[0] != bodies[1]
    one.write_bytes(bodies[1])
    other.write_bytes(bodies[0])


DAMAGES = {
    "a flipped bit": lambda shards, _: _flip(shards[0]),
    "a cut object": lambda shards, _: shards[0].write_bytes(shards[0].read_bytes()[:-7]),
    "a deleted object": lambda shards, _: shards[1].unlink(),
    "swapped objects": lambda shards, _: _swap(shards[0], shards[1]),
    "an edited document": lambda _, output: _flip(output / "mosaic.zarr" / "zarr.json"),
    "an edited map": lambda _, output: _flip(output / "change.tif"),
    "a lost product": lambda _, output: (output / "polygons.parquet").unlink(),
    "a lost record": lambda _, output: next(output.rglob("records/*.json")).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found(undisturbed: Path, tmp_path: Path, damage: Any) -> None:
    output = tmp_path / "map"
    shutil.copytree(undisturbed, output)
    shards = sorted((output / "mosaic.zarr" / "probability" / "c").rglob("*/*"))
    damage([shard for shard in shards if shard.is_file()], output)
    with pytest.raises(OutputError, match=r"faults|no finished output"):
        verify_output(output)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_an_unreadable_asset_fails_its_tiles_and_the_rest_is_kept(
    undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    from noise2map_core.runtime.errors import IncompleteRegionError

    output = tmp_path / "map"
    broken = _copy_catalog(embedded, tmp_path / "catalog")
    state_no_checksums(broken.root)  # else it is known to be cut before anything is read
    victim = sorted(broken.root.rglob("*.tif"))[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(IncompleteRegionError, match="no map was made") as caught:
        infer(broken, checkpoint, output)
    assert caught.value.exit_code == 3
    assert str(victim) in str(caught.value)
    assert not (output / "change.tif").exists() and not (output / "manifest.json").exists()
    with pytest.raises(IncompleteRegionError, match="holes in the map") as caught:
        infer(broken, checkpoint, output, allow_incomplete=True)
    assert caught.value.exit_code == 3
    _require_holes(output)
    victim.write_bytes(whole)
    result = infer(broken, checkpoint, output)
    assert 0 < result.predicted <= result.tiles
    assert json.loads((output / "manifest.json").read_text())["holes"] == []
    assert pixels(output) == pixels(undisturbed)


def _require_holes(output: Path) -> None:
    """The map has a hole exactly where the manifest lists tiles."""
    manifest = json.loads((output / "manifest.json").read_text())
    mosaic = open_mosaic(output / "mosaic.zarr")
    holes = {tuple(hole["tile"]) for hole in manifest["holes"]}
    assert len(holes) == manifest["tiles"]["failed"] > 0
    rows, cols = np.nonzero((mosaic["reason"] == Reason.READ_FAILED).to_numpy())
    x, y = mosaic["x"].to_numpy()[cols], mosaic["y"].to_numpy()[rows]
    side = TILE_PX * manifest["grid"]["resolution"]
    assert set(zip((-y // side).astype(int), (x // side).astype(int), strict=True)) == holes
    assert (mosaic["class"].to_numpy()[rows, cols] == 255).all()


def test_another_threshold_makes_the_products_anew_without_a_forward_pass(
    undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "map"
    shutil.copytree(undisturbed, output)
    result = infer(embedded, checkpoint, output, products={"threshold": 0.52})
    assert result.predicted == 0 and result.figures is not None
    with rioxarray.open_rasterio(output / "change.tif") as raster:
        found = raster[0].load()
    mosaic = open_mosaic(output / "mosaic.zarr").sel(x=found.x, y=found.y)
    changed = np.round(mosaic["probability"].to_numpy() * 10_000) >= 5200
    expected = np.where(mosaic["class"].to_numpy() == 255, 255, changed)
    np.testing.assert_array_equal(found.to_numpy(), expected)
    assert (expected != mosaic["class"].to_numpy()).any()


def test_the_mosaic_equals_one_pass_over_the_whole_image(
    undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path
) -> None:
    """Whole arrays, one accumulation, chip by chip, by the model as it was trained."""
    model, mosaic = load_checkpoint(checkpoint), open_mosaic(undisturbed / "mosaic.zarr")
    spec, chip = model.spec, model.spec.chip_px
    search = SearchConfig(catalog=str(embedded.catalog), collection=embedded.collection)
    dates = search_pair(
        search, read_aoi(embedded.map_aoi), embedded.before, embedded.after, spec.bands
    )
    frame = mosaic.odc.geobox.pad(chip)
    image, valid = (np.stack(a) for a in zip(*(seen_of(d, frame) for d in dates), strict=True))
    total, weight = np.zeros((2, *frame.shape)), np.zeros(frame.shape)
    ramp = np.minimum(np.arange(chip) + 0.5, chip - np.arange(chip) - 0.5)
    # Tiles, 64 pixels, are whole numbers of strides, so that the frame's corner is on the lattice.
    for row in range(0, frame.shape[0] - chip + 1, spec.stride_px):
        for col in range(0, frame.shape[1] - chip + 1, spec.stride_px):
            at = (slice(row, row + chip), slice(col, col + chip))
            flat = torch.from_numpy(image[:, :, *at].reshape(1, -1, chip, chip).astype(np.int32))
            with torch.inference_mode():
                logits = model.logits(flat, 999, torch.from_numpy(valid[:, *at])[None])
            total[:, *at] += logits[0].numpy() * np.outer(ramp, ramp)
            weight[at] += np.outer(ramp, ramp)
    core = (slice(chip, -chip), slice(chip, -chip))
    logits = torch.from_numpy((total / np.maximum(weight, 1e-9))[:, *core])
    probability = torch.softmax(logits, dim=0)[1].numpy()
    decided = mosaic["class"].to_numpy() != 255
    stored = mosaic["probability"].to_numpy()
    assert decided.mean() > 0.3
    # Stored in steps of 1e-4; bfloat16, where the processor has it, rounds more coarsely.
    dtype = json.loads((undisturbed / "manifest.json").read_text())["numeric_path"]["dtype"]
    atol = {"float32": 1.1e-4, "bfloat16": 3e-3}[dtype]
    np.testing.assert_allclose(stored[decided], probability[decided], atol=atol)
    sure = decided & (np.abs(probability - spec.task().decided_from) > 2e-4)
    changed = probability >= spec.task().decided_from
    np.testing.assert_array_equal(mosaic["class"].to_numpy()[sure], changed[sure])


def _copy_catalog(embedded: EmbeddedCatalog, root: Path) -> EmbeddedCatalog:
    from dataclasses import replace

    shutil.copytree(embedded.root, root)
    moved = str(embedded.root), str(root)
    return replace(
        embedded,
        root=root,
        catalog=str(embedded.catalog).replace(*moved),
        map_aoi=Path(str(embedded.map_aoi).replace(*moved)),
    )


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_where_passes_disagree_is_written_and_drawn_and_a_recut_draws_nothing(
    embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    output, evidence = tmp_path / "map", {"inference": {"disagreement": "both"}}
    infer(embedded, checkpoint, output, grid={"tile_px": 512}, **evidence)
    drawn = output / "timesteps.png"
    with Image.open(drawn) as picture:
        assert picture.width > 600
    assert base64.b64encode(drawn.read_bytes()).decode() in (output / "report.html").read_text()
    listed = json.loads((output / "manifest.json").read_text())["products"]["timesteps.png"]
    assert listed["sha256"] == file_sha256(drawn)
    assert float(open_mosaic(output / "mosaic.zarr").disagreement.max()) > 0
    made = drawn.stat().st_mtime_ns
    result = infer(
        embedded, checkpoint, output, grid={"tile_px": 512}, products={"threshold": 0.9}, **evidence
    )
    assert (result.predicted, drawn.stat().st_mtime_ns) == (0, made)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_region_that_is_all_cloud_makes_a_map_of_no_decision_and_says_so(
    embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    catalog = _under_cloud(Path(embedded.catalog).parent, tmp_path / "catalog")
    result = infer(
        embedded, checkpoint, tmp_path / "map",
        search={"catalog": str(catalog), "collection": embedded.collection},
        grid={"tile_px": 512},
    )  # fmt: skip
    assert any(
        re.search(r"no pixel of the area has a decision: cloud after [\d,]+ pixels", line)
        for line in result.summary()
    )
    with rasterio.open(tmp_path / "map" / "change.tif") as file:
        assert (file.read(1) == 255).all()


def _under_cloud(source: Path, folder: Path) -> Path:
    """The same catalogue with masks: the earlier scene is clear, the later nothing but cloud."""
    shutil.copytree(source, folder)
    for date, scene_class in (("before", 4), ("after", 9)):
        (path,) = (p for p in folder.rglob("*.json") if p.stem.endswith(f"-{date}"))
        document = json.loads(path.read_text())
        asset = next(iter(document["assets"].values()))
        with rasterio.open(path.parent / asset["href"]) as file:
            profile = {**file.profile, "dtype": "uint8", "nodata": 0, "count": 1}
        with rasterio.open(path.parent / "scl.tif", "w", **profile) as file:
            file.write(np.full(file.shape, scene_class, np.uint8), 1)
        document["assets"]["scl"] = {"href": "scl.tif"}
        path.write_text(json.dumps(document))
    return folder / "catalog.json"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_tiles_and_workers_move_no_pixel_of_a_finer_source_in_another_zone(
    embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    """Sources of 10 m on a grid of 25 m of the neighbouring zone."""
    spec = checkpoint_spec(bands=tuple(embedded.bands), gsd=25.0, gsd_range=(20.0, 30.0))
    save_checkpoint(random_model(spec), spec, tmp_path / "checkpoint", "# x\n")
    zone = f"EPSG:{int(embedded.crs.removeprefix('EPSG:')) + 1}"
    maps = []
    for tile_px, predictors in ((32, 1), (64, 2)):
        output = tmp_path / f"map-{tile_px}"
        infer(
            embedded, tmp_path / "checkpoint", output,
            grid={"crs": zone, "resolution": 25.0, "tile_px": tile_px},
            resources={"num_cpus": 2, "predictors": predictors},
        )  # fmt: skip
        maps.append(output)
    for name in ("change.tif", "probability.tif"):
        first, second = (rasterio.open(output / name) for output in maps)
        assert first.read_masks(1).mean() / 255 > 0.3
        assert np.array_equal(first.read(1), second.read(1))
