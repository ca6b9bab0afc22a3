"""Small valid values for tests."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.models.presets import plain_unet
from noise2map_core.models.spec import (
    CheckpointSpec,
    ClassSpec,
    Normalisation,
    PatchUNetSpec,
    TaskSpec,
)
from noise2map_core.settings.diffusion import LinearSchedule, SelfCorruption, SwappedPairCorruption
from noise2map_core.settings.network import Task

UNET = plain_unet((8, 16)) | {"norm_num_groups": 4}


def samples(count: int, showing: int = 0) -> NDArray[np.int64]:
    """What random numbers of so many chips follow from, each shown so often before."""
    return np.column_stack([np.arange(count), np.full(count, showing)])


def random_of(count: int, seed: int = 0) -> ChipRandom:
    """Random numbers of so many chips."""
    return ChipRandom(seed, 0, "test", samples(count))


def task_spec(task: Task = "change", num_bands: int = 2, **changes: Any) -> TaskSpec:
    """Change of two dates, or segmentation of one."""
    dates = 2 if task == "change" else 1
    names = ("unchanged", "changed") if task == "change" else ("other", "building")
    fields: dict[str, Any] = {
        "num_dates": dates,
        "normalisation": Normalisation(
            mean=((1000.0,) * num_bands,) * dates, std=((500.0,) * num_bands,) * dates
        ),
        "corruption": SwappedPairCorruption() if task == "change" else SelfCorruption(),
        "schedule": LinearSchedule(),
        "inference_timesteps": (999,),
        "classes": tuple(
            ClassSpec(value=value, name=name, color=color)
            for value, (name, color) in enumerate(zip(names, ("#cccccc", "#d7191c"), strict=True))
        ),
        "threshold": {names[1]: 0.5},
        **changes,
    }
    return TaskSpec(**fields)


def checkpoint_spec(**changes: Any) -> CheckpointSpec:
    """The spec of a network so small that its forward pass costs nothing to speak of.

    Changes are of the checkpoint or of its task, which is change unless `tasks` says otherwise.
    """
    of_task = {name: changes.pop(name) for name in TaskSpec.model_fields if name in changes}
    bands = changes.get("bands", ("green", "red"))
    fields: dict[str, Any] = {
        "tasks": {"change": task_spec("change", len(bands), **of_task)},
        "bands": bands,
        "gsd": 10.0,
        "gsd_range": (5.0, 20.0),
        "value_range": (0.0, 10_000.0),
        "chip_px": 32,
        "stride_px": 16,
        "preset": "tiny",
        "network": PatchUNetSpec(patch=2, unet=UNET, context_channels=4, detail_channels=8),
        "code_version": "0",
        **changes,
    }
    return CheckpointSpec(**fields)
