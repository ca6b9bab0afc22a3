"""Denoisers: their checkpoints, and models that start from them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel

from noise2map_core.models.backbone import WEIGHTS_NAME, read_unet_weights
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.denoiser import (
    OUTER_NAME,
    SPEC_NAME,
    Denoiser,
    DenoiserSpec,
    load_denoiser,
    save_denoiser,
)
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.presets import plain_unet
from noise2map_core.models.spec import Normalisation, PatchUNetSpec, SegmentationModelSpec
from noise2map_core.models.start import require_start, start_from
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.settings.diffusion import DenoisingConfig
from tests.factories import UNET, checkpoint_spec, task_spec


def denoiser(bands: tuple[str, ...] = ("green", "red"), **changes: Any) -> Denoiser:
    zeros, ones = ((number,) * len(bands) for number in (0.0, 1.0))
    fields: dict[str, Any] = {
        "preset": "tiny",
        "network": PatchUNetSpec(patch=2, unet=UNET),
        "bands": bands,
        "normalisation": Normalisation(mean=(zeros,), std=(ones,)),
        "denoising": DenoisingConfig(),
        "chip_px": 16,
        "code_version": "0",
        **changes,
    }
    torch.manual_seed(5)
    return Denoiser(DenoiserSpec(**fields))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_denoiser(denoiser(), tmp_path / "denoiser", "card")
    return tmp_path / "denoiser"


def both_tasks(**changes: Any) -> Noise2Map:
    tasks = {name: task_spec(name) for name in ("change", "segment")}
    return Noise2Map(checkpoint_spec(tasks=tasks, **changes))


def same(one: Any, other: Any) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("num_bands", [1, 3, 6])
def test_a_saved_denoiser_loads_as_it_was(tmp_path: Path, num_bands: int) -> None:
    model = denoiser(tuple(f"b{band}" for band in range(num_bands))).eval()
    spec = save_denoiser(model, tmp_path / "c", "card")
    again = load_denoiser(tmp_path / "c")
    assert again.spec == spec
    x_t, timesteps = torch.randn(2, num_bands, 16, 16), torch.tensor([3, 900])
    assert torch.equal(again((x_t, timesteps)), model((x_t, timesteps)))


def test_diffusers_opens_the_backbone(saved: Path) -> None:
    theirs: Any = UNet2DModel.from_config(UNet2DModel.load_config(saved))
    theirs.load_state_dict(read_unet_weights(saved))
    x, timesteps = torch.randn(2, 8, 8, 8), torch.tensor([3, 900])
    expected = denoiser().backbone(x, timesteps).sample
    assert torch.equal(theirs(x, timesteps).sample, expected)


def test_a_model_starts_from_the_backbone_and_its_stems(saved: Path) -> None:
    model, learnt = both_tasks(), denoiser()
    start_from(model, saved)
    network: Any = model.network
    assert same(network.backbone, learnt.backbone)
    assert same(network.stems["segment"], learnt.stem)
    image = torch.randn(2, 2, 16, 16)
    pair = torch.cat([image, image], dim=1)
    torch.testing.assert_close(network.stems["change"](pair), learnt.stem(image))


def test_other_bands_share_the_backbone_alone(tmp_path: Path) -> None:
    learnt = denoiser(("nir", "red"))
    save_denoiser(learnt, tmp_path / "c", "card")
    model, fresh = both_tasks(), both_tasks()
    fresh.load_state_dict(model.state_dict())
    start_from(model, tmp_path / "c")
    network: Any = model.network
    other: Any = fresh.network
    assert same(network.backbone, learnt.backbone)
    assert same(network.stems, other.stems)


def test_a_model_starts_from_a_fine_tuned_one(tmp_path: Path) -> None:
    torch.manual_seed(1)
    learnt = Noise2Map(checkpoint_spec())
    save_checkpoint(learnt, learnt.spec, tmp_path / "c", "card")
    model = both_tasks()
    start_from(model, tmp_path / "c")
    own: Any = model.network
    theirs: Any = learnt.network
    assert same(own.backbone, theirs.backbone)
    assert same(own.stems["change"], theirs.stems["change"])
    assert same(own.heads["change"], theirs.heads["change"])


@pytest.mark.parametrize(
    ("network", "what"),
    [
        (PatchUNetSpec(patch=2, unet=plain_unet((8, 16, 24))), "block_out_channels"),
        (PatchUNetSpec(patch=4, unet=UNET), "their patches differ"),
    ],
    ids=["another depth", "another patch"],
)
def test_another_architecture_is_one_line(saved: Path, network: PatchUNetSpec, what: str) -> None:
    with pytest.raises(CheckpointError, match=rf"{what}.*Set model\.preset") as caught:
        require_start(network, saved)
    assert "\n" not in str(caught.value)


def test_a_network_without_backbone_cannot_start_from_one(saved: Path) -> None:
    baseline = SegmentationModelSpec(architecture="Unet", encoder="resnet18")
    with pytest.raises(ConfigError, match=r"no diffusion backbone.*Leave model\.backbone out"):
        require_start(baseline, saved)


@pytest.mark.parametrize("name", [WEIGHTS_NAME, OUTER_NAME])
def test_changed_weights_are_refused(saved: Path, name: str) -> None:
    content = bytearray((saved / name).read_bytes())
    content[-1] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} is not the file that {SPEC_NAME} names"):
        load_denoiser(saved)
