"""What belongs to a training: the settings that its weights depend on, not where things lie."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel

from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.denoiser import save_denoiser
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.settings.network import ModelConfig
from noise2map_core.training.run import PLACEMENT, learnt_settings
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from tests.factories import UNET, checkpoint_spec
from tests.unit.models.test_denoiser import denoiser


def save(kind: str, path: Path, seed: int) -> None:
    """Random weights of one of the three kinds that a backbone starts from."""
    torch.manual_seed(seed)
    if kind == "checkpoint":
        model = Noise2Map(checkpoint_spec())
        save_checkpoint(model, model.spec, path, "card")
    elif kind == "denoiser":
        model = denoiser()
        torch.nn.init.normal_(model.stem.conv.weight, std=1.0 + seed)
        save_denoiser(model, path, "card")
    else:
        UNet2DModel(**UNET).save_pretrained(path)


def learnt(backbone: Path | None, **training: Any) -> dict[str, Any]:
    config = FinetuneMapsConfig(
        chips=Path("chips.zarr"), output=Path("out"), model=ModelConfig(backbone=backbone)
    )
    training = config.training.model_dump() | training
    return learnt_settings(
        FinetuneMapsConfig.model_validate(config.model_dump() | {"training": training})
    )


@pytest.mark.parametrize("kind", ["checkpoint", "denoiser", "published"])
def test_a_backbone_is_known_by_its_weights_wherever_they_lie(kind: str, tmp_path: Path) -> None:
    for seed in range(2):
        save(kind, tmp_path / str(seed), seed)
    shutil.copytree(tmp_path / "0", tmp_path / "moved")
    here, moved, other = (learnt(tmp_path / name) for name in ("0", "moved", "1"))
    assert here == moved
    assert here["model"]["backbone"] != other["model"]["backbone"]
    assert learnt(None)["model"]["backbone"] is None


def test_a_backbone_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none has no readable config\.json"):
        learnt(tmp_path / "none")


def test_where_it_runs_is_no_part_of_what_is_learnt() -> None:
    assert learnt(None, num_workers=4, compile=True, checkpoint_steps=3) == learnt(None)
    assert learnt(None, epochs=3) != learnt(None)
    assert not PLACEMENT & learnt(None)["training"].keys()
