"""Resizing as the paper's reference does it, by the arithmetic of the libraries that it calls."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

Resizing = Literal["gdal", "pil", "cv2"]
"""gdal: bilinear, averaged where it shrinks; masks by nearest pixel. pil: bilinear as Pillow does,
masks too, of which what is less than wholly yes is no. cv2: bilinear between the nearest pixels,
masks too."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """To which size images and masks are brought, and how."""

    px: int | None = None
    """Side; None: they stay as they are."""
    by: Resizing = "gdal"
    resampling: str = "bilinear"
    """Of images, by GDAL; masks are taken from the nearest pixel."""

    def image(self, pixels: Pixels) -> Pixels:
        """[..., H, W] as another program resizes it."""
        assert self.px is not None, "resized by another program, to no size"
        return (pil_bilinear if self.by == "pil" else cv2_linear)(pixels, self.px)

    def mask(self, yes: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """[H, W] 0 and 1 as another program resizes a mask of 0 and 255, and cuts it: Pillow's
        where all of a pixel is yes, as by truncation, OpenCV's where more than half of it is."""
        small = self.image(np.where(yes, WHITE, 0).astype(np.uint8))
        return (small >= (WHITE if self.by == "pil" else WHITE // 2 + 1)).astype(np.uint8)


WHITE = 255


def pil_bilinear(pixels: Pixels, px: int) -> Pixels:
    """[..., H, W] as [..., px, px], a triangle over all pixels that become one: Pillow's."""
    layers = pixels.reshape(-1, *pixels.shape[-2:])
    small = [Image.fromarray(one).resize((px, px), Image.Resampling.BILINEAR) for one in layers]
    return np.stack([np.asarray(one) for one in small]).reshape(*pixels.shape[:-2], px, px)


def cv2_linear(pixels: Pixels, px: int) -> Pixels:
    """[..., H, W] as [..., px, px], between the nearest pixels alone, not antialiased: OpenCV.

    To the bit where the sides are 2 or 4 times `px`, as xView2's are; else within 1.
    """
    rows, row_share = _places(pixels.shape[-2], px)
    cols, col_share = _places(pixels.shape[-1], px)
    values = pixels.astype(np.int64)
    across = _between(values, cols, col_share, axis=-1)
    both = _between(across, rows, row_share[:, None], axis=-2)
    return ((both + HALF) >> (2 * BITS)).astype(np.uint8)


BITS = 11
"""OpenCV's fixed point: shares in 1/2048."""

HALF = 1 << (2 * BITS - 1)


def _places(length: int, px: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Of each pixel the first of the two that it lies between, and the share of the second."""
    centre = (np.arange(px) + 0.5) * (length / px) - 0.5
    first = np.clip(np.floor(centre), 0, max(length - 2, 0))
    share = np.clip(centre - first, 0, 1)
    return first.astype(np.intp), np.rint(share * (1 << BITS)).astype(np.int64)


def _between(values: NDArray[Any], first: NDArray[np.intp], share: Any, axis: int) -> NDArray[Any]:
    second = np.minimum(first + 1, values.shape[axis] - 1)
    one, other = (np.take(values, index, axis) for index in (first, second))
    return one * ((1 << BITS) - share) + other * share
