"""Chip store → Ray Train → checkpoint → scores, in small."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from noise2map_core.distributed.fitting.run import finetune
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.spec import WEIGHTS_NAME, read_spec
from noise2map_core.runtime.errors import (
    ChipStoreError,
    ConfigError,
    Noise2MapError,
    OutputError,
    OutputMismatchError,
)
from noise2map_core.settings.labels import SplitConfig
from noise2map_core.settings.learning import MlflowConfig, TrainingConfig
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.training.curve import CURVE_FILE, read_losses
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from pipelines.evaluate_maps import run as evaluate
from tests.chip_factories import make_store, plan_store
from tests.unit.evaluation.test_evaluation import bounds

SPLIT = SplitConfig(boxes={"train": (bounds(0, 0, 30, 50),), "val": (bounds(46, 0, 90, 50),)})
SHORT = TrainingConfig(epochs=4, batch=8, checkpoint_epochs=2, worker_cpus=0.5)


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    return make_store(plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT))


def config(chips: Path, output: Path, **training: object) -> FinetuneMapsConfig:
    return FinetuneMapsConfig(
        chips=chips, output=output, training=SHORT.model_copy(update=training)
    )


@pytest.fixture(scope="module")
def trained(ray_cluster: None, chips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed run."""
    output = tmp_path_factory.mktemp("trained")
    assert finetune(config(chips, output)).trained
    return output


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_store_without_chips_to_train_on_is_refused_before_any_work(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("noise2map_core.distributed.fitting.run.ray_session", never)
    split = SplitConfig(boxes={part: (bounds(0, 0, 90, 110),)})
    store = make_store(plan_store(tmp_path, tmp_path / "chips.zarr", split=split))
    with pytest.raises(ChipStoreError, match=f"has no chips of split 'train'; it has: {part}"):
        finetune(config(store, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "checkpoint" / WEIGHTS_NAME)


def test_a_run_leaves_a_checkpoint_that_loads_and_state_beside_it(trained: Path) -> None:
    model = load_checkpoint(trained / "checkpoint")
    assert 0 < model.spec.task().threshold["changed"] < 1
    assert {path.name for path in trained.iterdir()} == {
        "checkpoint", "report.html", "run.json", "state", "tensorboard",
    }  # fmt: skip
    history = json.loads((trained / "run.json").read_text())["history"]
    assert [entry["epoch"] for entry in history] == [2, 4]
    card = (trained / "checkpoint" / "README.md").read_text()
    assert f"{model.spec.task().threshold['changed']:g}" in card
    assert "| workers | 1 × 0.5 CPU (" in card


def test_the_report_shows_every_loss_that_was_recorded(trained: Path) -> None:
    report = (trained / "report.html").read_text()
    history = json.loads((trained / "run.json").read_text())["history"]
    losses = read_losses(trained / "state" / CURVE_FILE)
    steps = len(losses) // 4
    for entry in history:
        of_epoch = [loss for step, loss in losses if (step - 1) // steps == entry["epoch"] - 1]
        assert entry["loss"] == pytest.approx(sum(of_epoch) / steps, rel=1e-5)
        assert f"{entry['val_f1']:.4f}" in report and f"{entry['loss']:.4f}" in report


def test_a_report_that_was_not_written_is_written_by_the_same_command(
    trained: Path, chips: Path
) -> None:
    before = (trained / "report.html").read_bytes()
    weights_before = (trained / "checkpoint" / WEIGHTS_NAME).stat().st_mtime_ns
    (trained / "report.html").unlink()
    again = finetune(config(chips, trained))
    assert again.summary()[0] == "trained already with the same settings; made the report"
    assert (trained / "report.html").read_bytes() == before
    assert (trained / "checkpoint" / WEIGHTS_NAME).stat().st_mtime_ns == weights_before


@pytest.mark.slow
def test_mlflow_is_told_what_was_recorded(ray_cluster: None, chips: Path, tmp_path: Path) -> None:
    mlflow = MlflowConfig(tracking_uri=f"sqlite:///{tmp_path}/runs.db", experiment="maps")
    settings = config(chips, tmp_path / "out", num_workers=2)
    settings = settings.model_copy(update={"mlflow": mlflow})
    assert finetune(settings).trained
    client = MlflowClient(tracking_uri=mlflow.tracking_uri)
    experiment = client.get_experiment_by_name("maps")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    recorded = read_losses(settings.output / "state" / CURVE_FILE)
    assert [metric.step for metric in losses] == [step for step, _ in recorded]
    assert [metric.value for metric in losses] == pytest.approx([v for _, v in recorded])
    note = json.loads((settings.output / "run.json").read_text())
    scores = client.get_metric_history(run.info.run_id, "epoch/val_f1")
    assert [one.value for one in scores] == [entry["val_f1"] for entry in note["history"]]
    assert run.data.metrics["val_f1"] == note["val_f1"]
    assert run.data.params["training.num_workers"] == "2"
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"README.md", "report.html"}
    assert not finetune(settings).trained
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_a_finished_run_says_so_and_trains_nothing(trained: Path, chips: Path) -> None:
    written = (trained / "checkpoint" / WEIGHTS_NAME).stat().st_mtime_ns
    again = finetune(config(chips, trained))
    assert not again.trained
    assert "nothing to do" in again.summary()[0]
    assert (trained / "checkpoint" / WEIGHTS_NAME).stat().st_mtime_ns == written
    # Where it runs is no part of what is learnt.
    assert not finetune(config(chips, trained, num_workers=2)).trained


def test_other_settings_in_an_existing_output_are_refused(trained: Path, chips: Path) -> None:
    with pytest.raises(OutputMismatchError, match="other settings or other chips"):
        finetune(config(chips, trained, epochs=5))


def test_a_batch_that_workers_cannot_share_is_refused(chips: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a multiple of 3 workers"):
        finetune(config(chips, tmp_path / "out", num_workers=3))
    assert not (tmp_path / "out").exists()


def test_workers_that_do_not_fit_are_refused_instead_of_waited_for(
    chips: Path, tmp_path: Path
) -> None:
    settings = config(chips, tmp_path / "out", num_workers=4, worker_cpus=1.0)
    few = settings.model_copy(update={"resources": ResourcesConfig(num_cpus=2)})
    with pytest.raises(ConfigError, match="do not fit into 2 CPUs"):
        finetune(few)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_workers_learn_what_one_learns_in_two_parts(
    ray_cluster: None, chips: Path, tmp_path: Path
) -> None:
    one = config(chips, tmp_path / "one", accumulation=2)
    two = config(chips, tmp_path / "two", num_workers=2)
    alone, together = (
        json.loads((each.output / "run.json").read_text())["history"]
        for each in (one, two)
        if finetune(each).trained
    )
    for one, two in zip(alone, together, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)


@pytest.mark.slow
def test_training_that_gets_no_better_stops(ray_cluster: None, chips: Path, tmp_path: Path) -> None:
    # Nothing is learnt: every validation is as good as the first.
    settings = config(
        chips, tmp_path, epochs=9, checkpoint_epochs=1, patience=2, learning_rate=1e-12
    )
    finetune(settings)
    history = json.loads((tmp_path / "run.json").read_text())["history"]
    assert [entry["epoch"] for entry in history] == [1, 2, 3]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(
    ray_cluster: None, chips: Path, tmp_path: Path
) -> None:
    where = r"epoch \d+, step \d+, on chips \d+, .* \(of tiles r-\d+c\d+, .*\) of .*; "
    with pytest.raises(Noise2MapError, match=f"the loss is not finite at {where}"):
        finetune(config(chips, tmp_path, learning_rate=1e30, warmup=0.0))
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.services
def test_a_disk_that_is_full_keeps_the_state_before_and_goes_on_from_it(
    ray_cluster: None, chips: Path, trained: Path, small_disk: Path
) -> None:
    settings = config(chips, small_disk / "out")
    mount(small_disk, "22m")  # one state and a half
    with pytest.raises(
        OutputError, match=r"^cannot keep a state in .*: .*No space left .*again\.$"
    ):
        finetune(settings)
    (whole,) = states(settings.output)
    assert torch.load(whole)["epoch"] == 2
    assert not (settings.output / "checkpoint").exists()
    mount(small_disk, "200m")
    assert finetune(settings).trained
    for name, weight in weights(trained).items():
        assert torch.equal(weight, weights(settings.output)[name]), name


def mount(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], timeout=10, check=True)


def test_a_checkpoint_is_scored_beside_the_baseline(
    trained: Path, chips: Path, tmp_path: Path
) -> None:
    result = evaluate(
        EvaluateMapsConfig(
            checkpoint=trained / "checkpoint", chips=chips, split="val", output=tmp_path / "s.json"
        )
    )
    document = json.loads((tmp_path / "s.json").read_text())
    assert document["model_digest"] == read_spec(trained / "checkpoint").digest
    assert document["model"]["num_pixels"] == document["baseline"]["num_pixels"] > 0
    for method in (document["model"], document["baseline"]):
        for scores in method["classes"].values():
            assert scores["f1_low"] <= scores["f1"] <= scores["f1_high"]
    assert any("CVA" in line for line in result.summary())


SCRIPT = """
import sys
from pipelines.finetune_maps import FinetuneMapsConfig, run
run(FinetuneMapsConfig.model_validate_json(sys.argv[1]))
"""


def start(settings: FinetuneMapsConfig, checkout: Path, log: Path) -> "subprocess.Popen[bytes]":
    """A run in a process group of its own, with a cluster of its own."""
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, settings.model_dump_json()],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            start_new_session=True,
            stderr=stderr,
        )


def states(output: Path) -> list[Path]:
    return list(output.glob("state/train/checkpoint_*/state.pt"))


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(
    ray_cluster: None, checkout: Path, chips: Path, tmp_path: Path
) -> None:
    training = {"epochs": 6, "checkpoint_epochs": 3, "checkpoint_steps": 2}
    calm, killed = (config(chips, tmp_path / name, **training) for name in ("calm", "killed"))
    log = tmp_path / "stderr"
    process = start(killed, checkout, log)
    while not states(killed.output) and process.poll() is None:
        time.sleep(0.05)
    # The driver leads the group; Ray's processes follow it and end with it.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    assert states(killed.output), log.read_text()
    assert not (killed.output / "checkpoint").exists()
    kept = [torch.load(path) for path in states(killed.output)]
    assert any(state["losses"] for state in kept), "none was in the middle of an epoch"
    for settings in (killed, calm):
        assert finetune(settings).trained
    for name, weight in weights(calm.output).items():
        assert torch.equal(weight, weights(killed.output)[name]), name
    assert (calm.output / "checkpoint" / "model.json").read_bytes() == (
        killed.output / "checkpoint" / "model.json"
    ).read_bytes()
