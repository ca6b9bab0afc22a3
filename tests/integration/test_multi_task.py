"""A published data set in small → chip store → both tasks learnt at once → scores of each."""

import json
from pathlib import Path

import pytest
import xarray as xr

from noise2map_core.datasets.config import SpaceNet7Config
from noise2map_core.imagery.chip_store import open_chips
from noise2map_core.learning.config import TrainingConfig
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.tools.ingest_dataset import IngestDatasetConfig
from noise2map_core.tools.ingest_dataset import run as ingest_dataset
from pipelines.evaluate_maps import EvaluateMapsConfig
from pipelines.evaluate_maps import run as evaluate
from pipelines.finetune_maps import FinetuneMapsConfig
from pipelines.finetune_maps import run as finetune
from tests.dataset_factories import write_spacenet7

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spacenet7")
    write_spacenet7(folder / "data")
    config = IngestDatasetConfig(
        dataset=SpaceNet7Config(root=folder / "data", task="both"), chip_px=16,
        output=folder / "chips.zarr",
    )  # fmt: skip
    ingest_dataset(config)
    return config.output


@pytest.fixture(scope="module")
def trained(ray_cluster: None, chips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("multi-task")
    training = TrainingConfig(epochs=1, batch_size=32, checkpoint_epochs=1, worker_cpus=0.5)
    config = FinetuneMapsConfig(
        chips=chips, output=output, tasks=("change", "segment"), training=training
    )
    assert finetune(config).trained
    return output


def test_both_tasks_share_one_checkpoint(trained: Path) -> None:
    spec = load_checkpoint(trained / "checkpoint").spec
    assert spec.tasks.keys() == {"change", "segment"}
    assert spec.task("change").corruption.kind == "swapped_pair"
    assert spec.task("segment").corruption.kind == "self"
    history = json.loads((trained / "run.json").read_text())["history"]
    assert history[0]["tasks"].keys() == {"change", "segment"}


def test_each_task_is_scored_on_every_test_pixel_of_its_own(trained: Path, chips: Path) -> None:
    store: xr.Dataset = open_chips(chips)
    test = store.isel(chip=(store["split"] == "test").values).compute()
    observed = test["valid"]
    expected = {
        "change": int(observed.all("date").sum()),
        "segment": int(observed.sum()),
    }
    for task, pixels in expected.items():
        result = evaluate(
            EvaluateMapsConfig(checkpoint=trained / "checkpoint", chips=chips, task=task)
        )
        assert result.model.num_pixels == pixels > 0
