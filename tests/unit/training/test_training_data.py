import inspect
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import zarr

from noise2map_core.chips.store import ChipStore, open_store
from noise2map_core.cli.commands import study_timesteps
from noise2map_core.evaluation.batches import ChipReader
from noise2map_core.evaluation.counting import SplitPixels
from noise2map_core.imagery.moments import Moments
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.runtime.errors import ChipStoreError, ConfigError
from noise2map_core.settings.chips import ChipsConfig
from noise2map_core.settings.diffusion import DiffusionConfig, LinearSchedule
from noise2map_core.settings.labels import SplitConfig
from noise2map_core.settings.learning import TaskTrainingConfig
from noise2map_core.settings.network import ModelConfig, Task
from noise2map_core.training.training_data import (
    class_counts,
    plan_spec,
    require_trainable,
    require_variates,
)
from noise2map_core.workflows.finetune_maps import TrialSettings
from pipelines import evaluate_maps, finetune_maps, pretrain_denoiser
from tests.chip_factories import list_anew, make_store, plan_store, scenery
from tests.unit.evaluation.test_evaluation import SPLIT, bounds
from tune import search_schedules


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    job = plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT)
    return open_store(make_store(job))


def task(**diffusion: Any) -> TaskTrainingConfig:
    return TaskTrainingConfig(diffusion=DiffusionConfig(**diffusion))


def spec_of(store: ChipStore, **diffusion: Any) -> CheckpointSpec:
    return plan_spec(store, ModelConfig(), {"change": task(**diffusion)}, None)


def test_the_spec_follows_from_the_store(store: ChipStore) -> None:
    spec = spec_of(store)
    assert list(spec.bands) == store.bands
    assert (spec.gsd, spec.gsd_range) == (10.0, (5.0, 20.0))
    assert (spec.chip_px, spec.stride_px) == (16, 8)
    assert spec.task().inference_timesteps == (999,)
    assert [entry.name for entry in spec.task().classes] == ["unchanged", "changed"]
    assert 0 <= spec.value_range[0] < spec.value_range[1] <= 65_535


def test_normalisation_is_that_of_the_training_part_per_date_and_band(store: ChipStore) -> None:
    moments, normalisation = store.statistics("train"), spec_of(store).task().normalisation
    np.testing.assert_allclose(normalisation.mean, moments.mean)
    np.testing.assert_allclose(np.square(normalisation.std) * moments.count, moments.m2)
    pixels = scenery().images[:, :, :30, :50]
    for date in range(2):
        for band in range(2):
            values = pixels[date, band][(pixels[date] != 0).all(axis=0)]
            # Not all of these pixels lie in chips that are stored.
            assert normalisation.mean[date][band] == pytest.approx(values.mean(), rel=0.02)
            assert normalisation.std[date][band] == pytest.approx(values.std(), rel=0.05)


def test_settings_of_the_config_reach_the_spec(store: ChipStore) -> None:
    schedule = LinearSchedule(num_timesteps=100, beta_end=0.1)
    spec = spec_of(store, schedule=schedule, inference_timesteps=(7,))
    assert spec.task().schedule == schedule
    assert spec.task().inference_timesteps == (7,)
    assert plan_spec(store, ModelConfig(), {"change": task()}, (9, 11)).gsd_range == (9, 11)


def test_a_timestep_outside_the_schedule_is_refused(store: ChipStore) -> None:
    with pytest.raises(ConfigError, match="inference_timesteps 1000"):
        spec_of(store, inference_timesteps=(1000,))


