"""A sweep in small: killed and resumed, with a trial that fails, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from noise2map_core.cli.application import parse_config
from noise2map_core.runtime.errors import ChipStoreError, ConfigError, OutputMismatchError
from noise2map_core.settings.labels import SplitConfig
from noise2map_core.workflows.compare_trials import CompareTrialsConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.search_schedules import SearchSchedulesConfig
from tests.chip_factories import make_store, plan_store
from tests.unit.evaluation.test_evaluation import bounds
from tune.compare_trials import run as compare
from tune.search_schedules import run as search

SPLIT = SplitConfig(boxes={"train": (bounds(0, 0, 30, 50),), "val": (bounds(46, 0, 90, 50),)})
COMMAND = [sys.executable, "tune/search_schedules.py"]
TPE = {
    "trials": 3, "epochs": 9,
    "parameters": {
        "change.diffusion.schedule": {
            "choices": {"linear": {"kind": "linear"}, "cosine": {"kind": "cosine"}}
        },
        "training.learning_rate": {"log_uniform": [1e-3, 1e-2]},
    },
}  # fmt: skip
GRID = {
    "sampler": "grid", "prune": False, "epochs": 4,
    "parameters": {"training.learning_rate": {"choices": [3e-3, 1e30]}},
}  # fmt: skip


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    return make_store(plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT))


def command(chips: Path, folder: Path, space: object) -> list[str]:
    """The arguments of a sweep in `folder`."""
    folder.mkdir(exist_ok=True)
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(space))
    return [
        "--chips", str(chips), "--output", str(folder / "sweep"), "--space", str(path),
        "--finetune.training.batch", "8", "--finetune.training.worker_cpus", "0.5",
        "--finetune.training.warmup", "0",
    ]  # fmt: skip


def config(chips: Path, folder: Path, space: object) -> SearchSchedulesConfig:
    return parse_config(SearchSchedulesConfig, command(chips, folder, space))


@pytest.mark.slow
def test_a_sweep_that_was_killed_ends_with_all_its_trials(
    ray_cluster: None, checkout: Path, chips: Path, tmp_path: Path
) -> None:
    settings = config(chips, tmp_path, TPE)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, *command(chips, tmp_path, TPE)],
            cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)},
            start_new_session=True, stdout=log, stderr=log,
        )  # fmt: skip
    states = "trials/*/checkpoint_*/state.pt"
    while not list(settings.output.glob(states)) and process.poll() is None:
        time.sleep(0.05)
    # The driver leads the group; Ray's processes follow it and end with it.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    assert list(settings.output.glob(states)), (tmp_path / "log").read_text()
    assert not json.loads((settings.output / "sweep.json").read_text())["finished"]
    begun = {path.parent for path in settings.output.glob("trials/*/params.json")}

    result = search(settings)
    assert [trial.number for trial in result.trials] == [1, 2, 3]
    assert all(trial.status != "failed" for trial in result.trials)
    ended = {path.parent for path in settings.output.glob("trials/*/result.json")}
    assert len(ended) == 3 and begun <= ended, "a trial that had begun was given up"
    full = [trial for trial in result.trials if trial.status == "full"]
    assert full and all(trial.epochs == 9 and trial.ms_per_chip for trial in full)

    again = search(settings)
    assert not again.searched and again.trials == result.trials
    with pytest.raises(OutputMismatchError, match="nothing was touched"):
        search(config(chips, tmp_path, TPE | {"epochs": 8}))

    compared = compare(CompareTrialsConfig(sweep=settings.output))
    assert compared.winner == result.winner and compared.winner in compared.front
    taken = parse_config(FinetuneMapsConfig, [str(result.config)])
    assert taken.training.learning_rate == result.winner.point["training.learning_rate"]
    assert taken.training.epochs == 9


@pytest.mark.slow
def test_a_trial_that_fails_stops_no_other(ray_cluster: None, chips: Path, tmp_path: Path) -> None:
    result = search(config(chips, tmp_path, GRID))
    assert [trial.status for trial in result.trials] == ["full", "failed"]
    assert "not finite" in result.trials[1].reason
    assert result.winner == result.trials[0]
    assert any("trial 2 failed" in line for line in result.summary())


def test_a_store_without_labels_or_validation_is_refused(tmp_path: Path) -> None:
    for name, plan, told in (
        ("bare", {"labelled": False, "split": SPLIT}, "no labels"),
        ("unsplit", {}, "no chips of split 'val'"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        chips = make_store(plan_store(folder / "s", folder / "c.zarr", **plan))  # type: ignore[arg-type]
        with pytest.raises(ChipStoreError, match=told):
            search(config(chips, folder, TPE))
        assert not (folder / "sweep").exists()


def test_more_cpus_than_there_are_are_refused_instead_of_waited_for(
    chips: Path, tmp_path: Path
) -> None:
    args = [*command(chips, tmp_path, TPE), "--resources.num_cpus", "2"]
    args += ["--finetune.training.worker_cpus", "3"]
    with pytest.raises(ConfigError, match="do not fit into 2 CPUs"):
        search(parse_config(SearchSchedulesConfig, args))
