"""Noise2Map's networks: one diffusion UNet, with a stem and a head for each task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from noise2map_core.models.backbone import build_backbone
from noise2map_core.models.spec import PatchUNetSpec, ReferenceSpec
from noise2map_core.settings.network import Task


@dataclass(frozen=True, slots=True)
class TaskShape:
    """Size of a task's input and output."""

    num_dates: int
    num_bands: int
    num_classes: int

    @property
    def in_channels(self) -> int:
        """Channels of an input: all bands of all dates."""
        return self.num_dates * self.num_bands


class PatchStem(nn.Module):
    """Patches and a convolution, straight to the full width: the bands meet no bottleneck."""

    def __init__(self, patch: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(patch)
        self.conv = nn.Conv2d(in_channels * patch**2, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, width, H / patch, W / patch]."""
        features: Tensor = self.conv(self.unshuffle(x))
        return features


class PixelHead(nn.Module):
    """Class logits from each pixel's own values and from its context.

    For change, a pixel's values are the corrupted dates, the size of the difference between first
    and last date per band, and the length of that change vector; neither of these depends on the
    order of the dates. So it finds spectral change from the first steps on. With few labels a UNet
    alone learns by heart where in the training scene the labels lie, and misses changes of a kind,
    size or setting that it has not seen.
    """

    def __init__(self, network: PatchUNetSpec, shape: TaskShape, width: int) -> None:
        super().__init__()
        self.num_bands = shape.num_bands if shape.num_dates > 1 else 0
        self.conv = nn.Conv2d(width, network.context_channels * network.patch**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(network.patch)
        derived = self.num_bands + 1 if self.num_bands else 0
        seen, hidden = (
            shape.in_channels + derived + network.context_channels,
            network.detail_channels,
        )
        self.pixel = pixel_path(seen, hidden, shape.num_classes)

    def forward(self, x: Tensor, features: Tensor, keep: Tensor | None) -> Tensor:
        """Logits [B, K, H, W] of `x` [B, C, H, W] and the UNet's features.

        `keep` bool [B]: where False, the pixel path is on its own; None: everywhere True.
        """
        context = self.shuffle(self.conv(features))
        if keep is not None:
            context = context * keep.to(context.dtype)[:, None, None, None]
        own = torch.cat([x, *self._change(x)], dim=1).to(context.dtype)
        logits: Tensor = self.pixel(torch.cat([own, context], dim=1))
        return logits

    def _change(self, x: Tensor) -> tuple[Tensor, ...]:
        if not self.num_bands:
            return ()
        change = x[:, : self.num_bands] - x[:, -self.num_bands :]
        return change.abs(), vector_length(change)


def pixel_path(seen: int, hidden: int, num_classes: int) -> nn.Sequential:
    """Class logits from `seen` channels of each pixel alone."""
    return nn.Sequential(
        nn.Conv2d(seen, hidden, 1),
        nn.SiLU(),
        nn.Conv2d(hidden, hidden, 1),
        nn.SiLU(),
        nn.Conv2d(hidden, num_classes, 1),
    )


def vector_length(vectors: Tensor) -> Tensor:
    """Length of each pixel's vector, [B, 1, H, W] of [B, C, H, W]."""
    # Not vector_norm, which over a few channels takes longer than the UNet. Without the last
    # term, a pixel that did not change would have an infinite gradient.
    return (vectors.square().sum(dim=1, keepdim=True) + 1e-12).sqrt()


class PatchUNet(nn.Module):
    """The backbone on patches: several times faster than on pixels, and any number of bands."""

    def __init__(self, network: PatchUNetSpec, shapes: Mapping[Task, TaskShape]) -> None:
        super().__init__()
        width = network.unet["block_out_channels"][0]
        self.stems = nn.ModuleDict(
            {task: PatchStem(network.patch, s.in_channels, width) for task, s in shapes.items()}
        )
        self.backbone: Any = build_backbone(network.unet, width)
        self.heads = nn.ModuleDict(
            {task: PixelHead(network, shape, width) for task, shape in shapes.items()}
        )

    def forward(
        self, task: Task, x: Tensor, timesteps: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """Logits [B, K, H, W] of a corrupted input [B, C, H, W] at `timesteps` (int64 [B])."""
        features = self.backbone(self.stems[task](x), timesteps).sample
        logits: Tensor = self.heads[task](x, features, keep)
        return logits


class ReferenceStem(nn.Module):
    """Bands to three channels; chips of another size than the UNet's are resized."""

    def __init__(self, in_channels: int, resize_to: int | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 3, 3, padding=1)
        self.resize_to = resize_to
        self.resized = nn.Conv2d(3, 3, 3, padding=1) if resize_to else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, 3, H, W] or the UNet's size."""
        resized: Tensor = self.resized(_resize(self.conv(x), self.resize_to))
        return resized


class ReferenceHead(nn.Module):
    """Three channels to class logits, back at the chip's own size."""

    def __init__(self, num_classes: int, resize_to: int | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 3, padding=1)
        self.resize_to = resize_to
        self.resized = (
            nn.Conv2d(num_classes, num_classes, 3, padding=1) if resize_to else nn.Identity()
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, 3, H, W] to logits [B, K, H, W]."""
        resized: Tensor = self.resized(_resize(self.conv(features), self.resize_to))
        return resized


class ReferenceNetwork(nn.Module):
    """The authors' network, layer by layer, so that published weights give the published logits."""

    def __init__(self, network: ReferenceSpec, shapes: Mapping[Task, TaskShape]) -> None:
        super().__init__()
        px = network.resized_px
        up = network.unet_px if px else None
        self.stems = nn.ModuleDict(
            {task: ReferenceStem(shape.in_channels, up) for task, shape in shapes.items()}
        )
        self.backbone: Any = build_backbone(network.unet, 3)
        self.heads = nn.ModuleDict(
            {task: ReferenceHead(shape.num_classes, px) for task, shape in shapes.items()}
        )

    def forward(
        self, task: Task, x: Tensor, timesteps: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """Logits [B, K, H, W] of a corrupted input [B, C, H, W] at `timesteps` (int64 [B]).

        There is no pixel path: `keep` has no effect.
        """
        features = self.backbone(self.stems[task](x), timesteps).sample
        logits: Tensor = self.heads[task](features)
        return logits


def _resize(x: Tensor, px: int | None) -> Tensor:
    """Bilinear with aligned corners, as the reference does; None: as it is."""
    if px is None:
        return x
    return interpolate(x, size=(px, px), mode="bilinear", align_corners=True)
