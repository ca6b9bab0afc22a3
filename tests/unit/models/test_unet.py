import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from noise2map_core.models.config import ModelConfig
from noise2map_core.models.unet import PairNetwork, network_of

TINY = network_of(ModelConfig(preset="tiny"))


@pytest.mark.parametrize("bands", [3, 6])
def test_tiny_takes_at_most_one_gflop_a_chip_of_64_pixels(bands: int) -> None:
    network = PairNetwork(TINY, 2 * bands, 2)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 2 * bands, 64, 64), torch.tensor([999]))
    assert counter.get_total_flops() <= 1e9


@pytest.mark.parametrize("side", [1, 3, 8])
def test_any_multiple_of_the_stride_is_a_chip(side: int) -> None:
    px = side * TINY.stride
    with torch.inference_mode():
        logits = PairNetwork(TINY, 8, 2)(torch.randn(2, 8, px, px), torch.tensor([0, 999]))
    assert logits.shape == (2, 2, px, px)


def test_without_context_a_pixel_sees_itself_alone() -> None:
    network = PairNetwork(TINY, 4, 2).eval()
    image = torch.randn(1, 4, 16, 16)
    elsewhere = image.clone()
    elsewhere[:, :, :8] += 1
    with torch.inference_mode():
        alone, other = (
            network(x, torch.tensor([999]), torch.tensor([False])) for x in (image, elsewhere)
        )
        seen, other_seen = (network(x, torch.tensor([999])) for x in (image, elsewhere))
    assert torch.equal(alone[:, :, 8:], other[:, :, 8:])
    assert not torch.equal(seen[:, :, 8:], other_seen[:, :, 8:])
