"""Overlapping chips blended into one tile."""

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.window import Window


def blend_weights(chip_px: int) -> NDArray[np.float32]:
    """Separable triangular weights [chip_px, chip_px], in (0, 1]: least at the chip's edge.

    Where chips overlap by half, neighbouring triangles sum to a constant, so that a chip's
    influence fades out exactly where it ends.
    """
    ramp = np.minimum(np.arange(chip_px) + 0.5, chip_px - np.arange(chip_px) - 0.5)
    ramp = (ramp / ramp.max()).astype(np.float32)
    return np.outer(ramp, ramp)


class TileBlend:
    """The weighted mean of the logits of the chips that touch one tile.

    Sums are kept in float32 and only for the tile's own pixels; chips must be added in lattice
    order, since the order of a float sum moves its last bits.
    """

    def __init__(self, core: Window, num_classes: int, chip_px: int) -> None:
        self._core = core
        self._weights = blend_weights(chip_px)
        self._sum = np.zeros((num_classes, core.height, core.width), np.float32)
        self._weight_sum = np.zeros((core.height, core.width), np.float32)

    def add(self, chip: Window, logits: NDArray[np.float32]) -> None:
        """Add the logits [class, chip_px, chip_px] of one chip."""
        shared = chip.intersect(self._core)
        inside, rows_cols = shared.slices_in(chip), shared.slices_in(self._core)
        weights = self._weights[inside]
        self._sum[:, *rows_cols] += logits[:, *inside] * weights
        self._weight_sum[rows_cols] += weights

    def mean(self) -> NDArray[np.float32]:
        """Blended logits [class, height, width]; 0 where no chip was added."""
        weight_sum = np.where(self._weight_sum > 0, self._weight_sum, np.float32(1))
        return (self._sum / weight_sum).astype(np.float32, copy=False)