def test_a_store_with_labels_and_both_parts_is_trainable(store: ChipStore) -> None:
    require_trainable(store, ["change"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labelled": False}, "no labels of task 'change'"),
        ({}, "no chips of split 'val'; it has: train"),
        ({"split": SplitConfig(boxes={"val": SPLIT.boxes["val"]})},
         "no chips of split 'train'; it has: val"),
        (
            {"split": SplitConfig(boxes={"train": SPLIT.boxes["train"],
                                         "val": (bounds(30, 70, 90, 110),)})},
            "'val' has no observed pixel labelled changed",
        ),
        (
            {"split": SplitConfig(boxes={"train": (bounds(30, 70, 90, 110),),
                                         "val": SPLIT.boxes["train"]})},
            "'train' has no observed pixel labelled changed",
        ),
        (
            {"split": SplitConfig(buffer_px=0, boxes={"train": (bounds(0, 0, 30, 50),),
                                                      "val": (bounds(30, 0, 90, 50),)})},
            None,
        ),
    ],
)  # fmt: skip
def test_a_store_that_cannot_be_trained_on_is_refused(
    tmp_path: Path, settings: dict[str, Any], message: str | None
) -> None:
    job = plan_store(tmp_path / "sources", tmp_path / "chips.zarr", **settings)
    store = open_store(make_store(job))
    if message is None:  # boxes that touch are fine where no buffer was asked for …
        require_trainable(store, ["change"])
        store = with_attributes(tmp_path / "chips.zarr", buffer_px=16)
        message = "nearer than 16 pixels"  # … and refused where one was
    with pytest.raises(ChipStoreError, match=message):
        require_trainable(store, ["change"])


def test_statistics_of_parts_that_are_not_there_or_show_nothing_are_refused(
    store: ChipStore, tmp_path: Path
) -> None:
    with pytest.raises(ChipStoreError, match="no chips of split 'test'; it has: train, val"):
        store.statistics("test")
    path = Path(shutil.copytree(store.path, tmp_path / "chips.zarr"))
    statistics = store.attributes["statistics"]
    nothing = Moments.none(2, 2).to_json()
    nothing["count"][0] = [5.0, 5.0]
    unseen = with_attributes(path, statistics=statistics | {"train": nothing})
    with pytest.raises(ChipStoreError, match="no pixel of the training part is observed at date 2"):
        spec_of(unseen)


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        (finetune_maps, {}),
        (pretrain_denoiser, {}),
        (evaluate_maps, {"checkpoint": "buildings", "split": "train"}),
        (study_timesteps, {"checkpoint": "buildings", "split": "train"}),
        (search_schedules, {"space": "quick"}),
    ],
    ids=lambda one: one.__name__.rpartition(".")[2] if isinstance(one, ModuleType) else "",
)
def test_every_command_names_the_part_that_a_store_lacks_before_anything_else(
    tmp_path: Path, command: ModuleType, settings: dict[str, Any]
) -> None:
    split = SplitConfig(boxes={"val": SPLIT.boxes["val"]})
    chips = make_store(plan_store(tmp_path / "sources", tmp_path / "chips.zarr", split=split))
    output = tmp_path / "output"
    config = inspect.signature(command.run).parameters["config"].annotation
    types = [one for one in vars(command).values() if getattr(one, "__name__", "") == config]
    made = types[0].model_validate({"chips": str(chips), "output": str(output), **settings})
    with pytest.raises(ChipStoreError, match="no chips of split 'train'; it has: val"):
        command.run(made)
    assert not output.exists()


def with_attributes(path: Path, **changes: Any) -> ChipStore:
    """The store with other attributes, and a manifest that knows."""
    group = zarr.open_group(path, mode="r+", zarr_format=3)
    group.attrs.update(changes)
    list_anew(path, "zarr.json")
    return open_store(path)


def test_a_band_with_one_single_value_is_refused(store: ChipStore, tmp_path: Path) -> None:
    path = Path(shutil.copytree(store.path, tmp_path / "chips.zarr"))
    statistics = store.attributes["statistics"]
    statistics["train"]["m2"] = np.array([[1.0, 1.0], [0.0, 1.0]]).tolist()
    with pytest.raises(ChipStoreError, match="one single value at date 2"):
        spec_of(with_attributes(path, statistics=statistics))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_store_with_nan_is_refused_by_band_and_date(
    store: ChipStore, tmp_path: Path, split: str
) -> None:
    path = Path(shutil.copytree(store.path, tmp_path / "chips.zarr"))
    image = np.random.default_rng(0).random((2, 2, 2, 4, 4))
    moments = Moments.of(image, np.ones((2, 2, 4, 4), bool))
    moments.mean[0, 1] = moments.m2[0, 1] = np.nan  # as statistics of unmasked NaN once were
    statistics = store.attributes["statistics"] | {split: moments.to_json()}
    damaged = with_attributes(path, statistics=statistics)
    said = rf"band {store.bands[1]} has .* no numbers .* at date 1 of split '{split}'"
    with pytest.raises(ChipStoreError, match=said):
        require_trainable(damaged, ["change"])
    if split == "train":
        with pytest.raises(ChipStoreError, match=said):
            spec_of(damaged)


