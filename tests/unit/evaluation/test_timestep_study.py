import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import f1_score

from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.cli.commands.study_timesteps import run
from noise2map_core.evaluation.batches import ChipBatch, ChipReader
from noise2map_core.evaluation.evidence.wrong_timestep import wrong_timesteps
from noise2map_core.evaluation.timestep_figure import write_timestep_figure
from noise2map_core.evaluation.timestep_study import (
    TimestepStudy,
    f1_of,
    study_chip,
    telling_timesteps,
)
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.tools.study_timesteps import StudyTimestepsConfig
from tests.chip_factories import make_store, plan_store
from tests.factories import checkpoint_spec, task_spec
from tests.training_factories import finished_training, segmentation_task
from tests.unit.evaluation.test_evaluation import SPLIT

CLASSES = ("other", "forest", "water", "building")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    return open_store(make_store(plan_store(folder / "a", folder / "chips.zarr", split=SPLIT)))


@pytest.fixture(scope="module")
def model(store: ChipStore) -> Noise2Map:
    torch.manual_seed(0)
    return Noise2Map(checkpoint_spec(bands=tuple(store.bands), chip_px=16)).eval()


def test_every_timestep_and_order_is_what_the_model_says(
    store: ChipStore, model: Noise2Map
) -> None:
    batch = ChipReader(store, ("change",)).read(store.chips_of("val")[:1])
    study = study_chip(model, batch, "change", (0, 700, 999))
    image, valid = batch.inputs("change")
    # One mean and one spread for both dates: so the order can be changed before normalising, too.
    swapped = torch.cat(list(image.chunk(2, dim=1))[::-1], dim=1), valid.flip(1)
    with torch.inference_mode():
        for order, (pixels, seen) in enumerate(((image, valid), swapped)):
            for index, t in enumerate((0, 700, 999)):
                expected = model.logits(pixels, t, seen).softmax(dim=1)[0, 1]
                np.testing.assert_allclose(study.probability[order, index, 1], expected, atol=1e-4)
    assert study.orders == ("normal", "swapped")
    assert study.changes_its_mind[~study.observed].sum() == 0


def test_timesteps_that_cannot_tell_the_dates_are_left_out(model: Noise2Map) -> None:
    chosen = telling_timesteps(model, "change", 100)
    assert chosen[0] == 0 and chosen[-1] == 999
    left = {round(t) for t in np.linspace(0, 999, 100)} - set(chosen)
    assert left and min(left) < 258 < max(left)


def undecided(spec: Any, batch: ChipBatch) -> Noise2Map:
    """A random network that hears the timestep well, if it does, and finds half of a chip changed
    at t = 600."""
    torch.manual_seed(0)
    model: Any = Noise2Map(spec).eval()
    image, valid = batch.inputs("change")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "time_emb_proj" in name:
                parameter.mul_(40)
        logits = model.logits(image, 600, valid)
        margin = (logits[:, 1] - logits[:, 0])[valid.all(dim=1)]
        model.network.heads["change"].pixel[-1].bias[1] -= margin.median()
    return model


def test_a_wrong_timestep_is_told_for_what_was_mixed_at_another(
    store: ChipStore,
) -> None:
    batch = ChipReader(store, ("change",)).read(store.chips_of("val")[:1])
    model = undecided(checkpoint_spec(bands=tuple(store.bands), chip_px=16), batch)
    found = wrong_timesteps(model, batch, "change", (0, 600, 999))
    image, valid = batch.inputs("change")
    seen, truth = valid.all(dim=1, keepdim=True), batch.truth("change")[0]
    x_0 = model.normalise(image, valid)
    decided: dict[tuple[int, int], NDArray[np.bool_]] = {}
    for mixed in (0, 600, 999):
        alpha_bar = model.alpha_bars()[mixed].item()
        swapped = torch.cat(list(x_0.chunk(2, dim=1))[::-1], dim=1)
        x_t = alpha_bar**0.5 * x_0 + (1 - alpha_bar) ** 0.5 * swapped
        for told in (0, 600, 999):
            with torch.inference_mode():
                logits = model.network("change", x_t, torch.tensor([told]))
            # As maps store it: in steps of 1 / 10,000, and a half is enough.
            probability = (logits.softmax(dim=1)[0, 1] * 10_000).round().numpy()
            decided[mixed, told] = probability >= 5000
    known = truth != 255
    for row, mixed in enumerate((0, 600, 999)):
        for column, told in enumerate((0, 600, 999)):
            expected = f1_score(truth[known], decided[mixed, told][known], zero_division=0)
            assert found.f1[row][column] == pytest.approx(expected, abs=5e-3)
            moved = (decided[mixed, told] != decided[mixed, mixed]) & seen[0, 0].numpy()
            assert abs(int(found.moved[row, column]) - int(moved.sum())) <= 2
    assert found.moved.max() > 0 and np.diag(found.moved).sum() == 0


def test_a_network_that_is_told_no_timestep_is_not_moved_by_a_wrong_one(store: ChipStore) -> None:
    told: Any = checkpoint_spec(bands=tuple(store.bands), chip_px=16)
    network = told.network.model_copy(update={"unet": told.network.unet | {"use_timestep": False}})
    batch = ChipReader(store, ("change",)).read(store.chips_of("val")[:1])
    hidden = undecided(told.model_copy(update={"network": network}), batch)
    assert not any("time_emb" in name for name in hidden.state_dict())
    found = wrong_timesteps(hidden, batch, "change", (0, 600, 999))
    assert found.moved.sum() == 0 and found.most_lost == 0
    assert len(set(np.asarray(found.f1)[:, 0].round(6).tolist())) > 1, "by x_t it is"


