"""Overlapping chips blended into one tile, on the device that they were predicted on."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noise2map_core.geo.grid import ChipLattice
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

    Sums are kept in float32, for the tile's rows and for the columns of the lattice's cells that
    meet it. Chips must be added in lattice order: the order of a float sum moves its last bits.
    Every sum is of slices that do not overlap, so that it is the same on any device, every time.
    """

    def __init__(
        self, core: Window, lattice: ChipLattice, channels: int, device: torch.device | str = "cpu"
    ) -> None:
        self._core, self._chip_px, self._stride = core, lattice.chip_px, lattice.stride_px
        self._weights = torch.from_numpy(blend_weights(lattice.chip_px)).to(device)
        self._first = core.col // self._stride
        cells = -(-core.col_stop // self._stride) - self._first
        self._sum = torch.zeros(channels, core.height, cells, self._stride, device=device)
        self._weight_sum = torch.zeros(core.height, cells, self._stride, device=device)

    def add(self, chips: Sequence[Window], logits: Tensor) -> None:
        """Add the logits [chip, channel, chip_px, chip_px] of chips, which are overwritten."""
        weighted = logits.mul_(self._weights)
        for start, stop in _runs(chips, self._stride):
            self._add_run(chips[start], weighted[start:stop])

    def _add_run(self, chip: Window, weighted: Tensor) -> None:
        """Add chips of one row, each a stride right of the one before; `chip` is the first.

        A chip lies on several cells. What its neighbours have for the same cell comes from parts
        further right of them: the rightmost part of all chips first, and each pixel is summed up
        from left to right.
        """
        shared = chip.intersect(self._core)
        rows, inside = shared.slices_in(self._core)[0], shared.slices_in(chip)[0]
        first, cells = chip.col // self._stride - self._first, self._weight_sum.shape[1]
        for part in reversed(range(-(-self._chip_px // self._stride))):
            cols = slice(part * self._stride, min((part + 1) * self._stride, self._chip_px))
            width, at = cols.stop - cols.start, first + part
            start, stop = max(0, -at), min(len(weighted), cells - at)
            if start < stop:
                place = (rows, slice(at + start, at + stop), slice(width))
                piece = weighted[start:stop, :, inside, cols].permute(1, 2, 0, 3)
                self._sum[:, *place] += piece
                self._weight_sum[place] += self._weights[inside, None, cols]

    def mean(self) -> Tensor:
        """Blended logits [channel, height, width]; 0 where no chip was added."""
        left = self._core.col - self._first * self._stride
        within = slice(left, left + self._core.width)
        weights = self._weight_sum.flatten(1)[:, within]
        total = self._sum.flatten(2)[:, :, within]
        return total / torch.where(weights > 0, weights, 1.0)


def _runs(chips: Sequence[Window], stride: int) -> Iterator[tuple[int, int]]:
    """Start and stop of chips that lie in one row, each a stride right of the one before."""
    start = 0
    for stop in range(1, len(chips) + 1):
        if stop < len(chips):
            last, this = chips[stop - 1], chips[stop]
            if (this.row, this.col) == (last.row, last.col + stride):
                continue
        yield start, stop
        start = stop