def test_a_store_of_one_chip_a_part_is_trainable(tmp_path: Path) -> None:
    boxes = {"train": (bounds(10, 26, 16, 32),), "val": (bounds(42, 10, 48, 16),)}
    job = plan_store(
        tmp_path / "sources", tmp_path / "chips.zarr", split=SplitConfig(boxes=boxes),
        chips=ChipsConfig(chip_px=16, stride_px=16),
    )  # fmt: skip
    store = open_store(make_store(job))
    assert store.num_chips == 2
    require_trainable(store, ["change"])
    assert spec_of(store).chip_px == 16


def test_chips_that_the_network_cannot_take_are_refused(store: ChipStore, tmp_path: Path) -> None:
    path = Path(shutil.copytree(store.path, tmp_path / "chips.zarr"))
    with pytest.raises(ChipStoreError, match="multiple of 8"):
        spec_of(with_attributes(path, chip_px=20))


def test_labels_outside_the_classes_are_refused_by_chip(store: ChipStore, tmp_path: Path) -> None:
    path = Path(shutil.copytree(store.path, tmp_path / "chips.zarr"))
    array = zarr.open_array(path, path="label_change", mode="r+", zarr_format=3)
    array[40, 3, 3] = 7
    list_anew(path, "label_change/c/1/0/0")
    with pytest.raises(ChipStoreError, match="chip 40 has pixels labelled 7; the classes of"):
        require_trainable(without_counts(open_store(path)), ["change"])


def without_counts(store: ChipStore) -> ChipStore:
    """As an earlier version wrote it."""
    kept = {key: one for key, one in store.objects.items() if not key.startswith("label_px_")}
    return replace(store, objects=kept)


@pytest.mark.parametrize("task", ["change", "segment"])
def test_pixels_of_each_class_are_noted_of_every_chip_or_counted_from_labels_alone(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = () if task == "change" else ("field", "wood", "water")
    job = plan_store(tmp_path / "sources", tmp_path / "chips.zarr", classes=classes)
    store = open_store(make_store(job))
    every = np.arange(store.num_chips)
    batch = ChipReader(store, (task,)).read(every)
    truth, chip_of = batch.truth(task), batch.chip_of(task)
    values = [entry["value"] for entry in store.attributes["classes"][task]]
    expected = [
        [int((truth[chip_of == chip] == value).sum()) for value in values] + [0]
        for chip in every.tolist()
    ]
    read = list[str]()
    decoded = ChipStore._pixels
    monkeypatch.setattr(
        ChipStore, "_pixels", lambda *given: (read.append(given[1]), decoded(*given))[1]
    )
    assert store.label_counts[task].tolist() == expected and not read
    assert without_counts(store).label_counts[task].tolist() == expected
    assert set(read) == {"valid", f"label_{task}"}


def test_class_counts_are_those_of_the_labelled_and_observed_pixels(store: ChipStore) -> None:
    pixels = SplitPixels.of(store, "train", "change", 8)
    truths = np.concatenate([truth.ravel() for _, truth in pixels.batches()])
    counts = class_counts(store, "change")
    assert counts == tuple((truths == value).sum() for value in (0, 1))


def variates(**more: Any) -> TrialSettings:
    given = {"model": {"fusion": "alteration"}, "normalisation": {"of": "scene"}}
    return TrialSettings.model_validate(given | more)


def test_a_network_of_variates_is_trained_where_all_pairs_have_them(store: ChipStore) -> None:
    require_variates(variates(), store)
    with pytest.raises(ConfigError, match=r"Set normalisation\.of to scene"):
        require_variates(variates(normalisation={}), store)
    for draw in ("unchanged", "pasted"):
        made = {"invariance": {draw: 0.1}}
        with pytest.raises(ConfigError, match="MAD has no variates"):
            require_variates(variates(training=made), store)
    earlier = {key: one for key, one in store.objects.items() if not key.startswith("alteration")}
    with pytest.raises(ChipStoreError, match=r"earlier noise2map\. Ingest it anew"):
        require_variates(variates(), replace(store, objects=earlier))
