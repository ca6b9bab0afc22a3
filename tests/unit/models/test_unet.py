import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from noise2map_core.models.noise2map import count_parameters
from noise2map_core.models.presets import network_of
from noise2map_core.models.spec import PatchUNetSpec, ReferenceSpec
from noise2map_core.models.unet import PatchUNet, ReferenceNetwork, TaskShape
from noise2map_core.settings.network import Preset, Task

T = torch.tensor([999])


def shapes(bands: int = 3) -> dict[Task, TaskShape]:
    return {"change": TaskShape(2, bands, 2), "segment": TaskShape(1, bands, 5)}


def patch_unet(preset: Preset, bands: int = 3) -> PatchUNet:
    network = network_of(preset, 128)
    assert isinstance(network, PatchUNetSpec)
    return PatchUNet(network, shapes(bands)).eval()


def gflop(network: nn.Module, channels: int, px: int) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network("change", torch.zeros(1, channels, px, px), T)
    return counter.get_total_flops() / 1e9


@pytest.mark.parametrize("bands", [3, 6])
def test_tiny_takes_at_most_two_and_small_five_gflop_a_chip_of_128_pixels(bands: int) -> None:
    assert gflop(patch_unet("tiny", bands), 2 * bands, 128) <= 2.1
    assert gflop(patch_unet("small", bands), 2 * bands, 128) <= 5.1 - 0.1 * (bands == 3)


def test_the_reference_has_the_published_size() -> None:
    network = network_of("reference", 256)
    assert isinstance(network, ReferenceSpec)
    with torch.device("meta"):
        reference = ReferenceNetwork(network, {"change": TaskShape(2, 3, 2)})
        base = patch_unet("base").backbone
    assert count_parameters(reference.backbone) / 1e6 == pytest.approx(113.67, abs=0.01)
    assert count_parameters(base) / 1e6 == pytest.approx(113.67, abs=0.5)


@pytest.mark.parametrize("preset", ["tiny", "small"])
@pytest.mark.parametrize("side", [1, 3, 8])
def test_any_multiple_of_the_stride_is_a_chip(preset: Preset, side: int) -> None:
    px = side * network_of(preset, 128).stride
    network = patch_unet(preset, 4)
    with torch.inference_mode():
        change = network("change", torch.randn(2, 8, px, px), torch.tensor([0, 999]))
        segment = network("segment", torch.randn(2, 4, px, px), torch.tensor([0, 999]))
    assert change.shape == (2, 2, px, px)
    assert segment.shape == (2, 5, px, px)


def test_tasks_share_the_backbone_and_nothing_else() -> None:
    network = patch_unet("tiny")
    loss = network("change", torch.randn(1, 6, 32, 32), T).sum()
    loss.backward()
    moved = {
        ".".join(name.split(".")[:2])
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    assert {"stems.change", "heads.change"} <= moved
    assert not moved & {"stems.segment", "heads.segment"}
    assert any(name.startswith("backbone.") for name in moved)


def test_without_context_a_pixel_sees_itself_alone() -> None:
    network = patch_unet("tiny", 2)
    image = torch.randn(1, 4, 16, 16)
    elsewhere = image.clone()
    elsewhere[:, :, :8] += 1
    alone_only = torch.tensor([False])
    with torch.inference_mode():
        alone, other = (network("change", x, T, alone_only) for x in (image, elsewhere))
        seen, other_seen = (network("change", x, T) for x in (image, elsewhere))
    assert torch.equal(alone[:, :, 8:], other[:, :, 8:])
    assert not torch.equal(seen[:, :, 8:], other_seen[:, :, 8:])
