"""The checkpoints that ship, on places that they have not seen."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.cli.application import parse_config
from noise2map_core.cli.commands import ingest_dataset
from noise2map_core.models.shipped import shipped_path
from noise2map_core.models.spec import CARD_NAME, read_spec
from noise2map_core.runtime.storage import files_in
from noise2map_core.settings.datasets import FoldersConfig
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig
from pipelines import evaluate_maps, ingest_region

LARGEST_MB = 20
FLOOR = 0.6
"""Of F1 and ROC AUC on places never seen; the model cards have the scores of all that was tried."""


def test_the_checkpoint_is_small_and_its_card_says_what_it_is_for() -> None:
    folder = shipped_path("buildings")
    assert sum(path.stat().st_size for path in files_in(folder)) < LARGEST_MB * 10**6
    assert set(read_spec("buildings").tasks) == {"change", "segment"}
    card = (folder / CARD_NAME).read_text("utf-8")
    for part in ("Intended use", "Limits", "CC-BY-4.0", "ODbL", "OpenStreetMap", "## Scores"):
        assert part in card
    assert "dsifn" in card.lower() and "gz_cd" in card.lower()


def test_land_learnt_from_invented_places_alone() -> None:
    folder = shipped_path("land")
    assert sum(path.stat().st_size for path in files_in(folder)) < LARGEST_MB * 10**6
    spec = read_spec("land")
    assert set(spec.tasks) == {"change"} and spec.tasks["change"].normalisation.of == "scene"
    card = (folder / CARD_NAME).read_text("utf-8")
    assert "It has seen no real image." in card and "taizhou" in card.lower()


def test_the_notice_names_what_it_was_trained_on(checkout: Path) -> None:
    notice = (checkout / "NOTICE").read_text("utf-8")
    assert all(name in notice for name in ("buildings", "OpenAerialMap", "OpenStreetMap"))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_it_finds_buildings_in_blocks_of_banepa_that_it_was_not_trained_on(
    real_data: Path, checkout: Path, tmp_path: Path
) -> None:
    chips = tmp_path / "chips.zarr"
    flags: list[object] = [
        checkout / "pipelines" / "configs" / "buildings-banepa-ingest.yaml",
        "--aoi", checkout / "pipelines" / "aois" / "banepa.geojson",
        "--catalog", real_data / "stac" / "catalog.json",
        "--labels.path", real_data / "stac" / "oam-banepa" / "buildings.geojson",
        "--output", chips,
    ]  # fmt: skip
    _run(ingest_region, "IngestRegionConfig", flags)
    found = _scores("buildings", chips, "segment")
    assert found["classes"]["building"]["f1"] > FLOOR
    assert found["roc_auc"] > FLOOR


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_buildings_finds_change_between_real_dates(real_data: Path, tmp_path: Path) -> None:
    few = tmp_path / "pairs"
    for part in ("A", "B", "label"):
        (few / part).mkdir(parents=True)
        for path in sorted((real_data / "change" / "gz_cd" / part).iterdir())[::40]:
            shutil.copy(path, few / part)
    dataset = FoldersConfig(root=few, resolution=0.55)
    chips = tmp_path / "chips.zarr"
    ingest_dataset.run(IngestDatasetConfig(dataset=dataset, output=chips, chip_px=128))
    found = _scores("buildings", chips, "change")
    assert found["classes"]["changed"]["f1"] > FLOOR
    assert found["roc_auc"] > FLOOR + 0.2


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_land_finds_change_in_a_real_landsat_pair(
    real_data: Path, checkout: Path, tmp_path: Path
) -> None:
    chips = tmp_path / "chips.zarr"
    flags: list[object] = [
        checkout / "pipelines" / "configs" / "taizhou-ingest.yaml",
        "--aoi", checkout / "pipelines" / "aois" / "taizhou.geojson",
        "--catalog", real_data / "stac" / "catalog.json",
        "--bands", "blue", "green", "red", "nir", "swir16", "swir22",
        "--output", chips,
    ]  # fmt: skip
    _run(ingest_region, "IngestRegionConfig", flags)
    found = _scores("land", chips, "change")
    assert found["classes"]["changed"]["f1"] > FLOOR
    assert found["roc_auc"] > FLOOR + 0.2


def _scores(checkpoint: str, chips: Path, task: str) -> Any:
    """What a checkpoint scores on the test part of a store."""
    scores = chips.with_name("scores.json")
    flags = ["--checkpoint", checkpoint, "--chips", chips, "--task", task, "--output", scores]
    _run(evaluate_maps, "EvaluateMapsConfig", flags)
    return json.loads(scores.read_text())["model"]


def _run(module: Any, name: str, flags: list[object]) -> None:
    module.run(parse_config(getattr(module, name), list(map(str, flags))))
