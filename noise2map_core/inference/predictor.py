"""One tile: chips in, blended probabilities out."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.mapping.blend import TileBlend
from noise2map_core.models.allocator import keep_freed_memory
from noise2map_core.models.noise2map import Noise2Map, at_timestep


class Predictor:
    """A model on one numeric path, predicting one tile at a time."""

    def __init__(
        self, model: Noise2Map, path: NumericPath, lattice: ChipLattice, timesteps: Sequence[int]
    ) -> None:
        path.apply()
        keep_freed_memory()
        self._path = path
        self._lattice = lattice
        model = model.eval().to(path.device)
        dtype: torch.dtype = getattr(torch, path.dtype)
        self._models = {t: at_timestep(model, t, dtype, graphs=path.graphs) for t in timesteps}
        self._task = model.spec.tasks["change"]

    def predict(
        self,
        image: NDArray[np.generic],
        valid: NDArray[np.bool_],
        core: Window,
        wanted: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float32], int]:
        """Class probabilities [class, height, width] of a tile's `core`, and the chips they took.

        `image` [date, band, H, W] and `valid` [date, H, W] cover the chips that touch the core;
        `wanted` [height, width] marks core pixels that are to be decided. Chips without a wanted
        pixel are skipped. Batches are of one fixed shape and follow the lattice within the tile,
        so that the result does not depend on who works or on what came before.
        """
        cover = self._lattice.cover(core)
        chips = [chip for chip in self._lattice.chips_touching(core) if _any(wanted, chip, core)]
        blend = TileBlend(core, len(self._task.classes), self._lattice.chip_px)
        for batch in _batches(chips, self._path.batch):
            logits = self._logits(
                np.stack([image[:, :, *chip.slices_in(cover)] for chip in batch]),
                np.stack([valid[:, *chip.slices_in(cover)] for chip in batch]),
            )
            for chip, chip_logits in zip(batch, logits, strict=True):
                blend.add(chip, chip_logits)
        return _softmax(blend.mean() / self._task.temperature), len(chips)

    @torch.inference_mode()
    def _logits(self, image: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Logits [chip, class, H, W], averaged over the timesteps; padded to the path's batch."""
        count, dates, bands, height, width = image.shape
        padding = [(0, self._path.batch - count)]
        image = np.pad(image, padding + [(0, 0)] * 4).reshape(-1, dates * bands, height, width)
        valid = np.pad(valid, padding + [(0, 0)] * 3)
        on_device = torch.from_numpy(image).to(self._path.device)
        valid_on_device = torch.from_numpy(valid).to(self._path.device)
        total = torch.stack(
            [
                model.logits(on_device, timestep, valid_on_device, "change")
                for timestep, model in self._models.items()
            ]
        ).mean(dim=0)
        return total[:count].float().cpu().numpy()


def _any(wanted: NDArray[np.bool_], chip: Window, core: Window) -> bool:
    return bool(wanted[chip.intersect(core).slices_in(core)].any())


def _batches(chips: Sequence[Window], size: int) -> Iterator[Sequence[Window]]:
    for start in range(0, len(chips), size):
        yield chips[start : start + size]


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the first axis, in float32."""
    shifted = np.exp(logits - logits.max(axis=0, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=0, keepdims=True))
