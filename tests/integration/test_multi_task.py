"""A published data set in small → chip store → both tasks learnt at once → scores of each."""

import json
from pathlib import Path

import pytest
import xarray as xr

from noise2map_core.chips.store import open_chips
from noise2map_core.cli.commands.ingest_dataset import run as ingest_dataset
from noise2map_core.cli.commands.rank import run as rank
from noise2map_core.distributed.fitting.run import finetune
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.runtime.errors import ChipStoreError
from noise2map_core.settings.datasets import SpaceNet7Config
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig
from noise2map_core.workflows.tools.rank import RankConfig
from pipelines.evaluate_maps import run as evaluate
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
    training = TrainingConfig(epochs=1, batch=32, checkpoint_epochs=1, worker_cpus=0.5)
    config = FinetuneMapsConfig(
        chips=chips, output=output, task=("change", "segment"), training=training
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


def test_scores_of_several_seeds_feed_the_ranks(trained: Path, chips: Path, tmp_path: Path) -> None:
    checkpoint = trained / "checkpoint"
    for name in ("one", "other"):
        result = evaluate(
            EvaluateMapsConfig(
                checkpoint=checkpoint, more_checkpoints=(checkpoint,), chips=chips, name=name,
                task="change", protocol="strict", output=tmp_path / f"{name}.json",
            )
        )  # fmt: skip
        assert any(line.startswith("mean ± std") and "± 0.000" in line for line in result.summary())
    document = json.loads((tmp_path / "one.json").read_text())
    assert document["dataset"]["protocol"] == "strict"
    assert len(document["more_models"]) == 1
    assert document["references"].keys() == {"semantic"}  # pairs are too small for statistics
    for scores in document["references"].values():
        assert scores["num_pixels"] == document["baseline"]["num_pixels"]
    tables = (tmp_path / "one.json", tmp_path / "other.json")
    lines = rank(RankConfig(tables=tables)).summary()
    assert [line for line in lines if "one" in line] and [line for line in lines if "other" in line]


def test_scores_of_another_protocol_are_refused(trained: Path, chips: Path) -> None:
    config = EvaluateMapsConfig(
        checkpoint=trained / "checkpoint", chips=chips, task="change", protocol="paper"
    )
    with pytest.raises(ChipStoreError, match="made under protocol strict"):
        evaluate(config)
