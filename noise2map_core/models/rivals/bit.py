"""BIT, the bitemporal image transformer (Chen, Qi & Shi, TGRS 2021), of ResNet-18 at stride 8."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from noise2map_core.models.rivals.encoders import build_encoder

WIDTH, TOKENS = 32, 4
HEADS, HEAD_WIDTH, HIDDEN = 8, 64, 64
DECODERS = 8


class BIT(nn.Module):
    """Each date is told in four tokens; these see each other, and the pixels see them."""

    width, head_px = WIDTH, 3

    def __init__(self, num_bands: int) -> None:
        super().__init__()
        self.encoder = build_encoder("tu-resnet18", num_bands, depth=4, output_stride=8)
        self.narrow = nn.Conv2d(self.encoder.out_channels[-1], WIDTH, 3, padding=1)
        self.tell = nn.Conv2d(WIDTH, TOKENS, 1, bias=False)
        self.places = nn.Parameter(torch.randn(1, 2 * TOKENS, WIDTH))
        self.mixed = _Layer()
        self.decoders = nn.ModuleList(_Layer() for _ in range(DECODERS))
        self.smooth = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()
        )

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Features [B, width, H, W] of two dates [B, C, H, W]."""
        dates = [self._encoded(x) for x in (before, after)]
        tokens = torch.cat([self._tokens(x) for x in dates], dim=1) + self.places
        tokens = self.mixed(tokens, None)
        refined = [
            self._decoded(x, own) for x, own in zip(dates, tokens.chunk(2, dim=1), strict=True)
        ]
        apart = (refined[0] - refined[1]).abs()
        smooth: Tensor = self.smooth(interpolate(apart, scale_factor=4, mode="bilinear"))
        return smooth

    def _encoded(self, x: Tensor) -> Tensor:
        found: Tensor = self.narrow(interpolate(self.encoder(x)[-1], scale_factor=2))
        return found

    def _tokens(self, x: Tensor) -> Tensor:
        """[B, token, C]: means of pixels [B, C, h, w], weighed by where each token looks."""
        looks = self.tell(x).flatten(2).softmax(dim=-1)
        return looks @ x.flatten(2).transpose(1, 2)

    def _decoded(self, x: Tensor, tokens: Tensor) -> Tensor:
        pixels = x.flatten(2).transpose(1, 2)
        for decoder in self.decoders:
            pixels = decoder(pixels, tokens)
        return pixels.transpose(1, 2).reshape(x.shape)


class _Layer(nn.Module):
    """Attention to tokens and a perceptron, each around a residual, normalised before."""

    def __init__(self) -> None:
        super().__init__()
        inner = HEADS * HEAD_WIDTH
        self.norm, self.norm_after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query = nn.Linear(WIDTH, inner, bias=False)
        self.key_value = nn.Linear(WIDTH, 2 * inner, bias=False)
        self.out = nn.Linear(inner, WIDTH)
        self.perceptron = nn.Sequential(
            nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH)
        )

    def forward(self, x: Tensor, tokens: Tensor | None) -> Tensor:
        """[B, N, C] that attends to tokens [B, M, C]; None: to itself."""
        x_norm = self.norm(x)
        seen = x_norm if tokens is None else self.norm(tokens)
        key, value = self.key_value(seen).chunk(2, dim=-1)
        query, key, value = (_by_head(part) for part in (self.query(x_norm), key, value))
        found = scaled_dot_product_attention(query, key, value)
        x = x + self.out(found.transpose(1, 2).flatten(2))
        told: Any = x + self.perceptron(self.norm_after(x))
        return told


def _by_head(x: Tensor) -> Tensor:
    """[B, N, head·width] to [B, head, N, width]."""
    return x.unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2)
