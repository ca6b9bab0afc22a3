import logging
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from noise2map_core.models import packed_conv
from noise2map_core.models.fixed_time import FixedTimeUNet, accelerate, unfoldable
from noise2map_core.models.packed_conv import upsampled_kernel


def random_unet(**changes: Any) -> UNet2DModel:
    """A small UNet2DModel; norms get weights of their own, as training would give them."""
    arguments = {
        "in_channels": 5,
        "out_channels": 3,
        "block_out_channels": (8, 12, 20),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
        "attention_head_dim": 4,
    }
    unet = UNet2DModel(**(arguments | changes))
    for part in unet.modules():
        if isinstance(part, nn.GroupNorm):
            nn.init.normal_(part.weight, 1.0, 0.3)
            nn.init.normal_(part.bias, 0.0, 0.3)
    return unet.eval()


def relative_error(value: Tensor, exact: Tensor) -> float:
    return float((value - exact).abs().max() / exact.abs().max())


ARCHITECTURES = st.fixed_dictionaries(
    {
        "layers_per_block": st.integers(1, 2),
        "block_out_channels": st.sampled_from([(8, 12, 20), (4, 4, 28), (36, 24, 12)]),
        "in_channels": st.sampled_from([1, 3, 7]),
        "out_channels": st.sampled_from([2, 5]),
        "attention_head_dim": st.sampled_from([4, None]),
        "add_attention": st.booleans(),
        "downsample_padding": st.integers(0, 1),
        "downsample_type": st.sampled_from(["conv", "resnet"]),
        "upsample_type": st.sampled_from(["conv", "resnet"]),
        "resnet_time_scale_shift": st.sampled_from(["default", "scale_shift"]),
        "attn_norm_num_groups": st.just(4),
        "mid_block_scale_factor": st.sampled_from([1, 1.5]),
        "mid_block_type": st.sampled_from(["UNetMidBlock2D", None]),
        "center_input_sample": st.booleans(),
        "time_embedding_type": st.just("positional"),
        "freq_shift": st.integers(0, 1),
        "flip_sin_to_cos": st.booleans(),
        "dropout": st.sampled_from([0.0, 0.5]),
    }
)


@given(changes=ARCHITECTURES, timestep=st.integers(0, 999), batch=st.integers(1, 3))
@settings(max_examples=25)
def test_the_folded_unet_equals_diffusers(
    changes: dict[str, Any], timestep: int, batch: int
) -> None:
    unet = random_unet(**changes)
    sample = torch.randn(batch, changes["in_channels"], 16, 24)
    with torch.inference_mode():
        exact = unet(sample, timestep).sample
        folded = accelerate(unet, timestep, torch.float32)(sample, timestep).sample
    assert relative_error(folded, exact) < 1e-5


@pytest.mark.parametrize("layers", [1, 2])
def test_bfloat16_stays_within_a_few_roundings(layers: int) -> None:
    unet, sample = random_unet(layers_per_block=layers), torch.randn(2, 5, 32, 32)
    with torch.inference_mode():
        exact = unet(sample, 999).sample
        folded = accelerate(unet, 999, torch.bfloat16)(sample).sample
    assert folded.dtype == torch.float32
    assert relative_error(folded, exact) < 0.05


def test_another_timestep_than_the_folded_one_is_refused() -> None:
    folded = FixedTimeUNet(random_unet(), 999, torch.float32)
    with pytest.raises(ValueError, match="for timestep 999"):
        folded(torch.zeros(2, 5, 16, 16), torch.tensor([999, 998]))


def test_a_compiler_sees_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    # Packed weights are the CPU's; a GPU, where networks are compiled, has none.
    monkeypatch.setattr(packed_conv, "can_pack", lambda weight: False)
    folded, sample = accelerate(random_unet(), 999, torch.float32), torch.randn(2, 5, 16, 16)
    whole = torch.compile(folded, backend="eager", fullgraph=True, dynamic=False)
    with torch.inference_mode():
        timesteps = torch.full((2,), 999)
        assert torch.equal(whole(sample, timesteps).sample, folded(sample, timesteps).sample)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_chip_does_not_depend_on_its_neighbours(dtype: torch.dtype) -> None:
    folded = accelerate(random_unet(), 500, dtype)
    chips = torch.randn(4, 5, 32, 32)
    others = torch.cat([torch.full_like(chips[:1], 1e4), chips[1:2], 1e3 * chips[2:]])
    with torch.inference_mode():
        assert torch.equal(folded(chips).sample[1], folded(others).sample[1])


def test_a_network_keeps_its_own_layers_and_weights_around_the_unet() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.backbone = nn.Conv2d(2, 5, 3, padding=1), random_unet()

        def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
            features: Tensor = self.backbone(self.stem(x), timesteps).sample
            return features

    network = Network().eval()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    x, timesteps = torch.randn(2, 2, 16, 16), torch.tensor([7, 7])
    with torch.inference_mode():
        fast = accelerate(network, 7, torch.float32)
        assert relative_error(fast(x, timesteps), network(x, timesteps)) < 1e-5
    assert isinstance(fast.backbone, FixedTimeUNet)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"down_block_types": ("DownBlock2D", "SkipDownBlock2D", "DownBlock2D")}, "SkipDownBlock"),
        ({"act_fn": "gelu"}, "gelu"),
        ({"num_class_embeds": 3}, "class labels"),
        ({"time_embedding_type": "fourier"}, "Fourier"),
    ],
)
def test_what_cannot_be_folded_runs_as_it_is_and_says_so(
    changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    arguments: dict[str, Any] = {"block_out_channels": (8, 16, 32)} | changes
    unet = random_unet(**arguments)
    assert reason in str(unfoldable(unet))
    with caplog.at_level(logging.WARNING):
        unfolded = accelerate(unet, 999, torch.bfloat16)
    assert type(unfolded) is UNet2DModel
    assert reason in caplog.text


@given(num_in=st.integers(1, 4), num_out=st.integers(1, 4), side=st.integers(1, 5))
def test_a_transposed_convolution_equals_upsampling_and_convolution(
    num_in: int, num_out: int, side: int
) -> None:
    x = torch.randn(1, num_in, side, side + 1, dtype=torch.float64)
    weight = torch.randn(num_out, num_in, 3, 3, dtype=torch.float64)
    exact = F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, padding=1)
    value = F.conv_transpose2d(x, upsampled_kernel(weight), stride=2, padding=1)
    torch.testing.assert_close(value, exact)
