"""One tile: chips in, blended probabilities out."""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from noise2map_core.geo.grid import ChipLattice
from noise2map_core.geo.window import Window
from noise2map_core.inference.networks.blend import TileBlend
from noise2map_core.inference.networks.compiled import networks_at
from noise2map_core.inference.networks.turns import turned, turned_back
from noise2map_core.inference.networks.usable_gpu import require_usable_gpu
from noise2map_core.inference.networks.verdict import in_stored_units, verdict_of
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.inference.region import Pass
from noise2map_core.inference.scene_light import SceneLight
from noise2map_core.inference.tile import Prediction
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.allocator import keep_freed_memory
from noise2map_core.settings.network import Task

MAP, REVERSED = "map", "reversed map"
"""Layers that are blended besides those of single passes."""
STRIP_PX = 32
"""Rows that are normalised at once: they stay in a processor's cache."""


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
        checkpoint: Path | None = None,
    ) -> None:
        """`checkpoint`: where the model is from; None: it was never saved."""
        if path.device == "cuda":
            require_usable_gpu()
        path.apply()
        keep_freed_memory()
        self._path = path
        self._lattice = lattice
        self._model = model = model.eval().to(path.device)
        self._passes = [Pass(t) for t in timesteps]
        self._evidence = list(evidence)
        asked = dict.fromkeys(one.timestep for one in [*self._passes, *self._evidence])
        self._models = networks_at(model, path, task, asked, checkpoint)
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
        """What a tile's `core` shows.

        `image` [date, band, H, W] and `valid` [date, H, W] cover the chips that touch the core;
        `wanted` [height, width] marks core pixels that are to be decided. Chips without a wanted
        pixel are skipped. Batches are of one fixed shape and follow the lattice within the tile,
        so that the result does not depend on who works or on what came before. What was seen of
        each class stays on the device; what is decided is fetched from it.
        """
        found, chips = self.passes(image, valid, core, wanted)
        other = found.get(REVERSED)
        return Prediction(
            verdict_of(found[MAP], self._task), chips, disagreement_of(found, self._evidence),
            None if other is None else verdict_of(other, self._task).classes,
        )  # fmt: skip

    @torch.inference_mode()
    def passes(
        self,
        image: NDArray[np.generic],
        valid: NDArray[np.bool_],
        core: Window,
        wanted: NDArray[np.bool_],
        date: int | None = None,
    ) -> tuple[dict[str, Tensor], int]:
        """As `predict`: the probabilities [class, height, width] of the map (`MAP`) and of each
        pass of the evidence (`name_of`), on the device, and how many chips that took. `date`: whose
        light a single date has."""
        chips = list(_wanted(self._lattice.chips_touching(core), wanted, core))
        classes = len(self._task.classes)
        blend = TileBlend(core, self._lattice, len(self._sets) * classes, self._path.device)
        if chips:
            shown = self._shown(image, valid, self._lattice.cover(core), self._lights[date])
            for batch in _batches(chips, self._path.batch):
                blend.add(batch, self._logits(shown, batch))
        layers = blend.mean().split(classes)
        found = {
            name: _softmax(layer, self._task.temperature)
            for name, layer in zip(self._sets, layers, strict=True)
        }
        return found, len(chips)

    @property
    def evidence(self) -> Sequence[Pass]:
        """The passes whose disagreement is measured."""
        return self._evidence

    @cached_property
    def _sets(self) -> dict[str, list[Pass]]:
        """The passes whose logits are averaged, for each layer that is blended."""
        sets = {MAP: self._passes} | {name_of(one): [one] for one in self._evidence}
        if any(one.reversed_dates for one in self._evidence):
            sets[REVERSED] = [Pass(one.timestep, True) for one in self._passes]
        return sets

    @cached_property
    def _all(self) -> list[Pass]:
        """All passes that are needed, each once."""
        return list(dict.fromkeys(one for passes in self._sets.values() for one in passes))

    def _shown(
        self,
        image: NDArray[np.generic],
        valid: NDArray[np.bool_],
        frame: Window,
        light: Tensor | None,
    ) -> "_Shown":
        device = self._path.device
        channels = image.reshape(1, -1, *image.shape[2:])
        return _Shown(
            _sent(channels, device), _sent(valid[None], device), frame, self._model,
            self._task_name, light, self._alteration,
        )  # fmt: skip

    def _logits(self, shown: "_Shown", batch: Sequence[Window]) -> Tensor:
        """Mean logits [chip, set · class, H, W] over each set of passes."""
        logits = {
            one: self._judged(shown.chips(one, batch, self._path.batch), one)[: len(batch)]
            for one in self._all
        }
        means = [_mean([logits[one] for one in passes]) for passes in self._sets.values()]
        return means[0] if len(means) == 1 else torch.cat(means, dim=1)

    def _judged(self, chips: Tensor, one: Pass) -> Tensor:
        laid = turned(chips, one.turn)
        logits = self._models[one.timestep].judged(laid, one.timestep, self._task_name)
        return turned_back(logits, one.turn)


