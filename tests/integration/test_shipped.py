"""The checkpoint that ships, on buildings that it has not seen."""

import json
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.cli.application import parse_config
from noise2map_core.models.shipped import shipped_path
from noise2map_core.models.spec import CARD_NAME, read_spec
from noise2map_core.runtime.storage import files_in
from pipelines import evaluate_maps, ingest_region

LARGEST_MB = 10
FLOOR = 0.6
"""Of F1 of buildings on Banepa's test blocks; the model card has the score of the whole recipe."""


def test_the_checkpoint_is_small_and_its_card_says_what_it_is_for() -> None:
    folder = shipped_path("buildings")
    assert sum(path.stat().st_size for path in files_in(folder)) < LARGEST_MB * 10**6
    assert set(read_spec("buildings").tasks) == {"change", "segment"}
    card = (folder / CARD_NAME).read_text("utf-8")
    for part in ("Intended use", "Limits", "CC-BY-4.0", "ODbL", "OpenStreetMap", "## Scores"):
        assert part in card
    assert "dsifn" in card.lower()


def test_the_notice_names_what_it_was_trained_on(checkout: Path) -> None:
    notice = (checkout / "NOTICE").read_text("utf-8")
    assert all(name in notice for name in ("buildings", "OpenAerialMap", "OpenStreetMap"))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_it_finds_buildings_in_blocks_of_banepa_that_it_was_not_trained_on(
    real_data: Path, checkout: Path, tmp_path: Path
) -> None:
    chips, scores = tmp_path / "chips.zarr", tmp_path / "scores.json"
    flags: list[object] = [
        checkout / "pipelines" / "configs" / "buildings-banepa-ingest.yaml",
        "--aoi", checkout / "pipelines" / "aois" / "banepa.geojson",
        "--catalog", real_data / "stac" / "catalog.json",
        "--labels.path", real_data / "stac" / "oam-banepa" / "buildings.geojson",
        "--output", chips,
    ]  # fmt: skip
    _run(ingest_region, "IngestRegionConfig", flags)
    flags = ["--checkpoint", "buildings", "--chips", chips, "--task", "segment"]
    _run(evaluate_maps, "EvaluateMapsConfig", [*flags, "--output", scores])
    found = json.loads(scores.read_text())["model"]
    assert found["classes"]["building"]["f1"] > FLOOR
    assert found["roc_auc"] > FLOOR


def _run(module: Any, name: str, flags: list[object]) -> None:
    module.run(parse_config(getattr(module, name), list(map(str, flags))))
