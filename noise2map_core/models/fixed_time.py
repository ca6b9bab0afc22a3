"""The UNet at one timestep: all that the timestep alone decides is folded into the weights."""

import copy
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noise2map_core.models.backbone import let_torchvision_import
from noise2map_core.models.packed_conv import PackedConv2d, UpsampleConv2d

let_torchvision_import()  # before diffusers, which imports torchvision where it is

from diffusers import UNet2DModel  # noqa: E402
from diffusers.models.downsampling import Downsample2D  # noqa: E402
from diffusers.models.resnet import ResnetBlock2D  # noqa: E402
from diffusers.models.unets import unet_2d_blocks  # noqa: E402
from diffusers.models.unets.unet_2d import UNet2DOutput  # noqa: E402

_LOGGER = logging.getLogger(__name__)
_BLOCKS = (
    unet_2d_blocks.DownBlock2D,
    unet_2d_blocks.AttnDownBlock2D,
    unet_2d_blocks.UNetMidBlock2D,
    unet_2d_blocks.UpBlock2D,
    unet_2d_blocks.AttnUpBlock2D,
)


def inference_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it, float32 elsewhere."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


def accelerate(network: nn.Module, timestep: int, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy of `network`, for inference at `timestep` only, with every UNet2DModel folded.

    The UNets compute in `dtype` (None: `inference_dtype` of their device), as do wide convolutions
    and sequences of them around the UNets; all take and give the dtype of their input. What else
    there is keeps its own. A UNet with blocks that cannot be folded stays as it is, which is logged
    as a warning.
    """
    dtype = dtype or inference_dtype(next(network.parameters()).device)
    if isinstance(network, UNet2DModel):
        return _fold(network, timestep, dtype)
    # The replacements go into the memo, so that the large weights are not copied first.
    memo: dict[int, Any] = {}
    for part in _outermost(network):
        if isinstance(part, UNet2DModel):
            memo[id(part)] = _fold(part, timestep, dtype)
        elif isinstance(part, nn.Conv2d | nn.Sequential) and _is_wide(part):
            memo[id(part)] = _Surrounding(part, dtype)
    return copy.deepcopy(network, memo).eval()


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    """All modules inside `module`, but what a UNet2DModel consists of."""
    for child in module.children():
        yield child
        if not isinstance(child, UNet2DModel):
            yield from _outermost(child)


def _is_wide(part: nn.Module) -> bool:
    """Whether it is a convolution with many channels on one side, or such ones with SiLU between.

    Narrow ones take no time, and their few channels carry much: they keep their precision.
    """
    convolutions = list(part) if isinstance(part, nn.Sequential) else [part]
    convolutions = [layer for layer in convolutions if not isinstance(layer, nn.SiLU)]
    return all(isinstance(layer, nn.Conv2d) and _is_plain(layer) for layer in convolutions)


def _is_plain(conv: nn.Conv2d) -> bool:
    square = len({*conv.kernel_size}) == len({*conv.stride}) == len({*conv.padding}) == 1
    dense = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    return square and dense and conv.bias is not None and max(conv.weight.shape[:2]) >= 16


def _fold(unet: Any, timestep: int, dtype: torch.dtype) -> nn.Module:
    obstacle = unfoldable(unet)
    if obstacle is not None:
        _LOGGER.warning("the UNet runs unfolded, in its own dtype: %s", obstacle)
        return copy.deepcopy(unet).eval()
    return FixedTimeUNet(unet, timestep, dtype)


def unfoldable(unet: Any) -> str | None:
    """Why `FixedTimeUNet` cannot represent a UNet2DModel; None if it can."""
    config = unet.config
    if config.time_embedding_type == "fourier" or unet.class_embedding is not None:
        return "its output depends on Fourier features of the timestep or on class labels"
    for block in (*unet.down_blocks, *unet.up_blocks, unet.mid_block or unet.down_blocks[0]):
        if type(block) not in _BLOCKS:
            return f"block type {type(block).__name__} is not known here"
    if config.act_fn not in ("silu", "swish"):
        return f"activation {config.act_fn} is not SiLU"
    return None


class FixedTimeUNet(nn.Module):
    """A UNet2DModel at a fixed timestep, for inference; equal to it up to rounding in `dtype`.

    The time embedding and its projections become part of the biases. Images are channels-last
    inside. A chip's output depends on no other chip of the batch.
    """

    def __init__(self, unet: Any, timestep: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.timestep, self.dtype = timestep, dtype
        self.center_input = unet.config.center_input_sample
        with torch.no_grad():
            embedding = _time_embedding(unet, timestep)
            self.conv_in = _packed(unet.conv_in, dtype)
            self.down = nn.ModuleList(_Down(b, embedding, dtype) for b in unet.down_blocks)
            mid = unet.mid_block
            self.mid = nn.Identity() if mid is None else _Mid(mid, embedding, dtype)
            self.up = nn.ModuleList(_Up(b, embedding, dtype) for b in unet.up_blocks)
            self.norm_out = _NormSiLU(unet.conv_norm_out, dtype)
            self.conv_out = _packed(unet.conv_out, dtype)

    def forward(self, sample: Tensor, timestep: Tensor | int | None = None) -> UNet2DOutput:
        """What UNet2DModel gives for `sample` [B, C, H, W], in its dtype.

        `timestep` keeps the model's signature. Raises ValueError if it is a number, or lies on
        the CPU, and is another one than the weights were made for.
        """
        self._check(timestep)
        x = sample.to(self.dtype, memory_format=torch.channels_last)
        x = self.conv_in(2 * x - 1 if self.center_input else x)
        skips = [x]
        for down in self.down:
            skips += down(skips[-1])
        x = self.mid(skips[-1])
        for up in self.up:
            x = up(x, skips)
        return UNet2DOutput(sample=self.conv_out(self.norm_out(x)).to(sample.dtype))

    def _check(self, timestep: Tensor | int | None) -> None:
        if timestep is None or torch.compiler.is_compiling():
            return
        if isinstance(timestep, Tensor) and timestep.device.type != "cpu":
            return
        if not bool(torch.all(torch.as_tensor(timestep) == self.timestep)):
            raise ValueError(f"this UNet is for timestep {self.timestep}, not for {timestep}")


class _Surrounding(nn.Module):
    """Convolutions outside the UNet, in `dtype`; takes and gives the dtype of its input."""

    def __init__(self, part: nn.Conv2d | nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        layers = list(part) if isinstance(part, nn.Sequential) else [part]
        self.layers = nn.Sequential(
            *(
                _packed(layer, dtype) if isinstance(layer, nn.Conv2d) else nn.SiLU(inplace=True)
                for layer in layers
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x.to(self.dtype, memory_format=torch.channels_last))
        return out.to(x.dtype)


class _Down(nn.Module):
    """Resnets, each followed by attention where there is some; then half the resolution."""

    def __init__(self, block: Any, embedding: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layers(block, embedding, dtype))
        self.samplers = nn.ModuleList(
            _Downsample(sampler, dtype)
            if isinstance(sampler, Downsample2D)
            else _Resnet(sampler, embedding, dtype)
            for sampler in block.downsamplers or ()
        )

    def forward(self, x: Tensor) -> Iterator[Tensor]:
        """Each layer's output, for the way up; the last one is also the block's output."""
        for layer in (*self.layers, *self.samplers):
            x = layer(x)
            yield x


class _Up(nn.Module):
    """As `_Down`, each layer with one skip more; then twice the resolution."""

    def __init__(self, block: Any, embedding: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layers(block, embedding, dtype))
        self.samplers = nn.Sequential(
            *(
                _Resnet(sampler, embedding, dtype)
                if isinstance(sampler, ResnetBlock2D)
                else UpsampleConv2d(sampler.conv.weight, _bias(sampler.conv, dtype), dtype)
                for sampler in block.upsamplers or ()
            )
        )

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Takes as many from the end of `skips` as it has layers."""
        for layer in self.layers:
            x = layer(torch.cat([x, skips.pop()], dim=1))
        return self.samplers(x)


class _Mid(nn.Sequential):
    def __init__(self, block: Any, embedding: Tensor | None, dtype: torch.dtype) -> None:
        first, *others = (_Resnet(resnet, embedding, dtype) for resnet in block.resnets)
        attentions = (
            nn.Identity() if attention is None else _Attention(attention, dtype)
            for attention in block.attentions
        )
        pairs = zip(attentions, others, strict=True)
        super().__init__(first, *(layer for pair in pairs for layer in pair))


def _layers(block: Any, embedding: Tensor | None, dtype: torch.dtype) -> Iterator[nn.Module]:
    attentions = getattr(block, "attentions", [None] * len(block.resnets))
    for resnet, attention in zip(block.resnets, attentions, strict=True):
        layer = _Resnet(resnet, embedding, dtype)
        yield layer if attention is None else nn.Sequential(layer, _Attention(attention, dtype))


class _Resnet(nn.Module):
    """ResnetBlock2D; dropout is gone, the time embedding lies in conv1's bias or norm2."""

    def __init__(self, resnet: Any, embedding: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        shift, norm2 = _time_shift(resnet, embedding)
        self.norm1, self.norm2 = _NormSiLU(resnet.norm1, dtype), _NormSiLU(norm2, dtype)
        self.resample = resnet.upsample or resnet.downsample
        self.conv1 = _packed(resnet.conv1, dtype, shift)
        self.conv2 = _packed(resnet.conv2, dtype)
        shortcut = resnet.conv_shortcut
        self.shortcut = nn.Identity() if shortcut is None else _packed(shortcut, dtype)
        self.scale = resnet.output_scale_factor

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        if self.resample is not None:
            x, h = self.resample(x), self.resample(h)
        h = self.norm2(self.conv1(h))
        out: Tensor = self.conv2(h, self.shortcut(x))
        return out if self.scale == 1 else out / self.scale


class _NormSiLU(nn.Module):
    """Group normalisation, its statistics in float32, and SiLU in place."""

    def __init__(self, norm: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm = _norm(norm, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(x), inplace=True)


class _Downsample(nn.Module):
    def __init__(self, sampler: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.pad = sampler.padding == 0
        self.conv = _packed(sampler.conv, dtype)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.pad else x)
        return out


class _Attention(nn.Module):
    """Self-attention over the pixels; query, key and value by one product."""

    def __init__(self, attention: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.heads, self.scale = attention.heads, attention.rescale_output_factor
        norm = attention.group_norm
        self.norm = nn.Identity() if norm is None else _norm(norm, dtype)
        qkv = (attention.to_q, attention.to_k, attention.to_v)
        self.qkv = _packed(_pointwise(qkv), dtype)
        self.out = _packed(_pointwise((attention.to_out[0],)), dtype)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        # [B, 3·heads·channels, H, W], channels last -> three of [B, heads, H·W, channels]
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1)
        q, k, v = qkv.reshape(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        image = attended.reshape(batch, height, width, -1).permute(0, 3, 1, 2)
        out: Tensor = self.out(image, x)
        return out if self.scale == 1 else out / self.scale


def _time_embedding(unet: Any, timestep: int) -> Tensor | None:
    """The embedding [1, E] that every resnet projects, in the UNet's own dtype; None: they are told
    no timestep."""
    weight = unet.conv_in.weight
    features = unet.time_proj(torch.tensor([timestep], device=weight.device))
    embedding: Tensor | None = unet.time_embedding(features.to(weight.dtype))
    return embedding


def _time_shift(resnet: Any, embedding: Tensor | None) -> tuple[Tensor | None, nn.GroupNorm]:
    """What the timestep adds to conv1's bias, and norm2 with what it scales and shifts there."""
    norm: nn.GroupNorm = copy.deepcopy(resnet.norm2)
    if embedding is None:
        return None, norm
    projected = resnet.time_emb_proj(F.silu(embedding))[0]
    if resnet.time_embedding_norm == "default":
        return projected, norm
    scale, shift = projected.chunk(2)
    norm.weight.mul_(1 + scale)
    norm.bias.mul_(1 + scale).add_(shift)
    return None, norm


def _packed(conv: Any, dtype: torch.dtype, shift: Tensor | None = None) -> PackedConv2d:
    weight = conv.weight.detach().to(dtype, memory_format=torch.channels_last)
    return PackedConv2d(weight, _bias(conv, dtype, shift), conv.stride[0], conv.padding[0])


def _bias(conv: Any, dtype: torch.dtype, shift: Tensor | None = None) -> Tensor:
    bias: Tensor = conv.bias.detach()
    return (bias if shift is None else bias + shift).to(dtype)


def _norm(norm: Any, dtype: torch.dtype) -> nn.GroupNorm:
    """A copy for inputs in `dtype`; its own parameters stay in float32 where the CPU allows."""
    copied: nn.GroupNorm = copy.deepcopy(norm).requires_grad_(False)
    return copied.to(torch.float32 if norm.weight.device.type == "cpu" else dtype)


def _pointwise(linears: tuple[Any, ...]) -> nn.Conv2d:
    """The linear maps of a pixel's channels, one below the other, as a 1×1 convolution."""
    weight = torch.cat([linear.weight for linear in linears])
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, device=weight.device)
    assert conv.bias is not None
    conv.weight.copy_(weight[:, :, None, None])
    conv.bias.copy_(torch.cat([linear.bias for linear in linears]))
    return conv