class _Shown:
    """A tile on the device, as the network is shown it: sent there once, normalised once.

    What is shown of a pixel depends on that alone, as a rule, so that chips, which overlap, are cut
    from what is shown of the whole tile.
    """

    def __init__(
        self, image: Tensor, valid: Tensor, frame: Window, model: Noise2Map, task: Task,
        light: Tensor | None, alteration: Tensor | None,
    ) -> None:  # fmt: skip
        """`image` [1, date·band, H, W] raw, `valid` [1, date, H, W], of `frame`; `light` and
        `alteration` as `Noise2Map.logits` takes them."""
        self._frame, self._model, self._task, self._light = frame, model, task, light
        self._alteration, self._whole = alteration, model.shows_pixels_alone(task)
        self._image, self._observed = image, valid.all(dim=1, keepdim=True)
        self._tiles: dict[Pass | None, Tensor] = {}

    def chips(self, one: Pass, chips: Sequence[Window], batch: int) -> Tensor:
        """What a pass shows of chips [batch, C, chip_px, chip_px], before they are turned; nothing
        after the last one."""
        one = replace(one, turn=0)
        if self._whole:
            return self._cut(self._tile(one), chips, batch)
        x_0, observed = (self._cut(of, chips, batch) for of in (self._tile(None), self._observed))
        return self._show(one, x_0, observed)

    def _tile(self, one: Pass | None) -> Tensor:
        """What a pass shows of the whole tile; None: the tile normalised."""
        if one not in self._tiles:
            made = self._image.new_empty(self._image.shape, dtype=torch.float32)
            for top in range(0, made.shape[2], STRIP_PX):
                rows = slice(top, top + STRIP_PX)
                observed = self._observed[:, :, rows]
                image = self._image[:, :, rows]
                x_0 = self._model.normalise(image, observed, self._task, self._light)
                made[:, :, rows] = x_0 if one is None else self._show(one, x_0, observed)
            self._tiles[one] = made
        return self._tiles[one]

    def _show(self, one: Pass, x_0: Tensor, observed: Tensor) -> Tensor:
        variates = self._model.alteration_of(self._alteration, len(x_0), self._task, self._light)
        return self._model.shown(
            x_0, observed, one.timestep, self._task, variates, one.reversed_dates
        )

    def _cut(self, tile: Tensor, chips: Sequence[Window], batch: int) -> Tensor:
        places = [chip.slices_in(self._frame) for chip in chips]
        found = torch.stack([tile[0, :, *place] for place in places])
        missing = batch - len(chips)
        return F.pad(found, (0,) * 7 + (missing,)) if missing else found


def _sent(values: NDArray[Any], device: str) -> Tensor:
    """An array on the device. On its way to a GPU it waits in pinned memory, and nobody for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        found = torch.from_numpy(values)  # of Ray's object store: it is only read
    if device == "cpu":
        return found
    return found.pin_memory().to(device, non_blocking=True)


def _lights(light: SceneLight | None, device: str) -> dict[int | None, Tensor | None]:
    """[1, 2, date·band] of all chips: of all dates (None), and of each by its number."""
    if light is None:
        return defaultdict(lambda: None)
    numbers = torch.tensor(light.dates, dtype=torch.float32, device=device)
    each: dict[int | None, Tensor | None] = {n: one[None] for n, one in enumerate(numbers)}
    return {None: numbers.transpose(0, 1).flatten(1)[None], **each}


def _alteration(light: SceneLight | None, device: str) -> Tensor | None:
    """[1, variate, date·band + 1] of all chips; None: unknown."""
    if light is None or not light.alteration:
        return None
    return torch.tensor(light.alteration, dtype=torch.float32, device=device)[None]


def name_of(one: Pass) -> str:
    """A key for one pass of the evidence."""
    turn = f" turn {one.turn}" if one.turn else ""
    return f"{one.timestep}{' reversed' if one.reversed_dates else ''}{turn}"


def disagreement_of(
    found: Mapping[str, Tensor], evidence: Sequence[Pass]
) -> NDArray[np.uint16] | None:
    """Highest less lowest probability over the passes, of the class in which they differ most, in
    units of the mosaic, on the host; None without evidence."""
    if not evidence:
        return None
    passes = [found[name_of(one)] for one in evidence]
    low, high = passes[0].clone(), passes[0].clone()
    for probability in passes[1:]:
        torch.minimum(low, probability, out=low)
        torch.maximum(high, probability, out=high)
    return in_stored_units((high - low).amax(dim=0)).cpu().numpy()


def _wanted(chips: Sequence[Window], wanted: NDArray[np.bool_], core: Window) -> Iterator[Window]:
    """The chips that have a wanted pixel."""
    for _, row in groupby(chips, key=attrgetter("row")):
        in_row = [(chip, *chip.intersect(core).slices_in(core)) for chip in row]
        columns = np.asarray(wanted[in_row[0][1]].any(axis=0))
        yield from (chip for chip, _, cols in in_row if columns[cols].any())


def _batches(chips: Sequence[Window], size: int) -> Iterator[Sequence[Window]]:
    for start in range(0, len(chips), size):
        yield chips[start : start + size]


def _mean(logits: list[Tensor]) -> Tensor:
    return logits[0] if len(logits) == 1 else torch.stack(logits).mean(dim=0)


def _softmax(logits: Tensor, temperature: float) -> Tensor:
    """Softmax over the first axis, in float32; classes are summed up in their order."""
    if temperature != 1:
        logits = logits / temperature
    shifted = _exp_(logits - logits.amax(dim=0))
    total = shifted[0].clone()
    for one in shifted[1:]:
        total += one
    return shifted.div_(total)


def _exp_(values: Tensor) -> Tensor:
    """exp in place. On a CPU it is numpy's: maps keep the last bits that they had with it."""
    if values.device.type != "cpu":
        return values.exp_()
    np.exp(values.numpy(), out=values.numpy())
    return values
