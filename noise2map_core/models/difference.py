"""Change as the difference of what the network says of each date (siamese, late fusion)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noise2map_core.models.backbone import build_backbone
from noise2map_core.models.spec import PatchUNetSpec
from noise2map_core.models.unet import PatchStem, PixelHead, TaskShape, pixel_path, vector_length
from noise2map_core.settings.network import Task


class DifferenceUNet(nn.Module):
    """One stem and one backbone on each date by itself; change is read from what differs.

    What both dates have in common reaches no logit of change: neither the place, nor the order of
    the dates. A network that sees the dates together learns by heart which places change.
    """

    def __init__(self, network: PatchUNetSpec, shapes: Mapping[Task, TaskShape]) -> None:
        super().__init__()
        width = network.unet["block_out_channels"][0]
        self.num_dates = {task: shape.num_dates for task, shape in shapes.items()}
        num_bands = next(iter(shapes.values())).num_bands
        self.stem = PatchStem(network.patch, num_bands, width)
        self.backbone: Any = build_backbone(network.unet, width)
        num_kinds = shapes["segment"].num_classes if "segment" in shapes else 0
        self.heads = nn.ModuleDict(
            {
                task: PixelHead(network, shape, width)
                if task == "segment"
                else DifferenceHead(network, shape, width, num_kinds)
                for task, shape in shapes.items()
            }
        )

    def forward(
        self, task: Task, x: Tensor, timesteps: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """Logits [B, K, H, W] of a corrupted input [B, C, H, W] at `timesteps` (int64 [B])."""
        count = self.num_dates[task]
        x = torch.cat(x.chunk(count, dim=1))  # [date·B, band, H, W]
        features = self.backbone(self.stem(x), timesteps.repeat(count)).sample
        if task == "segment":
            logits: Tensor = self.heads[task](x, features, keep)
            return logits
        apart = [_spread(of_dates, count) for of_dates in (x, features)]
        if "segment" in self.heads:
            each = None if keep is None else keep.repeat(count)
            kinds = self.heads["segment"](x, features, each).softmax(dim=1)
            apart.append(_spread(kinds, count))
        logits = self.heads[task](*apart, keep=keep)
        return logits


class DifferenceHead(nn.Module):
    """Logits of change from how far the dates lie apart: in features, values and classes.

    Two convolutions see the features' differences, so that an edge which a shift of a pixel moves
    can be told from an object that is new.
    """

    def __init__(
        self, network: PatchUNetSpec, shape: TaskShape, width: int, num_kinds: int
    ) -> None:
        super().__init__()
        context = network.context_channels
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, context * network.patch**2, 3, padding=1),
        )
        self.shuffle = nn.PixelShuffle(network.patch)
        seen = shape.num_bands + 1 + num_kinds + context
        self.pixel = pixel_path(seen, network.detail_channels, shape.num_classes)

    def forward(
        self, values: Tensor, features: Tensor, *kinds: Tensor, keep: Tensor | None
    ) -> Tensor:
        """Logits [B, K, H, W] of how far values [B, band, H, W], features and probabilities of
        classes [B, kind, H, W] of the dates lie apart.

        `keep` bool [B]: where False, the pixel path is on its own; None: everywhere True.
        """
        context = self.shuffle(self.conv(features))
        if keep is not None:
            context = context * keep.to(context.dtype)[:, None, None, None]
        own = torch.cat([values, vector_length(values), *kinds], dim=1).to(context.dtype)
        logits: Tensor = self.pixel(torch.cat([own, context], dim=1))
        return logits


def _spread(dates: Tensor, count: int) -> Tensor:
    """How far `count` dates lie apart, [B, …] of [date·B, …]; of two, the size of their
    difference."""
    if count == 2:  # faster, with the same gradient
        one, other = dates.chunk(2)
        return (one - other).abs()
    by_date = dates.unflatten(0, (count, -1))
    return by_date.amax(dim=0) - by_date.amin(dim=0)
