"""The real scene in small: ingest, fine-tune for one epoch, evaluate, map."""

import json
from pathlib import Path
from typing import Any

import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from noise2map_core.cli.application import parse_config
from pipelines import evaluate_maps, finetune_maps, infer_region, ingest_region

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def run(module: Any, name: str, step: str, checkout: Path, *flags: object) -> Any:
    """An application by its checked-in config, with flags."""
    config = checkout / "pipelines" / "configs" / f"taizhou-{step}.yaml"
    args = [str(config), *map(str, flags)]
    return module.run(parse_config(getattr(module, name), args))


def test_the_checked_in_configs_take_taizhou_from_catalogue_to_map(
    real_data: Path, checkout: Path, tmp_path: Path
) -> None:
    catalog = real_data / "stac" / "catalog.json"
    where = ("--aoi", checkout / "pipelines" / "aois" / "taizhou.geojson", "--catalog", catalog)
    chips, checkpoint = tmp_path / "chips.zarr", tmp_path / "checkpoint"
    run(ingest_region, "IngestRegionConfig", "ingest", checkout, *where, "--output", chips)
    flags = ("--chips", chips, "--output", tmp_path, "--training.epochs", 1)
    run(finetune_maps, "FinetuneMapsConfig", "finetune", checkout, *flags)
    scores = tmp_path / "scores.json"
    flags = ("--chips", chips, "--checkpoint", checkpoint, "--output", scores)
    run(evaluate_maps, "EvaluateMapsConfig", "evaluate", checkout, *flags)
    flags = (*where, "--checkpoint", checkpoint, "--output", tmp_path / "map")
    run(infer_region, "InferRegionConfig", "infer", checkout, *flags)

    found = json.loads(scores.read_text())
    assert found["model"]["num_pixels"] == found["baseline"]["num_pixels"] == 10_641
    assert found["baseline"]["classes"]["changed"]["f1"] == pytest.approx(0.931, abs=0.005)
    source = catalog.parent / "landsat-taizhou" / "landsat-taizhou-20000317" / "red.tif"
    with rasterio.open(source) as band, rasterio.open(tmp_path / "map" / "change.tif") as change:
        assert (change.transform, change.shape, change.crs) == (
            band.transform, band.shape, band.crs,
        )  # fmt: skip
    assert cog_validate(tmp_path / "map" / "change.tif", strict=True)[0]
