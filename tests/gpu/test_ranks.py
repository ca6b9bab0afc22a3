"""Trainings on several GPUs of a machine, which talk by NCCL: `pytest -m gpu tests/gpu`."""

from pathlib import Path

import pytest
import torch

from noise2map_core.distributed.fitting.run import finetune
from noise2map_core.training.curve import CURVE_FILE, read_losses
from tests.chip_factories import make_store, plan_store
from tests.integration.test_finetune_maps import SPLIT, config

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    return make_store(plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT))


def losses(chips: Path, output: Path, **training: object) -> list[float]:
    """Of every step of a training whose workers hold a GPU each."""
    assert finetune(config(chips, output, worker_gpus=1.0, compile=False, **training)).trained
    return [loss for _, loss in read_losses(output / "state" / CURVE_FILE)]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_learn_what_one_learns_up_to_rounding(chips: Path, tmp_path: Path) -> None:
    one = losses(chips, tmp_path / "one", accumulation=2)
    two = losses(chips, tmp_path / "two", num_workers=2)
    assert two == pytest.approx(one, rel=1e-3)


def test_a_training_takes_the_gpus_that_there_are(chips: Path, tmp_path: Path) -> None:
    settings = config(chips, tmp_path / "out", epochs=1)
    assert settings.training.worker_gpus == "auto"
    assert finetune(settings).trained
    card = (tmp_path / "out" / "checkpoint" / "README.md").read_text()
    assert torch.cuda.get_device_name() in card
