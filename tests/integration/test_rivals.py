"""Published networks by the way of all others: trained, saved, scored, mapped; in this process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.evaluation.evaluate import evaluate_model
from noise2map_core.learning.augment import TrainingBatch
from noise2map_core.learning.steps import Ranks
from noise2map_core.learning.trainer import Learner, new_model
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.errors import ChipStoreError, ConfigError
from noise2map_core.settings.chips import ChipsConfig
from noise2map_core.settings.learning import EvaluationConfig, TrainingConfig
from noise2map_core.settings.network import Task
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.training.training_data import plan_spec
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from tests.chip_factories import changed_land, make_store, plan_store
from tests.factories import samples
from tests.integration.test_finetune_maps import SPLIT
from tests.region_in_process import map_here

CHANGE = ("fc_ef", "fc_siam_conc", "fc_siam_diff", "snunet", "bit", "changeformer", "tinycd")
SEGMENT = ("unet", "deeplabv3plus", "segformer", "upernet")
CHIP, STEPS = 32, 4


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Chips of 32 pixels with change, and with classes."""
    folder = tmp_path_factory.mktemp("stores")
    chips = ChipsConfig(chip_px=CHIP, stride_px=16)
    return {
        task: make_store(
            plan_store(
                folder / task,
                folder / f"{task}.zarr",
                chips=chips,
                split=SPLIT,
                pixels=changed_land(),
                classes=classes,
            )
        )
        for task, classes in (("change", ()), ("segment", ("other", "building")))
    }


def config(preset: str, task: str, **more: Any) -> FinetuneMapsConfig:
    model = {"preset": preset}
    given = {"chips": "chips.zarr", "output": "out", "model": model, "task": task, **more}
    return FinetuneMapsConfig.model_validate(given)


def planned(store: ChipStore, preset: str, task: str = "change") -> Any:
    asked = config(preset, task)
    return plan_spec(store, asked.model, asked.of_tasks(), None)


def batch_of(model: Noise2Map, store: ChipStore, task: Task) -> TrainingBatch:
    mine = store.chips_of("train")[:4]
    image, valid = store.array("image")[mine], store.array("valid")[mine]
    label = store.array(f"label_{task}")[mine].astype(np.int64)
    if task == "segment":
        image, valid, label = image[:, :1], valid[:, :1], label[:, 0]
    raw = torch.from_numpy(image.astype(np.float32)).flatten(1, 2)
    x_0 = model.normalise(raw, torch.from_numpy(valid), task)
    seen = torch.from_numpy(valid.all(axis=1))
    return TrainingBatch(x_0, torch.from_numpy(label), seen, samples(len(mine)))


def trained(store: ChipStore, preset: str, task: Task) -> tuple[Noise2Map, list[float]]:
    """A model after a few steps on the same four chips, and their losses."""
    spec, learnt = planned(store, preset, task), config(preset, task).of_tasks()
    settings = TrainingConfig(learning_rate=1e-3, epochs=1, jitter=0.0, flips=False)
    model = new_model(spec, 0, torch.device("cpu"))
    learner = Learner(model, settings, learnt, {task: (1.0, 1.0)}, seed=0)
    batch = batch_of(model, store, task)
    losses = [
        float(
            learner.step(
                {task: replace(batch, draws_of=samples(4, step))}, 0, step, STEPS, Ranks()
            ).loss
        )
        for step in range(STEPS)
    ]
    return learner.model, losses


QUICK = ("fc_siam_diff", "bit", "tinycd", "upernet")
"""Of each kind one, and what is cheap; all are tried where slow tests are."""


@pytest.mark.parametrize(
    "preset",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in (*CHANGE, *SEGMENT)
    ],
)
def test_each_is_trained_saved_scored_and_mapped(
    stores: dict[str, Path], embedded: EmbeddedCatalog, tmp_path: Path, preset: str
) -> None:
    task: Task = "change" if preset in CHANGE else "segment"
    model, losses = trained(open_store(stores[task]), preset, task)
    assert min(losses[1:]) < losses[0]
    folder = tmp_path / "checkpoint"
    save_checkpoint(model, model.spec, folder, "# x\n")
    again = load_checkpoint(folder)
    assert again.spec.preset == preset and again.spec.tasks[task].corruption.kind == "none"
    store = open_store(stores[task])
    scores = evaluate_model(again, store, "val", task, EvaluationConfig())
    assert scores.num_pixels > 0 and 0 <= scores.mean_f1 <= 1
    named = model.spec.model_copy(update={"bands": ("green", "red")})  # as in the scene
    folder = tmp_path / "named"
    save_checkpoint(model, named, folder, "# x\n")
    dates = {} if task == "change" else {"before": None, "after": embedded.after}
    map_here(embedded, folder, tmp_path / "map", task=task, inference={"stride_px": CHIP}, **dates)
    mosaic = zarr.open_group(tmp_path / "map" / "mosaic.zarr", mode="r")
    decided = np.asarray(mosaic["reason"][:]) == 0
    assert decided.any() and np.isin(np.asarray(mosaic["class"][:])[decided], (0, 1)).all()


def test_what_a_network_cannot_do_is_one_line(stores: dict[str, Path], tmp_path: Path) -> None:
    store = open_store(stores["segment"])
    with pytest.raises(ConfigError, match=r"bit compares two dates, and segment shows it 1\. Use"):
        planned(store, "bit", "segment")
    small = make_store(plan_store(tmp_path / "s", tmp_path / "s.zarr", split=SPLIT))
    with pytest.raises(ChipStoreError, match="chips of 16 pixels; preset changeformer needs a mul"):
        planned(open_store(small), "changeformer")
