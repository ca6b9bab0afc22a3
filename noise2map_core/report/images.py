"""Pictures inside a page, each within a size."""

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rgba = tuple[int, int, int, int]
"""Red, green, blue, alpha (0–255)."""

QUALITIES = (82, 70, 55, 40)


def photo_url(picture: NDArray[np.float32], most_bytes: int) -> str:
    """An image [H, W, 3] in 0–1 as a `data:` URL (JPEG): the best quality within `most_bytes`.

    Where even the least quality is too large, the image is halved.
    """
    image = Image.fromarray(np.rint(picture * 255).astype(np.uint8), "RGB")
    while True:
        for quality in QUALITIES:
            body = _encoded(image, "JPEG", quality=quality, progressive=True)
            if len(body) <= most_bytes:
                return _url(body, "image/jpeg")
        image = image.resize(
            (max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BOX
        )


def overlay_url(values: NDArray[np.uint8], palette: Sequence[Rgba], most_bytes: int) -> str:
    """Numbers [H, W] in the colours of `palette` as a `data:` URL (PNG), exact.

    Halved, every other pixel left out, while it has more than `most_bytes`.
    """
    while True:
        image = Image.fromarray(values, "P")
        image.putpalette([part for color in palette for part in color[:3]])
        alpha = bytes(color[3] for color in palette)
        body = _encoded(image, "PNG", transparency=alpha, optimize=True)
        if len(body) <= most_bytes:
            return _url(body, "image/png")
        values = np.ascontiguousarray(values[::2, ::2])


def png_url(path: Path) -> str:
    """A PNG file as a `data:` URL."""
    return _url(path.read_bytes(), "image/png")


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _url(body: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(body).decode()}"
