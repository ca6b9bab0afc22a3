"""Fifty verdicts become chips, and a model learns from them."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from noise2map_core.chips.store import open_store
from noise2map_core.cli.commands.nights.review import run as review
from noise2map_core.distributed.fitting.run import finetune
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.review.verdict_files import Filled, take_in
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.tools.nights.review import ReviewConfig
from pipelines.ingest_region import run as ingest
from tests.review_factories import DAY, write_reviewed_area

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_model_is_fine_tuned_on_fifty_verdicts(
    ray_cluster: None, embedded: EmbeddedCatalog, tmp_path: Path
) -> None:
    area = write_reviewed_area(tmp_path, embedded, embedded.train_aoi, 54)
    said = ["confirmed"] * 25 + ["unsure"] * 4 + ["rejected"] * 25
    filled = [Filled(f"a{number}", one, "crops", "ada") for number, one in enumerate(said)]
    take_in(area / "alerts", filled, tmp_path / "verdicts", date(2025, 7, 1))
    lines = review(ReviewConfig(area=area, labels=tmp_path / "labels")).summary()
    assert "25 changed, 25 unchanged" in lines[0]
    settings = yaml.safe_load((tmp_path / "labels" / f"{DAY}.yaml").read_text())
    ingest(IngestRegionConfig.model_validate(settings))
    store = tmp_path / "labels" / "chips.zarr"
    counts = open_store(store).attributes["counts"]
    for part in ("train", "val"):
        assert all(number > 0 for number in counts[part]["label_px"]["change"].values())
    training = TrainingConfig(epochs=2, batch=8, worker_cpus=0.5)
    output = tmp_path / "model"
    assert finetune(FinetuneMapsConfig(chips=store, output=output, training=training)).trained
    model = load_checkpoint(output / "checkpoint")
    assert model.spec.bands == tuple(embedded.bands)
    assert 0 < model.spec.task().threshold["changed"] < 1
