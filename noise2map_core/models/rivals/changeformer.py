"""ChangeFormer V6 (Bandara & Patel, IGARSS 2022), at its published width of 256.

Its four maps of lower resolution, which are there to be supervised in training, are left out: they
have 19 thousand weights, and the map does not depend on them.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from noise2map_core.models.rivals.encoders import MIT_WIDTHS, build_mix_transformer

WIDTH = 256
DEPTHS, PATCH = (3, 3, 4, 3), 7
RESIDUAL = 0.1
"""Weight of what a residual block adds."""


class ChangeFormer(nn.Module):
    """One mix transformer sees each date; what differs goes up through four levels."""

    width, head_px = WIDTH, 3

    def __init__(self, num_bands: int) -> None:
        super().__init__()
        self.encoder = build_mix_transformer(num_bands, DEPTHS, PATCH)
        self.narrow = nn.ModuleList(nn.Conv2d(wide, WIDTH, 1) for wide in MIT_WIDTHS)
        self.apart = nn.ModuleList(_difference() for _ in MIT_WIDTHS)
        self.fuse = nn.Sequential(
            nn.Conv2d(len(MIT_WIDTHS) * WIDTH, WIDTH, 1), nn.BatchNorm2d(WIDTH)
        )
        self.up = nn.Sequential(_doubled(), _Residual(), _doubled(), _Residual())

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Features [B, width, H, W] of two dates [B, C, H, W]."""
        found: list[Tensor] = []  # from the deepest level up
        levels = list(zip(self._encoded(before), self._encoded(after), self.apart, strict=True))
        for one, other, apart in reversed(levels):
            differs = apart(torch.cat([one, other], dim=1))
            found.append(differs + _resized(found[-1], differs) if found else differs)
        fused = self.fuse(torch.cat([_resized(level, found[-1]) for level in found], dim=1))
        risen: Tensor = self.up(fused)
        return risen

    def _encoded(self, x: Tensor) -> list[Tensor]:
        levels = self.encoder(x)[-len(MIT_WIDTHS) :]
        return [narrow(level) for narrow, level in zip(self.narrow, levels, strict=True)]


def _difference() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(WIDTH),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


def _doubled() -> nn.Module:
    return nn.ConvTranspose2d(WIDTH, WIDTH, 4, stride=2, padding=1)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return interpolate(x, size=like.shape[2:], mode="bilinear")


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + RESIDUAL * self.layers(x)
        return added
