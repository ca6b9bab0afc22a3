"""What a protocol says of selection and decision is done: a data set without validation, trained
and scored under `paper` and under `strict`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score
from torch.nn.functional import cross_entropy

from noise2map_core.cli.commands.ingest_dataset import run as ingest
from noise2map_core.distributed.fitting.run import finetune
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.runtime.errors import ChipStoreError, ConfigError
from noise2map_core.settings.datasets import Protocol, WhuConfig
from noise2map_core.settings.learning import (
    Decision,
    LossConfig,
    SelectionConfig,
    TaskTrainingConfig,
    TrainingConfig,
)
from noise2map_core.settings.network import NormalisationConfig
from noise2map_core.training.results import FinetuneMapsResult
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig
from pipelines.evaluate_maps import run as evaluate
from tests.chip_factories import make_store, plan_store
from tests.dataset_factories import write_pairs
from tests.unit.evaluation.test_evaluation import SPLIT

WEIGHTS = (1.0, 3.0)
TRAINING = TrainingConfig(
    epochs=3, batch=8, checkpoint_epochs=1, worker_cpus=0.5, learning_rate=0.02
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("whu"), {"train": 16, "test": 6}, label="OUT")


@pytest.fixture(scope="module")
def stores(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Protocol, Path]:
    folder, made = tmp_path_factory.mktemp("stores"), dict[Protocol, Path]()
    protocols: tuple[Protocol, ...] = ("paper", "strict")
    for protocol in protocols:
        made[protocol] = folder / f"{protocol}.zarr"
        ingest(
            IngestDatasetConfig(
                dataset=WhuConfig(root=root), protocol=protocol, chip_px=16, output=made[protocol]
            )
        )
    return made


def config(chips: Path, output: Path, **settings: Any) -> FinetuneMapsConfig:
    return FinetuneMapsConfig(
        chips=chips, output=output, training=TRAINING,
        normalisation=NormalisationConfig(of="minus_one_one"),
        change=TaskTrainingConfig(loss=LossConfig(class_weights=WEIGHTS)), **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def of_paper(
    ray_cluster: None, stores: dict[Protocol, Path], tmp_path_factory: pytest.TempPathFactory
) -> FinetuneMapsResult:
    """Trained as the reference chooses: lowest weighted cross-entropy at t = 500, on test."""
    selection = SelectionConfig(by="cross_entropy", timestep=500)
    output = tmp_path_factory.mktemp("paper")
    return finetune(config(stores["paper"], output, selection=selection, protocol="paper"))


def pixels_of_test(root: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """uint8 [chip, 6, 16, 16] and labels of the test pairs that hold both classes."""
    pairs, labels = [], []
    for path in sorted((root / "test" / "OUT").iterdir()):
        label = np.asarray(Image.open(path)) > 0
        if label.any() and not label.all():
            dates = [np.asarray(Image.open(root / "test" / d / path.name)) for d in "AB"]
            pairs.append(np.concatenate([date.transpose(2, 0, 1) for date in dates]))
            labels.append(label)
    return np.stack(pairs), np.stack(labels)


def test_the_paper_chooses_the_epoch_on_test_by_cross_entropy_at_its_timestep(
    of_paper: FinetuneMapsResult, root: Path
) -> None:
    note = json.loads((of_paper.checkpoint.parent / "run.json").read_text())
    found = {entry["epoch"]: entry["val_cross_entropy"] for entry in note["history"]}
    assert len(found) == 3 and of_paper.epoch == min(found, key=lambda epoch: found[epoch])
    image, label = pixels_of_test(root)
    model = load_checkpoint(of_paper.checkpoint)
    with torch.inference_mode():
        logits = model.logits(torch.from_numpy(image), 500)
    loss = cross_entropy(
        logits, torch.from_numpy(label).long(), weight=torch.tensor(WEIGHTS)
    )  # fmt: skip
    assert found[of_paper.epoch] == pytest.approx(float(loss), abs=1e-5)


def test_that_it_was_chosen_on_test_is_said_in_summary_and_card(
    of_paper: FinetuneMapsResult,
) -> None:
    assert of_paper.chosen_on == "test"
    assert any(line.startswith("WARNING") and "part test" in line for line in of_paper.summary())
    card = (of_paper.checkpoint / "README.md").read_text()
    assert "chosen on part test, as protocol paper does" in card
    assert "lowest weighted cross-entropy, t = 500" in card


@pytest.mark.parametrize("decision", [None, "argmax", "threshold"])
def test_the_paper_decides_for_the_most_probable_class_and_the_scores_say_so(
    of_paper: FinetuneMapsResult,
    stores: dict[Protocol, Path],
    root: Path,
    tmp_path: Path,
    decision: Decision | None,
) -> None:
    output = tmp_path / "scores.json"
    scored = evaluate(
        EvaluateMapsConfig(
            checkpoint=of_paper.checkpoint, chips=stores["paper"], output=output, decision=decision
        )
    )
    image, label = pixels_of_test(root)
    model = load_checkpoint(of_paper.checkpoint)
    with torch.inference_mode():
        logits = model.logits(torch.from_numpy(image), 999)
    document = json.loads(output.read_text())
    if decision == "threshold":
        task = model.spec.tasks["change"]
        probability = torch.softmax(logits / task.temperature, dim=1)[:, 1].round(decimals=4)
        decided = probability >= task.threshold["changed"] - 1e-6
        assert document["model"]["threshold"] == task.threshold
    else:
        decided = logits.argmax(dim=1).bool()
        assert document["model"]["threshold"] == {}
        assert "most probable class" in scored.summary()[0]
    expected = f1_score(label.ravel(), decided.numpy().ravel())
    assert document["decision"] == (decision or "argmax")
    assert document["model"]["classes"]["changed"]["f1"] == pytest.approx(expected, abs=1e-6)


def test_a_fixed_number_of_epochs_ends_with_the_last(
    ray_cluster: None, stores: dict[Protocol, Path], tmp_path: Path
) -> None:
    result = finetune(config(stores["paper"], tmp_path, selection=SelectionConfig(by="last")))
    assert isinstance(result, FinetuneMapsResult) and result.epoch == 3
    assert "the last: none was chosen" in (result.checkpoint / "README.md").read_text()


def test_strict_keeps_test_out_and_refuses_stores_of_the_paper(
    ray_cluster: None, stores: dict[Protocol, Path], tmp_path: Path
) -> None:
    with pytest.raises(ChipStoreError, match=r"under protocol paper.*--protocol strict"):
        finetune(config(stores["paper"], tmp_path / "a", protocol="strict"))
    result = finetune(config(stores["strict"], tmp_path / "b", protocol="strict"))
    assert isinstance(result, FinetuneMapsResult) and result.chosen_on == "val"
    assert not any("flatter" in line for line in result.summary())


def test_settings_that_would_not_be_used_are_refused(
    stores: dict[Protocol, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="timestep is not used where epochs are chosen by f1"):
        SelectionConfig(timestep=3)
    with pytest.raises(ValueError, match=r"patience is not used where selection\.by is last"):
        FinetuneMapsConfig(
            chips=stores["paper"], output=tmp_path, selection=SelectionConfig(by="last"),
            training=TRAINING.model_copy(update={"patience": 2}),
        )  # fmt: skip
    plain = make_store(plan_store(tmp_path, tmp_path / "plain.zarr", split=SPLIT))
    with pytest.raises(ConfigError, match="of no published data set"):
        finetune(config(plain, tmp_path / "c", protocol="paper"))
    with pytest.raises(ConfigError, match=r"minus_one_one is of images of 8 bits.*uint16"):
        finetune(config(plain, tmp_path / "d"))


def test_an_uncommon_timestep_is_refused_before_training(
    ray_cluster: None, stores: dict[Protocol, Path], tmp_path: Path
) -> None:
    selection = SelectionConfig(by="cross_entropy", timestep=1000)
    with pytest.raises(ConfigError, match=r"selection\.timestep 1000 is not below 1000"):
        finetune(config(stores["paper"], tmp_path, selection=selection))
