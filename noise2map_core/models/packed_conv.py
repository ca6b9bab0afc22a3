"""Convolutions for inference: weights laid out once, the addition of a residual fused."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ONEDNN: Any = torch.ops.mkldnn


def can_pack(weight: Tensor) -> bool:
    """Whether oneDNN takes a weight in a layout of its own: on the CPU, in float32 or, where the
    processor has the instructions (AVX-512 or AVX-NE-CONVERT on x86), bfloat16."""
    return (
        weight.device.type == "cpu"
        and _can_compute(weight.dtype)
        and torch.backends.mkldnn.is_available()
        and hasattr(_ONEDNN, "_convolution_pointwise")
        and hasattr(_ONEDNN, "_convolution_transpose_pointwise")
    )


def _can_compute(dtype: torch.dtype) -> bool:
    if dtype == torch.bfloat16:
        return bool(_ONEDNN._is_mkldnn_bf16_supported())
    return dtype == torch.float32


class PackedConv2d(nn.Module):
    """A Conv2d whose weight is a constant.

    Packing saves small feature maps the reordering of large weights at every call, up to half of
    the time; fusing a residual saves one pass over memory. The layout that oneDNN wants depends on
    the size of the images: weights are packed for the size that comes, anew if it changes.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> None:
        super().__init__()
        self._shape = ([padding] * 2, [stride] * 2, [1, 1], 1)
        # Attributes, not buffers: a packed weight can neither be saved nor moved.
        self.weight, self.bias = weight, bias
        self._packs, self._size = can_pack(weight), torch.Size()

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """The convolution of `x` [B, C, H, W], plus `residual` of the output's shape."""
        padding, stride, *_ = self._shape
        if not self._packs:
            y = F.conv2d(x, self.weight, self.bias, stride, padding)
            return y if residual is None else y + residual
        if x.shape != self._size:
            self._pack(x.shape)
        if residual is None:
            packed: Tensor = _ONEDNN._convolution_pointwise(
                x, self.weight, self.bias, *self._shape, "none", [], None
            )
            return packed
        fused: Tensor = _ONEDNN._convolution_pointwise.binary(
            x, residual, self.weight, self.bias, *self._shape, "add", 1.0, None, [], None
        )
        return fused

    def _pack(self, size: torch.Size) -> None:
        plain = self.weight.to_dense() if self.weight.is_mkldnn else self.weight
        self.weight = _ONEDNN._reorder_convolution_weight(plain, *self._shape, list(size))
        self._size = size


class UpsampleConv2d(nn.Module):
    """Nearest-neighbour upsampling by two and a 3×3 convolution with padding 1, as one.

    Each output pixel sees 2×2 different input pixels only, so that a transposed convolution with
    kernel 4 and stride 2, whose weights are sums of the 3×3 kernel's, gives the same with 4/9 of
    the products, and the upsampled image is never written.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        kernel = upsampled_kernel(weight).to(dtype)
        self.packed = can_pack(kernel)
        if self.packed:
            kernel = _ONEDNN._reorder_convolution_transpose_weight(
                kernel, [1, 1], [0, 0], [2, 2], [1, 1], 1, None
            )
        self.weight, self.bias = kernel, bias

    def forward(self, x: Tensor) -> Tensor:
        """[B, K, 2·H, 2·W] from `x` [B, C, H, W]."""
        if not self.packed:
            return F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)
        shape = ([1, 1], [0, 0], [2, 2], [1, 1], 1)
        packed: Tensor = _ONEDNN._convolution_transpose_pointwise(
            x, self.weight, self.bias, *shape, "none", [], None
        )
        return packed


def upsampled_kernel(weight: Tensor) -> Tensor:
    """Kernel [C, K, 4, 4] of the transposed convolution that equals upsampling and `weight`.

    `weight` is [K, C, 3, 3]. Scattering with the transposed kernel after scattering 2×2 boxes is
    scattering with the convolution of both.
    """
    num_out, num_in = weight.shape[:2]
    planes = weight.transpose(0, 1).flip(2, 3).reshape(num_in * num_out, 1, 3, 3)
    box = torch.ones(1, 1, 2, 2, dtype=weight.dtype, device=weight.device)
    return F.conv2d(planes, box, padding=1).reshape(num_in, num_out, 4, 4)
