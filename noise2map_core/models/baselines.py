"""Baselines: networks of segmentation-models-pytorch, behind the same interface.

They take the place of the diffusion UNet and know no timestep. For change, one encoder sees each
date (siamese), and what it finds is put side by side or subtracted (Daudt et al. 2018).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from noise2map_core.models.backbone import let_torchvision_import
from noise2map_core.models.spec import SegmentationModelSpec
from noise2map_core.models.unet import TaskShape
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.settings.network import Task


class SegmentationModels(nn.Module):
    """One segmentation network a task; their encoders may be one."""

    def __init__(self, network: SegmentationModelSpec, shapes: Mapping[Task, TaskShape]) -> None:
        super().__init__()
        self.models = nn.ModuleDict(
            {task: SiameseModel(network, shape) for task, shape in shapes.items()}
        )
        self.is_tied = network.tied and can_be_tied(shapes)
        if network.shared_encoder:
            self._share_encoder()

    def _share_encoder(self) -> None:
        """All tasks have the same bands, and so the same encoder."""
        models: list[Any] = list(self.models.values())
        self.encoder = models[0].encoder
        for model in models:
            del model.encoder  # it would stand in the state dict once more

    def forward(
        self, task: Task, x: Tensor, timesteps: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """Logits [B, K, H, W] of `x` [B, C, H, W]; the other arguments have no effect."""
        model: Any = self.models[task]
        dates = model.encoded(x, getattr(self, "encoder", None))
        logits: Tensor = model.decoded(dates)
        return self._tied(logits, dates) if task == "change" and self.is_tied else logits

    def _tied(self, logits: Tensor, dates: Sequence[Sequence[Tensor]]) -> Tensor:
        """Logits of change [B, 2, H, W] whose probability is half the head's, half of how far the
        classes of the dates lie apart (total variation); what was seen of them is in `dates`."""
        segment: Any = self.models["segment"]
        before, after = (segment.decoded([date]).softmax(dim=1) for date in (dates[0], dates[-1]))
        apart = (after - before).abs().sum(dim=1) / 2
        p = ((logits.softmax(dim=1)[:, 1] + apart) / 2).float().clamp(SURE, 1 - SURE)
        return torch.stack([torch.log1p(-p), p.log()], dim=1)


SURE = 1e-5
"""How near a tied probability of change comes to 0 and 1."""


def can_be_tied(shapes: Mapping[Task, TaskShape]) -> bool:
    """True if a network tells change from no change, and classes besides."""
    return "segment" in shapes and "change" in shapes and shapes["change"].num_classes == 2


class SiameseModel(nn.Module):
    """Encoder, fusion over the dates, decoder; with one date a plain segmentation network."""

    def __init__(self, network: SegmentationModelSpec, shape: TaskShape) -> None:
        super().__init__()
        model: Any = _build(network, shape)
        self.encoder, self.decoder, self.head = (
            model.encoder, model.decoder, model.segmentation_head
        )  # fmt: skip
        self.num_dates = shape.num_dates
        self.fusions = nn.ModuleList(
            _fusion(network.fusion, channels, shape.num_dates)
            for channels in model.encoder.out_channels
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, K, H, W] of `x` [B, date·band, H, W]."""
        return self.decoded(self.encoded(x))

    def encoded(self, x: Tensor, encoder: nn.Module | None = None) -> list[list[Tensor]]:
        """Features of every level of each date of `x` [B, date·band, H, W]; `encoder` None: its
        own."""
        encoder = encoder or self.encoder
        if self.training:  # by pixel, which is 1.5 times as fast on CPUs and spreads from here
            x = x.contiguous(memory_format=torch.channels_last)
        return [encoder(date) for date in x.chunk(self.num_dates, dim=1)]

    def decoded(self, dates: Sequence[Sequence[Tensor]]) -> Tensor:
        """Logits [B, K, H, W] of the features of the dates."""
        fused = [
            fusion(levels)
            for fusion, levels in zip(self.fusions, zip(*dates, strict=True), strict=True)
        ]
        logits: Tensor = self.head(self.decoder(fused))
        return logits


class _TrainedInFloat32:
    """A convolution that autocast leaves alone while it is trained."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:  # type: ignore[attr-defined]
            found: Tensor = super().forward(x)  # type: ignore[misc]
            return found
        with torch.autocast(x.device.type, enabled=False):
            trained: Tensor = super().forward(x.float())  # type: ignore[misc]
            return trained


def train_depthwise_in_float32(model: nn.Module) -> None:
    """oneDNN has no fast gradient of depthwise convolutions of 5 x 5 or stride 2 in bfloat16: they
    take three to nine times as long as in float32."""
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d) and conv.groups == conv.in_channels > 1:
            kind = type(conv)
            conv.__class__ = type(kind.__name__, (_TrainedInFloat32, kind), {})


class Concatenation(nn.Module):
    """Features of all dates side by side, back to as many channels as one date has."""

    def __init__(self, channels: int, num_dates: int) -> None:
        super().__init__()
        # Encoders leave a level empty where they have none.
        self.conv = nn.Conv2d(channels * num_dates, channels, 1) if channels else nn.Identity()

    def forward(self, dates: Sequence[Tensor]) -> Tensor:
        """[B, C, h, w] of each date to [B, C, h, w]."""
        fused: Tensor = self.conv(torch.cat(list(dates), dim=1))
        return fused


class Difference(nn.Module):
    """Size of the difference between the features of the first and the last date."""

    def forward(self, dates: Sequence[Tensor]) -> Tensor:
        """[B, C, h, w] of each date to [B, C, h, w]."""
        return (dates[0] - dates[-1]).abs()


class Single(nn.Module):
    """The features of the only date."""

    def forward(self, dates: Sequence[Tensor]) -> Tensor:
        """[B, C, h, w] of one date."""
        return dates[0]


def _fusion(kind: str, channels: int, num_dates: int) -> nn.Module:
    if num_dates == 1:
        return Single()
    return Difference() if kind == "difference" else Concatenation(channels, num_dates)


def _build(network: SegmentationModelSpec, shape: TaskShape) -> nn.Module:
    let_torchvision_import()
    # Seconds, which networks of our own spare.
    import segmentation_models_pytorch as smp

    widths = network.decoder_channels
    try:
        model: nn.Module = getattr(smp, network.architecture)(
            encoder_name=network.encoder,
            encoder_weights=None,
            in_channels=shape.num_bands,
            classes=shape.num_classes,
            **({"decoder_channels": widths} if widths else {}),
        )
    except (KeyError, ValueError, RuntimeError) as error:
        told = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"network.encoder {network.encoder} cannot be had from segmentation-models-pytorch: "
            f"{told}. Name another encoder."
        ) from error
    if network.encoder_weights == "sentinel2":
        _pad_as_csmask(model)
    train_depthwise_in_float32(model)
    return model


def _pad_as_csmask(model: Any) -> None:
    """ukis-csmask pads each layer as chips of 380 pixels need it; here it is this one that differs
    from chips whose sides are multiples of 32."""
    block = model.encoder.model.blocks[2][0]
    conv = block.conv_dw
    block.conv_dw = nn.Conv2d(
        conv.in_channels, conv.out_channels, 5, stride=2, padding=2, groups=conv.groups, bias=False
    )
