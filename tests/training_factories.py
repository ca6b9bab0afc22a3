"""What a finished training leaves, made without training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CheckpointSpec, ClassSpec, TaskSpec
from noise2map_core.settings.learning import MlflowConfig
from noise2map_core.settings.network import Task
from noise2map_core.training.report.evidence import TaskEvidence, gather_evidence
from noise2map_core.training.report.facts import training_page
from noise2map_core.training.report.page import TrainingPage
from noise2map_core.training.training_data import COLORS
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec, task_spec
from tests.unit.evaluation.test_evaluation import SPLIT

HOSTILE = (
    "</script></style><script>document.title='pwned'</script><img src=x onerror=alert(1)>\"'&$_$"
)
SECRET = "CANARY-password"
LOSSES = [(step, 1 / step) for step in range(1, 1001)]


@dataclass(frozen=True)
class FinishedTraining:
    """A run with random weights and invented history."""

    note: dict[str, Any]
    model: Noise2Map
    store: ChipStore

    def page(self) -> TrainingPage:
        """Its report."""
        return training_page(self.note, self.model.spec, self.store, self.evidence(), LOSSES)

    def evidence(self) -> dict[Any, TaskEvidence]:
        """Of all its tasks."""
        return {
            name: gather_evidence(self.model, self.store, name, 8) for name in self.model.spec.tasks
        }


def finished_training(
    folder: Path, names: str = "", classes: Sequence[str] = ()
) -> FinishedTraining:
    """A run on a small chip store: of change, or with `classes` of these.

    `names` is put behind the names of a class and of its source items.
    """
    job = plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT, classes=classes)
    store = open_store(make_store(job))
    tasks = {"tasks": {"segment": segmentation_task(classes)}} if classes else {}
    spec = checkpoint_spec(bands=tuple(store.bands), chip_px=16, **tasks)
    torch.manual_seed(0)
    renamed = partial(_renamed, names=("date0", "date1", *classes[-1:], "changed"), ending=names)
    model = Noise2Map(CheckpointSpec.model_validate(renamed(spec.model_dump(mode="json"))))
    store = replace(store, attributes=renamed(store.attributes))
    return FinishedTraining(_note(store, folder, *spec.tasks), model.eval(), store)


def segmentation_task(classes: Sequence[str]) -> TaskSpec:
    """A task of these classes."""
    table = tuple(
        ClassSpec(value=value, name=name, color=COLORS[value]) for value, name in enumerate(classes)
    )
    return task_spec("segment", classes=table, threshold={})


def _renamed(value: Any, names: Sequence[str], ending: str) -> Any:
    """`value` with `ending` behind `names`."""
    text = json.dumps(value)
    for name in names:
        text = text.replace(json.dumps(name), json.dumps(name + ending))
    return json.loads(text)


def _note(store: ChipStore, folder: Path, task: Task) -> dict[str, Any]:
    config = FinetuneMapsConfig(
        chips=store.path,
        output=folder / "out",
        mlflow=MlflowConfig(tracking_uri=f"https://user:{SECRET}@mlflow.example.org"),
    )
    validation = {"f1": 0.6, "error": 0.02, "threshold": {}, "temperature": 1.0}
    held = {"workers": 2, "cpus": 0.5, "gpus": 0.0, "hardware": "a processor"}
    history = [
        {
            "epoch": epoch, "loss": 1 / epoch, "train_s": 90.0 * epoch, "val_f1": 0.6,
            "val_error": 0.02, "tasks": {task: validation}, "resources": held,
        }
        for epoch in (2.0, 4.0)
    ]  # fmt: skip
    return {
        "config": config.model_dump(mode="json"), "epoch": 4, "val_f1": 0.6, "history": history,
    }  # fmt: skip
