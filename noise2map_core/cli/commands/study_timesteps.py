"""See how a model's prediction depends on the timestep and on the order of the dates."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import reduce
from operator import add

from noise2map_core.chips.store import open_store
from noise2map_core.evaluation.batches import ChipReader, richest_chips
from noise2map_core.evaluation.evidence.wrong_timestep import WrongTimesteps, wrong_timesteps
from noise2map_core.evaluation.scores import require_evaluable
from noise2map_core.evaluation.timestep_figure import write_timestep_figure
from noise2map_core.evaluation.timestep_study import study_chip, telling_timesteps
from noise2map_core.evaluation.timestep_summary import StudiedTimesteps
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import UntimedSpec
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.network import Task
from noise2map_core.workflows.tools.study_timesteps import StudyTimestepsConfig


def run(config: StudyTimestepsConfig) -> StudiedTimesteps:
    """Predict some chips at several timesteps and in both orders; draw and count."""
    store = open_store(config.chips)
    store.require((config.split,), (config.task,) if config.task else ())
    model = load_checkpoint(config.checkpoint)
    task = model.spec.task_name(config.task)
    require_evaluable(model.spec, store, config.split, task)
    timesteps = config.timesteps or telling_timesteps(model, task, 8)
    _require_timesteps(model, task, timesteps)
    if config.wrong:
        _require_told(model)
    reader = ChipReader(store, (task,))
    studies, wrong = [], list[WrongTimesteps]()
    config.output.mkdir(parents=True, exist_ok=True)
    sought = [entry.value for entry in model.spec.tasks[task].sought]
    for chip in richest_chips(store, config.split, task, sought, config.num_chips):
        batch = reader.read(chip[None])
        study = study_chip(model, batch, task, timesteps)
        path = config.output / f"chip-{int(chip):06d}.png"
        write_timestep_figure(path, study, batch, model.spec.bands, f"chip {int(chip)}")
        studies.append(study)
        if config.wrong:
            wrong.append(wrong_timesteps(model, batch, task, timesteps))
    found = StudiedTimesteps.of(config.output, studies)
    if wrong:
        found = replace(found, wrong=reduce(add, wrong))
    write_atomically(config.output / "study.json", json.dumps(found.document(), indent=2) + "\n")
    return found


def _require_timesteps(model: Noise2Map, task: Task, timesteps: tuple[int, ...]) -> None:
    last = model.spec.tasks[task].schedule.num_timesteps - 1
    if max(timesteps) > last:
        raise ConfigError(f"timesteps must lie in 0 … {last}: the checkpoint has no other.")


def _require_told(model: Noise2Map) -> None:
    if isinstance(model.spec.network, UntimedSpec):
        raise ConfigError(
            f"preset {model.spec.preset} is told no timestep, and so no wrong one. Leave wrong out."
        )
