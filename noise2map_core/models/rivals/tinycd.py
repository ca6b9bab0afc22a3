"""TinyCD (Codegoni, Lombardi & Ferrari, 2022), of the first levels of EfficientNet-B4."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from noise2map_core.models.rivals.encoders import build_efficientnet

WIDE = 64
"""Of what goes up through the levels."""


class TinyCD(nn.Module):
    """Bands of both dates are mixed pairwise; masks of the upper levels gate what comes up."""

    width, head_px = 8, 1

    def __init__(self, num_bands: int) -> None:
        super().__init__()
        self.encoder = build_efficientnet("tu-tf_efficientnet_b4", num_bands, depth=3)
        half, quarter, eighth = self.encoder.out_channels[1:]
        self.masks = nn.ModuleList(
            [
                _Mask(num_bands, (10, 5)),
                _Mask(half, (half // 2, half // 4)),
                _Mask(quarter, (quarter // 2, quarter // 4)),
            ]
        )
        self.deepest = _Mixed(eighth)
        self.up = nn.ModuleList([_up(WIDE, WIDE // 2), _up(WIDE, WIDE), _up(eighth, WIDE)])
        self.told = _perceptron((WIDE // 2, 16, self.width))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Features [B, width, H, W] of two dates [B, C, H, W]."""
        dates = [self.encoder(x) for x in (before, after)]
        *upper, deepest = zip(*dates, strict=True)
        x = self.deepest(*deepest)
        for pair, mask, up in reversed(list(zip(upper, self.masks, self.up, strict=True))):
            gate = mask(*pair)
            x = up(interpolate(x, size=gate.shape[2:], mode="bilinear") * gate)
        told: Tensor = self.told(x)
        return told


class _Mixed(nn.Module):
    """Each channel of one date with the same of the other, [B, C, h, w] each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1, groups=channels),
            nn.PReLU(),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        mixed: Tensor = self.layers(torch.stack([before, after], dim=2).flatten(1, 2))
        return mixed


class _Mask(nn.Module):
    """Of two dates one channel, [B, 1, h, w]."""

    def __init__(self, channels: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.mixed, self.told = _Mixed(channels), _perceptron((channels, *hidden, 1))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        mask: Tensor = self.told(self.mixed(before, after))
        return mask


def _perceptron(widths: tuple[int, ...]) -> nn.Sequential:
    """Of each pixel."""
    layers: list[nn.Module] = []
    for wide, out in pairwise(widths):
        layers += [nn.Conv2d(wide, out, 1), nn.PReLU()]
    return nn.Sequential(*layers)


def _up(wide: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(wide, wide, 3, padding=1, groups=wide), nn.PReLU(), nn.InstanceNorm2d(wide),
        nn.Conv2d(wide, out, 1), nn.PReLU(), nn.InstanceNorm2d(out),
    )  # fmt: skip
