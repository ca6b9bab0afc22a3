"""Many shapes at once: which shape each pixel belongs to, by number."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Labels = NDArray[np.int32]
"""[y, x]: 0 none, else the number of a shape, from 1."""
Points = NDArray[np.floating]


class Canvas:
    """A square of labels; what is drawn later lies above."""

    def __init__(self, size_px: int) -> None:
        """Empty."""
        self._image = Image.new("I", (size_px, size_px))
        self._pen = ImageDraw.Draw(self._image)

    def polygon(self, ring: Points, label: int) -> None:
        """`ring` [corner, (x, y)]"""
        self._pen.polygon((ring - 0.5).ravel().tolist(), fill=label)

    def polygons(self, rings: Points, labels: NDArray[np.integer]) -> None:
        """`rings` [shape, corner, (x, y)]"""
        flat = (rings - 0.5).reshape(len(rings), 2 * rings.shape[1]).tolist()
        for ring, label in zip(flat, labels.tolist(), strict=True):
            self._pen.polygon(ring, fill=label)

    def discs(self, x: Points, y: Points, radius: Points) -> None:
        """Circles, numbered in their order."""
        boxes = np.stack([x - radius, y - radius, x + radius, y + radius], axis=1) - 0.5
        for number, box in enumerate(boxes.tolist(), 1):
            self._pen.ellipse(box, fill=number)

    def line(self, points: Points, width_px: float, label: int) -> None:
        """`points` [point, (x, y)]"""
        path = [tuple(point) for point in (points - 0.5).tolist()]
        self._pen.line(path, fill=label, width=max(1, round(width_px)), joint="curve")

    def labels(self) -> Labels:
        """What was drawn."""
        return np.asarray(self._image, np.int32)


def rectangles(
    x: Points, y: Points, length: Points, width: Points, angle: Points
) -> NDArray[np.floating]:
    """Corners [shape, 4, (x, y)] of rectangles around (x, y), turned by `angle`."""
    along = np.stack([-length, length, length, -length], axis=1) / 2
    across = np.stack([-width, -width, width, width], axis=1) / 2
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.stack(
        [x[:, None] + along * cos - across * sin, y[:, None] + along * sin + across * cos], axis=2
    )
