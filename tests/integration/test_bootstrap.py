"""An invented pair → labels by a detector → students → scores, with and without labels."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.cli.commands import bootstrap
from noise2map_core.cli.commands.bootstrap import BootstrapResult, better_than_teacher, run
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.spec import CARD_NAME, WEIGHTS_NAME
from noise2map_core.runtime.errors import ChipStoreError, OutputMismatchError
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.training.cross_fitting import TEACHER, MapQuality
from noise2map_core.workflows.tools.bootstrap import BootstrapConfig
from tests.chip_factories import changed_land, make_store, plan_store

pytestmark = pytest.mark.usefixtures("ray_cluster")
SHORT = TrainingConfig(epochs=2, batch=8, checkpoint_epochs=1, worker_cpus=0.5)


def chips_in(folder: Path, *, labelled: bool = True) -> Path:
    job = plan_store(
        folder / "sources", folder / "chips.zarr", pixels=changed_land(), labelled=labelled
    )
    return make_store(job)


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chips_in(tmp_path_factory.mktemp("chips"))


def config(chips: Path, output: Path, **others: Any) -> BootstrapConfig:
    settings = {"teacher": "mad", "margin_px": 1, "noise": ("none",), "training": SHORT, **others}
    return BootstrapConfig(chips=chips, output=output, **settings)


def always_better(scores: dict[str, MapQuality]) -> str:
    return next(name for name in scores if name != TEACHER)


@pytest.fixture(scope="module")
def kept(
    chips: Path, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> BootstrapResult:
    """Of a run that was taken for better."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "better_than_teacher", always_better)
        return run(config(chips, tmp_path_factory.mktemp("kept")))


def test_what_is_kept_is_a_checkpoint_whose_card_says_how_it_was_judged(
    kept: BootstrapResult,
) -> None:
    checkpoint = kept.output / "student" / "checkpoint"
    assert load_checkpoint(checkpoint).spec.task().corruption.kind == "none"
    card = (checkpoint / CARD_NAME).read_text()
    assert "the detector mad, without labels" in card
    assert "| chips, against labels | changed | two like this, mapping each other's blocks" in card
    assert "| chips, against labels | changed | mad |" in card
    scores = json.loads((kept.output / "bootstrap.json").read_text())["scores"]
    assert scores.keys() == {"teacher", "none"}
    assert f"{scores['none']['f1']:.3f}" in card
    told = "\n".join(kept.summary())
    assert "kept: the student with noise none is better than its teacher" in told
    assert f"checkpoint  {checkpoint}" in told


def test_a_finished_one_says_the_same_again_and_another_is_refused(
    kept: BootstrapResult, chips: Path
) -> None:
    note = (kept.output / "bootstrap.json").stat().st_mtime_ns
    assert run(config(chips, kept.output)).summary() == kept.summary()
    assert (kept.output / "bootstrap.json").stat().st_mtime_ns == note
    with pytest.raises(OutputMismatchError, match=r"another teacher .*; nothing was touched\. Set"):
        run(config(chips, kept.output, teacher="irmad"))


def test_killed_in_the_middle_it_goes_on_and_ends_the_same(
    kept: BootstrapResult, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "better_than_teacher", always_better)
    half = tmp_path / "half"
    shutil.copytree(kept.output / "black.zarr", half / "black.zarr")
    shutil.copytree(kept.output / "none-black", half / "none-black")
    key = json.loads((kept.output / "bootstrap.json").read_text())["key"]
    (half / "bootstrap.json").write_text(json.dumps({"key": key}))
    with pytest.raises(OutputMismatchError, match="another teacher"):
        run(config(chips, half, confidence=0.8))
    again = run(config(chips, half))
    assert again.note == kept.note
    for folder in ("none-white", "student"):
        one, other = (
            (output / folder / "checkpoint" / WEIGHTS_NAME).read_bytes()
            for output in (kept.output, half)
        )
        assert one == other


@pytest.mark.slow
def test_without_labels_nothing_is_kept_and_that_is_said(tmp_path: Path) -> None:
    found = run(config(chips_in(tmp_path, labelled=False), tmp_path / "out"))
    (line,) = [line for line in found.summary() if "KEPT" in line]
    assert line.startswith("NOT KEPT: nothing tells whether a student is better than its teacher")
    assert not (tmp_path / "out" / "student").exists()


def test_the_student_must_be_better_by_its_own_threshold() -> None:
    def quality(f1: float) -> MapQuality:
        return MapQuality(f1, f1, f1, best_f1=1 - f1, roc_auc=0.5, num_pixels=9)

    scores = {TEACHER: quality(0.8), "paper": quality(0.8), "none": quality(0.7)}
    assert better_than_teacher(scores) is None
    assert better_than_teacher(scores | {"paper": quality(0.9)}) == "paper"
    assert better_than_teacher({}) is None


def test_what_cannot_be_taught_is_refused_before_anything_is_written(
    chips: Path, tmp_path: Path
) -> None:
    with pytest.raises(ChipStoreError, match="Lower confidence, margin_px or block_px"):
        run(config(chips, tmp_path / "out", margin_px=9))
    assert not (tmp_path / "out").exists()
