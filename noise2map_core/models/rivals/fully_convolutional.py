"""FC-EF, FC-Siam-conc and FC-Siam-diff (Daudt, Le Saux & Boulch, ICIP 2018)."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

LEVELS = ((16, 16), (32, 32), (64, 64, 64), (128, 128, 128))
"""Widths of the convolutions of each level, from full resolution down."""
DROPPED = 0.2
"""Share of the channels that training leaves out after each convolution."""


class FullyConvolutional(nn.Module):
    """A small UNet: of both dates at once (`early`), or one encoder of each, whose features meet in
    the skips. There the deepest level is the later date's alone, as published."""

    width, head_px = LEVELS[0][0], 3

    def __init__(
        self, num_bands: int, fusion: Literal["early", "concatenation", "difference"]
    ) -> None:
        super().__init__()
        self.fusion = fusion
        seen = 2 * num_bands if fusion == "early" else num_bands
        above = [seen, *(level[-1] for level in LEVELS)]
        self.down = nn.ModuleList(
            _convolutions((wide, *level)) for wide, level in zip(above, LEVELS, strict=False)
        )
        skips = 2 if fusion == "concatenation" else 1
        self.rise = nn.ModuleList(_doubled(level[0]) for level in LEVELS)
        # Down to the width of the level above; the uppermost leaves its last one to the head.
        self.up = nn.ModuleList(
            _convolutions(((1 + skips) * level[0], *level[1:], *out))
            for level, out in zip(LEVELS, ((), (16,), (32,), (64,)), strict=True)
        )

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Features [B, width, H, W] of two dates [B, C, H, W]."""
        if self.fusion == "early":
            skips = self._encoded(torch.cat([before, after], dim=1))
            fused = skips
        else:
            earlier, skips = self._encoded(before), self._encoded(after)
            fused = [self._fused(*pair) for pair in zip(earlier, skips, strict=True)]
        x = _halved(skips[-1])
        for rise, up, skip in reversed(list(zip(self.rise, self.up, fused, strict=True))):
            x = up(torch.cat([rise(x), skip], dim=1))
        return x

    def _encoded(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for level in self.down:
            found.append(level(_halved(found[-1]) if found else x))
        return found

    def _fused(self, before: Tensor, after: Tensor) -> Tensor:
        if self.fusion == "difference":
            return (before - after).abs()
        return torch.cat([before, after], dim=1)


def _convolutions(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for wide, out in pairwise(widths):
        layers += [
            nn.Conv2d(wide, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(),
            nn.Dropout2d(DROPPED),
        ]  # fmt: skip
    return nn.Sequential(*layers)


def _doubled(channels: int) -> nn.Module:
    return nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1)


def _halved(x: Tensor) -> Tensor:
    return nn.functional.max_pool2d(x, 2)
