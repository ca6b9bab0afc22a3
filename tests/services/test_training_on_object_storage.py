"""Trainings whose output is objects: nothing is seen half, and a killed one goes on from there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
import torch
from pydantic import BaseModel

from noise2map_core.distributed.fitting.run import finetune
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.denoiser import load_denoiser
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.presets import network_of
from noise2map_core.models.spec import SPEC_NAME, WEIGHTS_NAME
from noise2map_core.models.start import start_from
from noise2map_core.runtime import storage
from noise2map_core.runtime.errors import CheckpointError, OutputError
from noise2map_core.runtime.storage import files_in, location
from noise2map_core.settings.learning import PretrainingConfig, TrainingConfig
from noise2map_core.training.curve import CURVE_FILE, read_losses
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.pretrain_denoiser import PretrainDenoiserConfig
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec
from tests.integration.test_finetune_maps import SPLIT

pytestmark = pytest.mark.services

SHORT = {"epochs": 2, "batch": 8, "checkpoint_epochs": 1, "worker_cpus": 0.5}
EXPIRE_S = 4.0
"""Of leases here; no sooner may one be taken over from a run that was killed."""
RUN = f"""
import sys
from importlib import import_module
from noise2map_core.runtime import lease
lease.EXPIRE_S, lease.RENEW_S = {EXPIRE_S}, 0.5
application, config, settings = sys.argv[1:]
module = import_module("pipelines." + application)
module.run(getattr(module, config).model_validate_json(settings))
"""


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    return make_store(plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT))


@pytest.fixture
def place(s3: str) -> Path:
    return location(f"{s3}/{uuid4().hex}")


def config(chips: Path, output: Path, **training: object) -> FinetuneMapsConfig:
    return FinetuneMapsConfig(
        chips=chips, output=output, training=TrainingConfig.model_validate(SHORT | training)
    )


def start(settings: BaseModel, checkout: Path, log: Path) -> "subprocess.Popen[bytes]":
    """A run in a process group and on a cluster of its own, which knows of the server."""
    application = type(settings).__module__.rpartition(".")[2]
    command = [sys.executable, "-c", RUN, application, type(settings).__name__]
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [*command, settings.model_dump_json()],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            start_new_session=True,
            stderr=stderr,
        )


def end(settings: BaseModel, checkout: Path, log: Path) -> None:
    """Run to the end."""
    assert start(settings, checkout, log).wait(timeout=300) == 0, log.read_text()


def is_kept(output: Path) -> bool:
    """Whether Ray Train knows of a state to go on from."""
    return (output / "state" / "train" / "checkpoint_manager_snapshot.json").exists()


@pytest.mark.timeout(900)
def test_a_run_that_was_killed_goes_on_from_objects_to_the_bytes_of_one_on_a_disk(
    ray_cluster: None, place: Path, chips: Path, checkout: Path, tmp_path: Path
) -> None:
    settings, log = config(chips, place, checkpoint_steps=2), tmp_path / "stderr"
    process = start(settings, checkout, log)
    while not is_kept(place) and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    assert is_kept(place), log.read_text()
    assert not (place / "checkpoint").exists()
    time.sleep(EXPIRE_S)
    end(settings, checkout, log)
    calm = config(chips, tmp_path / "calm", checkpoint_steps=2)
    assert finetune(calm).trained
    for name in (WEIGHTS_NAME, SPEC_NAME):
        there, here = (one.output / "checkpoint" / name for one in (settings, calm))
        assert there.read_bytes() == here.read_bytes()
    assert read_losses(place / "state" / CURVE_FILE) == read_losses(
        calm.output / "state" / CURVE_FILE
    )
    begun = [file for file in files_in(place / "tensorboard") if file.name.endswith(".000000000")]
    assert len(begun) == 1, "the second run began anew"
    assert load_checkpoint(place / "checkpoint").spec.tasks.keys() == {"change"}
    assert (place / "report.html").read_text().startswith("<!doctype html>")
    assert not finetune(settings).trained


def test_a_bucket_that_is_not_there_is_one_line(s3: str, chips: Path) -> None:
    said = r"^cannot write s3://none/run/state: NoSuchBucket: .*Set another --output\.$"
    with pytest.raises(OutputError, match=said):
        finetune(config(chips, location("s3://none/run")))


@pytest.mark.parametrize("uploads", [0, 1, 2])
def test_a_checkpoint_cut_off_is_refused_and_never_mixed_with_another(
    place: Path, uploads: int
) -> None:
    old, new = (Noise2Map(checkpoint_spec()) for _ in range(2))
    _save_in_part(new, place, uploads)
    with pytest.raises(CheckpointError, match=f"no {SPEC_NAME}"):
        load_checkpoint(place)
    save_checkpoint(old, old.spec, place, "# old\n")
    _save_in_part(new, place, uploads)
    if uploads < 2:  # the weights are not there yet
        assert same_weights(load_checkpoint(place), old)
    else:
        with pytest.raises(CheckpointError, match="SHA-256 differs"):
            load_checkpoint(place)
    save_checkpoint(new, new.spec, place, "# new\n")
    assert same_weights(load_checkpoint(place), new)


def _save_in_part(model: Noise2Map, path: Path, uploads: int) -> None:
    """As a process does that dies behind so many uploads of three."""
    done: list[Path] = []

    def upload(file: Path, target: Path) -> None:
        if len(done) == uploads:
            raise KeyboardInterrupt
        done.append(target)
        whole(file, target)

    whole = storage.upload
    with patch("noise2map_core.runtime.storage.upload", upload), pytest.raises(KeyboardInterrupt):
        save_checkpoint(model, model.spec, path, "# cut off\n")


def same_weights(one: Noise2Map, other: Noise2Map) -> bool:
    return all(
        torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items()
    )


@pytest.mark.timeout(600)
def test_a_denoiser_of_objects_is_a_backbone_to_start_from(
    place: Path, chips: Path, checkout: Path, tmp_path: Path
) -> None:
    training = PretrainingConfig.model_validate(SHORT | {"epochs": 1})
    settings = PretrainDenoiserConfig(chips=chips, output=place, training=training)
    end(settings, checkout, tmp_path / "stderr")
    assert (place / "examples.png").read_bytes().startswith(b"\x89PNG")
    denoiser = load_denoiser(place / "checkpoint")
    model: Any = Noise2Map(checkpoint_spec(network=network_of("tiny", 32)))
    start_from(model, place / "checkpoint")
    learnt, started = (one.state_dict() for one in (denoiser.backbone, model.network.backbone))
    assert all(torch.equal(weight, started[name]) for name, weight in learnt.items())
