"""What MLflow is told, read back by its own client from a store in a temporary folder."""

import os
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest

from noise2map_core.runtime.errors import ConfigError, Noise2MapError
from noise2map_core.settings.learning import MlflowConfig
from noise2map_core.training.run import TrainingRun
from noise2map_core.training.tracking import ENVIRONMENT, MAX_METRICS, tracked
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig

SECRET = "CANARY-password"


def run_of(folder: Path, uri: str, digest: str = "abc") -> TrainingRun:
    config = FinetuneMapsConfig(
        chips=folder / "chips.zarr", output=folder / "out", mlflow=MlflowConfig(tracking_uri=uri)
    )
    return TrainingRun(config.output, config, digest)


def settings(training_run: TrainingRun) -> MlflowConfig:
    assert isinstance(training_run.config, FinetuneMapsConfig)
    assert training_run.config.mlflow is not None
    return training_run.config.mlflow


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/runs.db"


def runs_of(uri: str, digest: str) -> list[Any]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("noise2map")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id], f"tags.`noise2map.digest` = '{digest}'")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a database, MLflow keeps files in `mlruns` where the command runs."""
    monkeypatch.chdir(tmp_path)


def test_settings_curves_results_and_files_are_logged(uri: str, tmp_path: Path) -> None:
    training_run = run_of(tmp_path, uri, "first")
    report = tmp_path / "report.html"
    report.write_text("<!doctype html>")
    points = [("train/loss", 1 / step, step, 1_700_000_000_000 + step) for step in range(1, 1501)]
    assert len(points) > MAX_METRICS
    with tracked(settings(training_run), training_run) as tracker:
        assert tracker is not None and not tracker.finished
        tracker.log(points)
        tracker.finish({"val_f1": 0.75}, [report])
    (run,) = runs_of(uri, "first")
    assert run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == "40"
    assert not [name for name in run.data.params if name.startswith("mlflow")]
    assert run.data.metrics["val_f1"] == 0.75
    client = mlflow.MlflowClient(tracking_uri=uri)
    logged = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted((m.step, m.value) for m in logged) == [
        (step, loss) for _, loss, step, _ in points
    ]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["report.html"]


def test_mlflow_is_set_for_the_time_of_a_training(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    training_run = run_of(tmp_path, uri, "environment")
    with tracked(settings(training_run), training_run):
        assert {name: os.environ.get(name) for name in ENVIRONMENT} == ENVIRONMENT
    assert not ENVIRONMENT.keys() & os.environ.keys()


def test_a_training_that_is_started_again_goes_on_in_its_run(uri: str, tmp_path: Path) -> None:
    training_run = run_of(tmp_path, uri, "second")
    with pytest.raises(RuntimeError), tracked(settings(training_run), training_run):
        raise RuntimeError("a worker died")
    assert [run.info.status for run in runs_of(uri, "second")] == ["FAILED"]
    with tracked(settings(training_run), training_run) as tracker:
        assert tracker is not None and not tracker.finished
        assert [run.info.status for run in runs_of(uri, "second")] == ["RUNNING"]
        tracker.finish({}, [])
    with tracked(settings(training_run), training_run) as tracker:
        assert tracker is not None and tracker.finished
    assert [run.info.status for run in runs_of(uri, "second")] == ["FINISHED"]


def test_a_step_that_is_taken_again_is_logged_once(uri: str, tmp_path: Path) -> None:
    training_run = run_of(tmp_path, uri, "third")
    at = 1_700_000_000_000
    with pytest.raises(RuntimeError), tracked(settings(training_run), training_run) as tracker:
        assert tracker is not None
        tracker.log([("train/loss", 0.5, 1, at), ("train/loss", 0.25, 2, at)])
        tracker.log([("train/loss", 0.3, 2, at), ("epoch/val_f1", 0.5, 2, at)])  # a worker died
        raise RuntimeError("the driver died, too")
    with tracked(settings(training_run), training_run) as tracker:
        assert tracker is not None
        tracker.log([("train/loss", 0.26, 2, at), ("epoch/val_f1", 0.6, 2, at)])
        tracker.log([("train/loss", 0.125, 3, at), ("epoch/val_f1", 0.75, 4, at)])
    (run,) = runs_of(uri, "third")
    client = mlflow.MlflowClient(tracking_uri=uri)
    logged = {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in ("train/loss", "epoch/val_f1")
    }
    assert logged == {
        "train/loss": [(1, 0.5), (2, 0.25), (3, 0.125)], "epoch/val_f1": [(2, 0.5), (4, 0.75)],
    }  # fmt: skip


def test_no_password_of_the_address_is_written_or_told(tmp_path: Path) -> None:
    # Nothing listens there.
    training_run = run_of(tmp_path, f"http://user:{SECRET}@127.0.0.1:9")
    training_run.claim()
    assert SECRET not in training_run.note.read_text()
    assert SECRET not in repr(training_run.config)
    with (
        pytest.raises(Noise2MapError, match=r"127\.0\.0\.1:9 cannot be used") as refused,
        tracked(settings(training_run), training_run),
    ):
        pass
    assert SECRET not in str(refused.value)


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    training_run = run_of(tmp_path, "sqlite:///nowhere.db")
    with (
        pytest.raises(ConfigError, match=r"Install noise2map\[mlflow\]"),
        tracked(settings(training_run), training_run),
    ):
        pass


def test_without_a_setting_nothing_is_logged(tmp_path: Path) -> None:
    with tracked(None, run_of(tmp_path, "")) as tracker:
        assert tracker is None
