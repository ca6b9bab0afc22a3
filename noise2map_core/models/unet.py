"""The network: a diffusion UNet on patches for context, and a pixel path for detail."""

from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from noise2map_core.models.config import ModelConfig
from noise2map_core.models.spec import NetworkSpec


def network_of(model: ModelConfig) -> NetworkSpec:
    """The network of a preset."""
    assert model.preset == "tiny"
    return NetworkSpec(
        patch=2,
        block_channels=(32, 48, 64),
        layers_per_block=1,
        norm_groups=8,
        context_channels=16,
        detail_channels=32,
    )


class ContextUNet(nn.Module):
    """UNet2DModel on patches: pixel-unshuffle and a convolution before, the reverse behind.

    The stem goes straight to the full width, so the bands meet no bottleneck, and the backbone does
    not depend on how many there are. Patches make it several times faster than pixels would.
    """

    def __init__(self, network: NetworkSpec, in_channels: int) -> None:
        super().__init__()
        width, pixels = network.block_channels[0], network.patch**2
        depth = len(network.block_channels)
        self.unshuffle = nn.PixelUnshuffle(network.patch)
        self.stem = nn.Conv2d(in_channels * pixels, width, 3, padding=1)
        self.backbone: Any = UNet2DModel(
            in_channels=width,
            out_channels=width,
            block_out_channels=network.block_channels,
            layers_per_block=network.layers_per_block,
            norm_num_groups=network.norm_groups,
            down_block_types=("DownBlock2D",) * depth,
            up_block_types=("UpBlock2D",) * depth,
            add_attention=False,
        )
        self.head = nn.Conv2d(width, network.context_channels * pixels, 3, padding=1)
        self.shuffle = nn.PixelShuffle(network.patch)

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Features [B, context_channels, H, W] of `x` [B, in_channels, H, W] at `timesteps` [B]."""
        features = self.backbone(self.stem(self.unshuffle(x)), timesteps).sample
        shuffled: Tensor = self.shuffle(self.head(features))
        return shuffled


class PairNetwork(nn.Module):
    """Class logits of a corrupted image pair, from each pixel's own values and from its context.

    The pixel path sees the pair, the size of its difference per band, and the length of the change
    vector; neither depends on the order of the dates. So it finds spectral change from the first
    steps on. With few labels a UNet alone learns by heart where in the training scene the labels
    lie, and misses changes of a kind, size or setting that it has not seen.
    """

    def __init__(self, network: NetworkSpec, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.context = ContextUNet(network, in_channels)
        width = network.detail_channels
        seen = in_channels + in_channels // 2 + 1 + network.context_channels
        self.pixel = nn.Sequential(
            nn.Conv2d(seen, width, 1),
            nn.SiLU(),
            nn.Conv2d(width, width, 1),
            nn.SiLU(),
            nn.Conv2d(width, num_classes, 1),
        )

    def forward(self, x: Tensor, timesteps: Tensor, keep_context: Tensor | None = None) -> Tensor:
        """Logits [B, K, H, W] of a pair [B, 2·C, H, W] at `timesteps` (int64 [B]).

        H and W are multiples of `network.stride`. `keep_context` bool [B] (training only): where
        False, the pixel path is on its own; None: everywhere True.
        """
        before, after = x.chunk(2, dim=1)
        change = (before - after).abs()
        length = torch.linalg.vector_norm(change, dim=1, keepdim=True)
        context = self.context(x, timesteps)
        if keep_context is not None:
            context = context * keep_context.to(context.dtype)[:, None, None, None]
        logits: Tensor = self.pixel(torch.cat([x, change, length, context], dim=1))
        return logits
