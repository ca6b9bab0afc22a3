"""Resizing as the libraries do it that the paper's reference calls."""

from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from noise2map_core.datasets.resizing import Sizing, cv2_linear, pil_bilinear

OPENCV = {
    1024: ("3ef055a9de0ff352", "c95675feebeb73e7", 44988),
    512: ("fd30f31852d2d07d", "5f6589a10c50162c", 44973),
}
"""By the side of the image: SHA-256 of cv2.resize(image, (256, 256)) of opencv-python-headless
5.0.0, and of where that of a mask, divided by 255, is more than 0.5; how many pixels that are."""


def digest(pixels: np.ndarray) -> str:
    return sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("px", OPENCV)
def test_images_and_masks_are_what_opencv_makes_of_them(px: int) -> None:
    draw = np.random.default_rng(px)
    image = draw.integers(0, 256, (px, px, 3), dtype=np.uint8).transpose(2, 0, 1)
    yes = draw.random((px, px)) > 0.5
    mask = Sizing(256, "cv2").mask(yes)
    assert digest(cv2_linear(image, 256)) == OPENCV[px][0]
    assert (digest(mask), int(mask.sum())) == OPENCV[px][1:]


@pytest.mark.parametrize("side", [100, 300])
def test_other_sides_differ_from_bilinear_interpolation_by_rounding_alone(side: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    at = np.clip((np.arange(256) + 0.5) * side / 256 - 0.5, 0, side - 1)
    first = np.minimum(np.floor(at).astype(int), side - 2)
    share = at - first
    rows = image[first].T * (1 - share) + image[first + 1].T * share
    both = rows[first].T * (1 - share) + rows[first + 1].T * share
    assert np.abs(cv2_linear(image, 256) - both).max() <= 0.51


@pytest.mark.parametrize("side", [512, 300])
def test_masks_of_pillow_are_yes_where_all_that_becomes_a_pixel_is_yes(side: int) -> None:
    yes = np.kron(
        np.random.default_rng(1).random((side // 20, side // 20)) > 0.5, np.ones((20, 20))
    )
    white = Image.fromarray((255 * yes).astype(np.uint8))
    share = np.asarray(white.resize((64, 64), Image.Resampling.BILINEAR)) / 255
    assert np.array_equal(Sizing(64, "pil").mask(yes > 0), share.astype(np.int64))
    assert 0 < share.astype(np.int64).sum() < (share > 0).sum()
    image = np.stack([255 * yes, 255 - 255 * yes]).astype(np.uint8)
    assert np.array_equal(pil_bilinear(image, 64)[0] / 255, share)