def test_the_command_writes_what_a_wrong_timestep_does(
    store: ChipStore, model: Noise2Map, tmp_path: Path
) -> None:
    save_checkpoint(model, model.spec, tmp_path / "checkpoint", "card")
    config = StudyTimestepsConfig(
        chips=store.path, checkpoint=tmp_path / "checkpoint", split="val", num_chips=2,
        timesteps=(0, 999), output=tmp_path / "out", wrong=True,
    )  # fmt: skip
    lines = run(config).summary()
    assert any(line.startswith("told a wrong timestep, F1 moves by at most") for line in lines)
    wrong = json.loads((tmp_path / "out" / "study.json").read_text())["wrong"]
    assert wrong["timesteps"] == [0, 999] and np.diag(wrong["moved"]).tolist() == [0, 0]


def test_one_date_has_one_order(store: ChipStore) -> None:
    torch.manual_seed(0)
    tasks = {"segment": task_spec("segment")}
    model = Noise2Map(checkpoint_spec(tasks=tasks, chip_px=16)).eval()
    batch = ChipReader(store, ("change",)).read(store.chips_of("val")[:1])
    labels = {"segment": np.zeros_like(batch.valid, dtype=np.uint8)}
    single = type(batch)(batch.image, batch.valid, labels, batch.chip, batch.light)
    study = study_chip(model, single, "segment", telling_timesteps(model, "segment", 4))
    assert study.orders == ("normal",)
    assert study.probability.shape == (1, 4, 2, 16, 16)


def study_of(decided: NDArray[np.integer], truth: NDArray[np.uint8]) -> TimestepStudy:
    """A model of `CLASSES` that is fairly sure of the classes `decided` [timestep, y, x]."""
    probability = np.moveaxis(np.where(np.eye(4)[decided], 0.7, 0.1), -1, 1)[None]
    timesteps = tuple(range(len(decided)))
    return TimestepStudy(
        segmentation_task(CLASSES), timesteps, (1.0,) * len(decided), ("normal",),
        probability.astype(np.float32), truth, np.ones(truth.shape, bool),
    )  # fmt: skip


def test_of_several_classes_each_timestep_is_scored_by_the_mean_f1() -> None:
    generator = np.random.default_rng(0)
    decided = generator.integers(0, 4, (3, 20, 20))
    truth = generator.integers(0, 4, (20, 20)).astype(np.uint8)
    truth[:5] = 255
    study = study_of(decided, truth)
    assert study.decided[0].tolist() == decided.tolist()
    known = truth != 255
    expected = [f1_score(truth[known], one[known], average="macro") for one in decided]
    assert f1_of(study.counts())[0] == pytest.approx(expected)
    assert study.changes_its_mind.tolist() == (decided != decided[0]).any(axis=0).tolist()


def test_the_picture_shows_the_class_of_each_timestep_in_its_colour(tmp_path: Path) -> None:
    decided = np.stack([np.full((16, 16), 1), np.full((16, 16), 2)])
    decided[1, :4] = 1
    batch = ChipBatch(
        np.ones((1, 1, 2, 16, 16), np.uint16),
        np.ones((1, 1, 16, 16), bool),
        {},
        np.zeros(1, int),
        np.full((1, 1, 2, 2), np.nan),
    )
    study = study_of(decided, np.full((16, 16), 255, np.uint8))
    write_timestep_figure(tmp_path / "study.png", study, batch, ("green", "red"), "chip 0")
    shown = np.asarray(Image.open(tmp_path / "study.png").convert("RGB"))
    forest, water, building = (
        int((shown == list(bytes.fromhex(entry.color[1:]))).all(axis=-1).sum())
        for entry in study.task.classes[1:]
    )
    # Of two equal panels, the first is forest, and a quarter of the second; the rest is legend.
    assert forest / water == pytest.approx(5 / 3, rel=0.1)
    assert 0 < building < forest / 50


def test_the_command_draws_a_chip_and_sums_up_all(
    store: ChipStore, model: Noise2Map, tmp_path: Path
) -> None:
    save_checkpoint(model, model.spec, tmp_path / "checkpoint", "card")
    config = StudyTimestepsConfig(
        chips=store.path, checkpoint=tmp_path / "checkpoint", split="val", num_chips=3,
        output=tmp_path / "study",
    )  # fmt: skip
    result = run(config)
    pictures = sorted((tmp_path / "study").glob("chip-*.png"))
    assert len(pictures) == result.num_chips == 3
    with Image.open(pictures[0]) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    document = json.loads((tmp_path / "study" / "study.json").read_text())
    assert document["f1"].keys() == {"normal", "swapped"}
    assert len(document["timesteps"]) == len(document["f1"]["normal"])
    with pytest.raises(ConfigError, match=r"must lie in 0 … 999"):
        run(config.model_copy(update={"timesteps": (1000,)}))


def test_the_command_takes_several_classes(tmp_path: Path) -> None:
    training = finished_training(tmp_path, classes=CLASSES)
    save_checkpoint(training.model, training.model.spec, tmp_path / "checkpoint", "card")
    config = StudyTimestepsConfig(
        chips=training.store.path, checkpoint=tmp_path / "checkpoint", split="val", num_chips=2,
        output=tmp_path / "study",
    )  # fmt: skip
    result = run(config)
    assert len(list((tmp_path / "study").glob("chip-*.png"))) == 2
    assert result.f1.keys() == {"normal"}
    assert len(result.f1["normal"]) == len(result.timesteps)
