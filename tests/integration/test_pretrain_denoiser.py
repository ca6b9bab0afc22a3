"""Unlabelled images → Ray Train → backbone → fine-tuning, in small, on real scenes."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from noise2map_core.distributed.fitting.run import finetune
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.denoiser import load_denoiser
from noise2map_core.runtime.errors import CheckpointError, OutputMismatchError
from noise2map_core.settings.learning import ImagesConfig, PretrainingConfig, TrainingConfig
from noise2map_core.settings.network import ModelConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.pretrain_denoiser import PretrainDenoiserConfig
from pipelines.pretrain_denoiser import run as pretrain
from tests.chip_factories import make_store, plan_store
from tests.integration.test_finetune_maps import SPLIT

pytestmark = pytest.mark.slow

SHORT = PretrainingConfig(
    epochs=2, batch=16, checkpoint_epochs=1, worker_cpus=0.5, ema_decay=0.9, learning_rate=3e-3
)
EVERY = 10
"""Of the real images, as many as train in seconds."""


@pytest.fixture(scope="module")
def settings(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainDenoiserConfig:
    folder = tmp_path_factory.mktemp("pretrained")
    return PretrainDenoiserConfig(
        images=ImagesConfig(root=some_of(real_data / "aid150.tar", folder / "few.tar"), chip_px=32),
        output=folder / "out",
        training=SHORT,
    )


def some_of(whole: Path, part: Path) -> Path:
    """A tar of every tenth image."""
    with tarfile.open(whole) as source, tarfile.open(part, "w") as target:
        for member in [one for one in source.getmembers() if one.isfile()][::EVERY]:
            target.addfile(member, source.extractfile(member))
    return part


@pytest.fixture(scope="module")
def pretrained(ray_cluster: None, settings: PretrainDenoiserConfig) -> Path:
    assert pretrain(settings).trained
    return settings.output


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    return make_store(plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT))


def test_real_images_are_learnt_to_be_denoised(pretrained: Path) -> None:
    history = json.loads((pretrained / "run.json").read_text())["history"]
    assert [entry["epoch"] for entry in history] == [1, 2]
    assert history[1]["val_loss"] < history[0]["val_loss"] < 1
    with Image.open(pretrained / "examples.png") as picture:
        assert picture.width > picture.height > 300


def test_a_finished_run_trains_nothing_and_other_settings_are_refused(
    pretrained: Path, settings: PretrainDenoiserConfig
) -> None:
    assert not pretrain(settings).trained
    with pytest.raises(OutputMismatchError, match="other settings"):
        pretrain(settings.model_copy(update={"seed": 1}))


def test_fine_tuning_starts_from_the_backbone(
    pretrained: Path, chips: Path, ray_cluster: None, tmp_path: Path
) -> None:
    still = TrainingConfig(
        epochs=1, batch=8, checkpoint_epochs=1, worker_cpus=0.5, weight_decay=0.0,
        learning_rate=1e-12,
    )  # fmt: skip
    config = FinetuneMapsConfig(
        chips=chips,
        output=tmp_path,
        model=ModelConfig(backbone=pretrained / "checkpoint"),
        training=still,
    )
    finetune(config)
    learnt: Any = load_denoiser(pretrained / "checkpoint").backbone
    tuned: Any = load_checkpoint(tmp_path / "checkpoint").network
    for name, weight in learnt.state_dict().items():
        moved = (tuned.backbone.state_dict()[name] - weight).abs().max()
        assert moved < 1e-7, name  # by rounding of the moving average


def test_a_backbone_of_another_preset_is_one_line(
    pretrained: Path, chips: Path, tmp_path: Path
) -> None:
    config = FinetuneMapsConfig(
        chips=chips,
        output=tmp_path / "tuned",
        model=ModelConfig(preset="small", backbone=pretrained / "checkpoint"),
    )
    with pytest.raises(CheckpointError, match=r"block_out_channels .* Set model\.preset"):
        finetune(config)
    assert not (tmp_path / "tuned").exists()
