"""See how a model's prediction depends on the timestep and on the order of the dates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.cli.application import application
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.storage import LocalPath, Location
from noise2map_core.settings.labels import SplitName
from noise2map_core.settings.network import Task
from noise2map_core.settings.numbers import NonNegativeInt, PositiveInt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from noise2map_core.chips.store import ChipStore
    from noise2map_core.evaluation.timestep_study import TimestepStudy
    from noise2map_core.models.noise2map import Noise2Map


class StudyTimestepsConfig(BaseModel):
    """Which chips of which store, and at which timesteps."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chips: LocalPath
    """Chip store; the first argument, too."""

    checkpoint: Location
    """Checkpoint directory, or the name of a checkpoint that ships."""

    task: Task | None = None
    """What is studied: change or segment. None: the checkpoint's only task."""

    split: SplitName = "test"
    """Part of the store that chips are taken from."""

    num_chips: PositiveInt = 4
    """Chips: those with the most labelled pixels; of two classes, of the second."""

    timesteps: tuple[NonNegativeInt, ...] | None = Field(default=None, min_length=1)
    """Timesteps. None: eight from 0 to T - 1, without those that cannot tell the dates apart."""

    output: LocalPath
    """Directory for a picture a chip, and study.json."""


@dataclass(frozen=True)
class StudiedTimesteps:
    """F1 at each timestep, over all chips that were studied; of more than two classes the mean."""

    output: Path
    timesteps: tuple[int, ...]
    gains: tuple[float, ...]
    f1: dict[str, list[float]]
    """By order of the dates."""
    undecided: float
    """Part of the observed pixels that are decided otherwise at another timestep or order."""
    num_chips: int

    def summary(self) -> list[str]:
        """A table for people."""
        head = f"{'t':>6} {'gain':>7} " + " ".join(f"{'F1 ' + name:>12}" for name in self.f1)
        rows = [
            f"{t:6} {gain:7.3f} "
            + " ".join(f"{values[index]:12.3f}" for values in self.f1.values())
            for index, (t, gain) in enumerate(zip(self.timesteps, self.gains, strict=True))
        ]
        return [
            f"{self.num_chips} chips; {self.undecided:.1%} of their pixels are decided otherwise "
            "at another timestep or order",
            head,
            *rows,
            f"pictures  {self.output}",
        ]


def main() -> None:
    """The command `noise2map study-timesteps`."""
    application(StudyTimestepsConfig, run, operand="chips")


def run(config: StudyTimestepsConfig) -> StudiedTimesteps:
    """Predict some chips at several timesteps and in both orders; draw and count."""
    from noise2map_core.chips.store import open_store

    store = open_store(config.chips)
    # Before libraries that take their time.
    store.require((config.split,), (config.task,) if config.task else ())
    from noise2map_core.evaluation.batches import ChipReader
    from noise2map_core.evaluation.scores import require_evaluable
    from noise2map_core.evaluation.timestep_figure import write_timestep_figure
    from noise2map_core.evaluation.timestep_study import study_chip, telling_timesteps
    from noise2map_core.models.checkpoint import load_checkpoint

    model = load_checkpoint(config.checkpoint)
    task = model.spec.task_name(config.task)
    require_evaluable(model.spec, store, config.split, task)
    timesteps = config.timesteps or telling_timesteps(model, task, 8)
    _require_timesteps(model, task, timesteps)
    reader = ChipReader(store, (task,))
    studies = []
    config.output.mkdir(parents=True, exist_ok=True)
    sought = [entry.value for entry in model.spec.tasks[task].sought]
    for chip in _richest(store, config.split, task, sought, config.num_chips):
        batch = reader.read(chip[None])
        study = study_chip(model, batch, task, timesteps)
        path = config.output / f"chip-{int(chip):06d}.png"
        write_timestep_figure(path, study, batch, model.spec.bands, f"chip {int(chip)}")
        studies.append(study)
    return _summed(config, studies)


def _require_timesteps(model: Noise2Map, task: Task, timesteps: tuple[int, ...]) -> None:
    last = model.spec.tasks[task].schedule.num_timesteps - 1
    if max(timesteps) > last:
        raise ConfigError(f"timesteps must lie in 0 … {last}: the checkpoint has no other.")


def _richest(
    store: ChipStore, split: str, task: Task, sought: list[int], count: int
) -> NDArray[np.int64]:
    """The chips with the most pixels of the classes sought; of equal ones the first."""
    import numpy as np

    from noise2map_core.chips.store import CHIPS_PER_SHARD
    from noise2map_core.evaluation.batches import ChipReader, iter_batches

    chips = store.chips_of(split)
    reader = ChipReader(store, (task,), cache_bytes=0)
    found = [
        np.bincount(np.arange(len(batch.chip_of(task))) % len(batch.chip),
                    np.isin(batch.truth(task), sought).sum(axis=(1, 2)))
        for batch in iter_batches(reader, chips, CHIPS_PER_SHARD)
    ]  # fmt: skip
    best = np.argsort(-np.concatenate(found), kind="stable")[:count]
    return np.asarray(chips[best])


def _summed(config: StudyTimestepsConfig, studies: list[TimestepStudy]) -> StudiedTimesteps:
    from noise2map_core.evaluation.timestep_study import f1_of
    from noise2map_core.runtime.atomic import write_atomically

    first = studies[0]
    f1 = f1_of(sum((study.counts() for study in studies[1:]), first.counts()))
    observed = sum(int(study.observed.sum()) for study in studies)
    undecided = sum(int(study.changes_its_mind.sum()) for study in studies)
    result = StudiedTimesteps(
        config.output,
        first.timesteps,
        first.gains,
        dict(zip(first.orders, f1, strict=True)),
        undecided / max(observed, 1),
        len(studies),
    )
    document = {
        "timesteps": result.timesteps,
        "gains": result.gains,
        "f1": result.f1,
        "undecided": result.undecided,
        "num_chips": result.num_chips,
        "threshold": first.task.threshold,
    }
    write_atomically(config.output / "study.json", json.dumps(document, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main()
