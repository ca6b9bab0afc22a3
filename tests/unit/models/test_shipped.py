"""Checkpoints that ship, by their names."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch

from noise2map_core.models import shipped
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.shipped import checkpoint_folder, shipped_names
from noise2map_core.models.spec import WEIGHTS_NAME, read_spec, read_weights
from noise2map_core.runtime.errors import CheckpointError
from tests.factories import checkpoint_spec


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ships the checkpoint "one", and an empty current directory."""
    folder, current = tmp_path / "package" / "shipped", tmp_path / "current"
    monkeypatch.setattr(shipped, "SHIPPED", folder)
    current.mkdir()
    monkeypatch.chdir(current)
    torch.manual_seed(0)
    save_checkpoint(Noise2Map(checkpoint_spec()), checkpoint_spec(), folder / "one", "# Card\n")
    return folder


def test_a_name_loads_the_checkpoint_that_ships(elsewhere: Path) -> None:
    assert shipped_names() == ["one"]
    spec = read_spec("one")
    assert load_checkpoint(Path("one")).spec == spec == read_spec(elsewhere / "one")
    assert read_weights("one", spec) == (elsewhere / "one" / WEIGHTS_NAME).read_bytes()


def test_a_directory_of_that_name_goes_before_it(elsewhere: Path) -> None:
    save_checkpoint(Noise2Map(checkpoint_spec()), checkpoint_spec(gsd=7), Path("one"), "# Card\n")
    assert read_spec("one").gsd == 7
    assert checkpoint_folder("one") == Path.cwd() / "one"


def test_an_unknown_name_is_told_what_ships(elsewhere: Path) -> None:
    with pytest.raises(CheckpointError, match=r"two has no model\.json.*ships with.*: one\."):
        read_spec("two")


def test_another_machine_finds_it_in_its_own_package(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = pickle.dumps((checkpoint_folder("one"), checkpoint_folder("one") / WEIGHTS_NAME))
    there = tmp_path / "other node" / "shipped"
    shutil.move(elsewhere, there)
    monkeypatch.setattr(shipped, "SHIPPED", there)
    folder, weights = pickle.loads(sent)
    assert folder == there / "one" and weights.is_file()
    assert read_spec(folder).gsd == checkpoint_spec().gsd


def test_the_output_of_a_training_stands_for_the_checkpoint_in_it(elsewhere: Path) -> None:
    shutil.copytree(elsewhere / "one", Path("run") / "checkpoint")
    with pytest.raises(CheckpointError, match=r"run has no model\.json"):
        read_spec("run")  # any folder that happens to hold one
    Path("run/run.json").write_text("{}")
    assert read_spec("run") == read_spec("run/checkpoint")
    assert load_checkpoint(Path("run")).spec == read_spec("one")
