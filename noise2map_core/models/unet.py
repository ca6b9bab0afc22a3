"""The network: a patch stem, a diffusion UNet with timestep embedding, a pixel-shuffle head."""

from diffusers import UNet2DModel
from torch import Tensor, nn

from noise2map_core.models.config import ModelConfig
from noise2map_core.models.spec import NetworkSpec


def network_of(model: ModelConfig) -> NetworkSpec:
    """The network of a preset."""
    assert model.preset == "tiny"
    return NetworkSpec(patch=2, block_channels=(32, 48, 64), layers_per_block=1, norm_groups=8)


class PatchUNet(nn.Module):
    """UNet2DModel on patches: pixel-unshuffle and a convolution before, the reverse behind.

    The stem goes straight to the full width, so the bands meet no bottleneck, and the backbone
    does not depend on how many there are. The patches make it several times faster than the same
    network on pixels. Input [B, in_channels, H, W] with H and W multiples of `network.stride`;
    output [B, out_channels, H, W].
    """

    def __init__(self, network: NetworkSpec, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width, pixels = network.block_channels[0], network.patch**2
        depth = len(network.block_channels)
        self.unshuffle = nn.PixelUnshuffle(network.patch)
        self.stem = nn.Conv2d(in_channels * pixels, width, 3, padding=1)
        self.backbone = UNet2DModel(
            in_channels=width,
            out_channels=width,
            block_out_channels=network.block_channels,
            layers_per_block=network.layers_per_block,
            norm_num_groups=network.norm_groups,
            down_block_types=("DownBlock2D",) * depth,
            up_block_types=("UpBlock2D",) * depth,
            add_attention=False,
        )
        self.head = nn.Conv2d(width, out_channels * pixels, 3, padding=1)
        self.shuffle = nn.PixelShuffle(network.patch)

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Logits of `x` at `timesteps` (int64 [B])."""
        features = self.backbone(self.stem(self.unshuffle(x)), timesteps).sample
        logits: Tensor = self.shuffle(self.head(features))
        return logits
