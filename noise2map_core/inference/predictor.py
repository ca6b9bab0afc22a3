"""One tile: chips in, blended probabilities out."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.inference.region import Pass
from noise2map_core.inference.scene_light import SceneLight
from noise2map_core.inference.tile import Prediction
from noise2map_core.mapping.blend import TileBlend
from noise2map_core.models.noise2map import Noise2Map, at_timestep
from noise2map_core.runtime.allocator import keep_freed_memory
from noise2map_core.settings.network import Task

MAP, REVERSED = "map", "reversed map"
"""Layers that are blended besides those of single passes."""


class Predictor:
    """A model on one numeric path, predicting one tile at a time.

    The map is the mean of the logits at `timesteps`; `evidence` are the passes whose disagreement
    is measured besides.
    """

    def __init__(
        self,
        model: Noise2Map,
        path: NumericPath,
        lattice: ChipLattice,
        timesteps: Sequence[int],
        task: Task = "change",
        evidence: Sequence[Pass] = (),
        light: SceneLight | None = None,
    ) -> None:
        path.apply()
        keep_freed_memory()
        self._path = path
        self._lattice = lattice
        model = model.eval().to(path.device)
        dtype: torch.dtype = getattr(torch, path.dtype)
        self._passes = [Pass(t) for t in timesteps]
        self._evidence = list(evidence)
        self._models = {
            t: at_timestep(model, t, dtype, graphs=path.graphs)
            for t in dict.fromkeys(one.timestep for one in [*self._passes, *self._evidence])
        }
        self._task_name: Task = task
        self._task = model.spec.tasks[task]
        self._lights = _lights(light, path.device)
        self._alteration = _alteration(light, path.device)

    def predict(
        self,
        image: NDArray[np.generic],
        valid: NDArray[np.bool_],
        core: Window,
        wanted: NDArray[np.bool_],
        part: NDArray[np.uint8] | None = None,
    ) -> Prediction:
        """Class probabilities of a tile's `core`.

        `image` [date, band, H, W] and `valid` [date, H, W] cover the chips that touch the core;
        `wanted` [height, width] marks core pixels that are to be decided. Chips without a wanted
        pixel are skipped. Batches are of one fixed shape and follow the lattice within the tile,
        so that the result does not depend on who works or on what came before.
        """
        found, chips = self.passes(image, valid, core, wanted)
        return Prediction(
            found[MAP], chips, spread_over(found, self._evidence), found.get(REVERSED)
        )

    def passes(
        self,
        image: NDArray[np.generic],
        valid: NDArray[np.bool_],
        core: Window,
        wanted: NDArray[np.bool_],
        date: int | None = None,
    ) -> tuple[dict[str, NDArray[np.float32]], int]:
        """As `predict`: the probabilities of the map (`MAP`) and of each pass of the evidence
        (`name_of`), and how many chips that took. `date`: whose light a single date has."""
        cover = self._lattice.cover(core)
        chips = [chip for chip in self._lattice.chips_touching(core) if _any(wanted, chip, core)]
        blends = {name: self._blend(core) for name in self._sets}
        for batch in _batches(chips, self._path.batch):
            logits = self._logits(
                np.stack([image[:, :, *chip.slices_in(cover)] for chip in batch]),
                np.stack([valid[:, *chip.slices_in(cover)] for chip in batch]),
                self._lights[date],
            )
            for name, blend in blends.items():
                for chip, chip_logits in zip(batch, logits[name], strict=True):
                    blend.add(chip, chip_logits)
        found = {
            name: _softmax(blend.mean() / self._task.temperature) for name, blend in blends.items()
        }
        return found, len(chips)

    @property
    def evidence(self) -> Sequence[Pass]:
        """The passes whose disagreement is measured."""
        return self._evidence

    def _blend(self, core: Window) -> TileBlend:
        return TileBlend(core, len(self._task.classes), self._lattice.chip_px)

    @cached_property
    def _sets(self) -> dict[str, list[Pass]]:
        """The passes whose logits are averaged, for each layer that is blended."""
        sets = {MAP: self._passes} | {name_of(one): [one] for one in self._evidence}
        if any(one.reversed_dates for one in self._evidence):
            sets[REVERSED] = [Pass(one.timestep, True) for one in self._passes]
        return sets

    @torch.inference_mode()
    def _logits(
        self, image: NDArray[np.generic], valid: NDArray[np.bool_], light: torch.Tensor | None
    ) -> dict[str, NDArray[np.float32]]:
        """Logits [chip, class, H, W] of each set of passes; padded to the path's batch."""
        count, dates, bands, height, width = image.shape
        padding = [(0, self._path.batch - count)]
        image = np.pad(image, padding + [(0, 0)] * 4).reshape(-1, dates * bands, height, width)
        valid = np.pad(valid, padding + [(0, 0)] * 3)
        on_device = torch.from_numpy(image).to(self._path.device)
        valid_on_device = torch.from_numpy(valid).to(self._path.device)
        logits = {
            one: self._models[one.timestep].logits(
                on_device, one.timestep, valid_on_device, self._task_name,
                light=light, alteration=self._alteration, reverse_dates=one.reversed_dates,
            )
            for one in dict.fromkeys(one for passes in self._sets.values() for one in passes)
        }  # fmt: skip
        return {
            name: torch.stack([logits[one] for one in passes])
            .mean(dim=0)[:count].float().cpu().numpy()
            for name, passes in self._sets.items()
        }  # fmt: skip


def _lights(light: SceneLight | None, device: str) -> dict[int | None, torch.Tensor | None]:
    """[1, 2, date·band] of all chips: of all dates (None), and of each by its number."""
    if light is None:
        return defaultdict(lambda: None)
    numbers = torch.tensor(light.dates, dtype=torch.float32, device=device)
    each: dict[int | None, torch.Tensor | None] = {n: one[None] for n, one in enumerate(numbers)}
    return {None: numbers.transpose(0, 1).flatten(1)[None], **each}


def _alteration(light: SceneLight | None, device: str) -> torch.Tensor | None:
    """[1, variate, date·band + 1] of all chips; None: unknown."""
    if light is None or not light.alteration:
        return None
    return torch.tensor(light.alteration, dtype=torch.float32, device=device)[None]


def name_of(one: Pass) -> str:
    """A key for one pass of the evidence."""
    return f"{one.timestep}{' reversed' if one.reversed_dates else ''}"


def spread_over(
    found: Mapping[str, NDArray[np.float32]], evidence: Sequence[Pass]
) -> NDArray[np.float32] | None:
    """Highest less lowest probability over the passes, of the class in which they differ most."""
    if not evidence:
        return None
    passes = [found[name_of(one)] for one in evidence]
    low, high = passes[0].copy(), passes[0].copy()
    for probability in passes[1:]:
        np.minimum(low, probability, out=low)
        np.maximum(high, probability, out=high)
    return np.asarray((high - low).max(axis=0))


def _any(wanted: NDArray[np.bool_], chip: Window, core: Window) -> bool:
    return bool(wanted[chip.intersect(core).slices_in(core)].any())


def _batches(chips: Sequence[Window], size: int) -> Iterator[Sequence[Window]]:
    for start in range(0, len(chips), size):
        yield chips[start : start + size]


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the first axis, in float32."""
    shifted = np.exp(logits - logits.max(axis=0, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=0, keepdims=True))
