"""Encoders of segmentation-models-pytorch, with random weights."""

from typing import Any

from torch import nn

from noise2map_core.models.backbone import let_torchvision_import

MIT_WIDTHS = 64, 128, 320, 512
"""Of a mix transformer (Xie et al. 2021), at strides 4, 8, 16 and 32."""


def build_encoder(name: str, num_bands: int, depth: int, **arguments: Any) -> Any:
    """An encoder of so many halvings; its levels above stand in `out_channels`."""
    let_torchvision_import()
    # Seconds, which networks of our own spare.
    from segmentation_models_pytorch.encoders import get_encoder

    return get_encoder(name, in_channels=num_bands, depth=depth, weights=None, **arguments)


def build_efficientnet(name: str, num_bands: int, depth: int) -> Any:
    """An EfficientNet of timm without the blocks that are not asked for."""
    encoder = build_encoder(name, num_bands, depth)
    encoder.model.blocks = encoder.model.blocks[:depth]
    return encoder


def build_mix_transformer(num_bands: int, depths: tuple[int, int, int, int], patch: int) -> Any:
    """A mix transformer with so many blocks at each of its four levels, each of which begins with a
    convolution of `patch` pixels."""
    let_torchvision_import()
    # As above.
    from segmentation_models_pytorch.encoders.mix_transformer import MixVisionTransformerEncoder

    encoder: Any = MixVisionTransformerEncoder(
        out_channels=(num_bands, 0, *MIT_WIDTHS), in_chans=num_bands, depth=5, depths=depths,
        embed_dims=MIT_WIDTHS, num_heads=(1, 2, 4, 8), mlp_ratios=(4, 4, 4, 4), qkv_bias=True,
        sr_ratios=(8, 4, 2, 1),
    )  # fmt: skip
    for level in (encoder.patch_embed2, encoder.patch_embed3, encoder.patch_embed4):
        old = level.proj
        level.proj = nn.Conv2d(
            old.in_channels, old.out_channels, patch, stride=2, padding=patch // 2
        )
    return encoder
