"""Chips as small pictures: images, label, prediction, probability; and one over timesteps."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.store import ChipStore
from noise2map_core.evaluation.batches import ChipBatch, ChipReader
from noise2map_core.evaluation.chip_tally import ChipScore
from noise2map_core.evaluation.counting import model_logits, probability_of
from noise2map_core.evaluation.timestep_figure import photos, write_timestep_figure
from noise2map_core.evaluation.timestep_study import study_chip, telling_timesteps
from noise2map_core.inference.decision import decide_classes
from noise2map_core.learning.metrics import IGNORE
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import UntimedSpec
from noise2map_core.products.styles.palette import CLEAR, NUM_SHADES, amount_shades, opaque
from noise2map_core.report.images import overlay_url, photo_url, png_url
from noise2map_core.settings.network import Task

PHOTO_BYTES = 24_000
OVERLAY_BYTES = 30_000
"""Two tasks of eight chips of at most five pictures: under 4 MB in base64."""
NUM_TIMESTEPS = 8


@dataclass(frozen=True, slots=True)
class ChipPicture:
    """A chip and what the model makes of it."""

    caption: str
    panels: list[tuple[str, str]]
    """Title and `data:` URL."""


class ChipPainter:
    """Draws chips of a task."""

    def __init__(self, model: Noise2Map, store: ChipStore, task: Task) -> None:
        self._model, self._store, self._task = model, store, task
        self._spec = model.spec.tasks[task]
        self._logits_of = model_logits(model, self._spec.inference_timesteps, task)
        self._reader = ChipReader(store, (task,))
        self._colors = [opaque(entry.color) for entry in self._spec.classes] + [CLEAR]

    def paint(self, score: ChipScore) -> ChipPicture:
        """A chip and what the model says of it now, by the same passes as validation's."""
        batch, index = self._read(score)
        probability = probability_of(self._logits_of(batch), self._spec.temperature)[index]
        decided = decide_classes(probability, self._spec)
        observed = batch.inputs(self._task)[1][index].all(dim=0).numpy()
        amount = self._amount(probability, decided)
        panels = [
            *self._photos(batch, index),
            ("label", self._classes(batch.truth(self._task)[index])),
            ("prediction", self._classes(np.where(observed, decided, np.uint8(IGNORE)))),
            ("probability", _amounts(np.where(observed, amount, np.float32(np.nan)))),
        ]
        return ChipPicture(_caption(score, self._spec.num_dates == 1), panels)

    def over_timesteps(self, score: ChipScore) -> str:
        """A chip at several timesteps and in both orders of the dates, `data:` URL; empty for
        models that know no timestep."""
        if isinstance(self._model.spec.network, UntimedSpec):
            return ""
        batch = _from_date(*self._read(score))
        timesteps = telling_timesteps(self._model, self._task, NUM_TIMESTEPS)
        study = study_chip(self._model, batch, self._task, timesteps)
        title = _place(score, self._spec.num_dates == 1)
        with TemporaryDirectory(prefix="noise2map-") as folder:
            path = Path(folder) / "timesteps.png"
            write_timestep_figure(path, study, batch, self._model.spec.bands, title)
            return png_url(path)

    def _read(self, score: ChipScore) -> tuple[ChipBatch, int]:
        """A batch of one chip, and its sample."""
        sample = score.date if self._task == "segment" else 0
        return self._reader.read(np.array([score.chip])), sample

    def _photos(self, batch: ChipBatch, sample: int) -> Iterator[tuple[str, str]]:
        """The dates of a sample."""
        dates = range(len(batch.image[0])) if self._spec.num_dates > 1 else (sample,)
        for name, picture in photos(batch, self._model.spec.bands, dates):
            yield name, photo_url(picture, PHOTO_BYTES)

    def _classes(self, values: NDArray[np.uint8]) -> str:
        numbers = np.where(values == IGNORE, np.uint8(len(self._colors) - 1), values)
        return overlay_url(numbers.astype(np.uint8), self._colors, OVERLAY_BYTES)

    def _amount(
        self, probability: NDArray[np.float32], decided: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Of two classes the second's probability, of more the decided one's [y, x]."""
        if len(self._spec.classes) == 2:
            return probability[1]
        return np.take_along_axis(probability, decided[None].astype(np.intp), axis=0)[0]


def _from_date(batch: ChipBatch, sample: int) -> ChipBatch:
    """The batch from the sample's date on: a study looks at the first one."""
    labels = {
        task: label[:, sample:] if label.ndim == 4 else label
        for task, label in batch.labels.items()
    }
    image, valid, light = batch.image, batch.valid, batch.light
    return ChipBatch(image[:, sample:], valid[:, sample:], labels, batch.chip, light[:, sample:])


def _amounts(values: NDArray[np.float32]) -> str:
    """Probabilities [y, x]; clear where there is none (NaN)."""
    known = np.nan_to_num(values, nan=NUM_SHADES / (NUM_SHADES - 1))
    numbers = np.rint(known * (NUM_SHADES - 1)).astype(np.uint8)
    return overlay_url(numbers, [*amount_shades(), CLEAR], OVERLAY_BYTES)


def _place(score: ChipScore, with_date: bool = False) -> str:
    return f"chip {score.chip}{f', date {score.date + 1}' if with_date else ''}"


def _caption(score: ChipScore, with_date: bool) -> str:
    return (
        f"{_place(score, with_date)}: F1 {score.f1:.3f}; {score.wrong_px:,} of "
        f"{score.known_px:,} labelled pixels wrong"
    )
