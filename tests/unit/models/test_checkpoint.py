import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.spec import CARD_NAME, SPEC_NAME, WEIGHTS_NAME, read_spec
from noise2map_core.runtime.errors import CheckpointError
from tests.factories import checkpoint_spec


@pytest.fixture(scope="module")
def model() -> Noise2Map:
    torch.manual_seed(0)
    return Noise2Map(checkpoint_spec()).eval()


@pytest.fixture(scope="module")
def saved(model: Noise2Map, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "one"
    save_checkpoint(model, model.spec, path, "# Card\n")
    return path


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_a_loaded_model_gives_the_same_bits(model: Noise2Map, saved: Path) -> None:
    image = torch.randint(0, 2000, (2, 4, 32, 32), generator=torch.Generator().manual_seed(1))
    loaded = load_checkpoint(saved)
    with torch.inference_mode():
        assert torch.equal(loaded.logits(image, 999), model.logits(image, 999))
    assert not loaded.training


def test_a_checkpoint_holds_three_files_and_true_digests(saved: Path) -> None:
    assert {file.name for file in saved.iterdir()} == {WEIGHTS_NAME, SPEC_NAME, CARD_NAME}
    digest = hashlib.sha256((saved / WEIGHTS_NAME).read_bytes()).hexdigest()
    assert read_spec(saved).weights_sha256 == digest
    assert [file.name for file in saved.parent.iterdir()] == ["one"]


def test_the_same_model_is_saved_to_the_same_bytes(
    model: Noise2Map, saved: Path, tmp_path: Path
) -> None:
    save_checkpoint(model, model.spec, tmp_path / "again", "# Card\n")
    for name in (WEIGHTS_NAME, SPEC_NAME, CARD_NAME):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_saving_replaces_a_checkpoint_whole(model: Noise2Map, copy: Path) -> None:
    (copy / "stray").touch()
    save_checkpoint(model, model.spec, copy, "# Another\n")
    assert not (copy / "stray").exists()
    assert (copy / CARD_NAME).read_text() == "# Another\n"


def reweighted(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the weights, and the digest with them."""
    weights = load_file(path / WEIGHTS_NAME)
    change(weights)
    save_file(weights, path / WEIGHTS_NAME)
    spec = json.loads((path / SPEC_NAME).read_text())
    spec["weights_sha256"] = hashlib.sha256((path / WEIGHTS_NAME).read_bytes()).hexdigest()
    (path / SPEC_NAME).write_text(json.dumps(spec))


def drop_one(weights: dict[str, torch.Tensor]) -> None:
    del weights["network.heads.change.pixel.0.weight"]


def add_one(weights: dict[str, torch.Tensor]) -> None:
    weights["stray"] = torch.zeros(1)


def grow_one(weights: dict[str, torch.Tensor]) -> None:
    weights["network.heads.change.pixel.0.bias"] = torch.zeros(99)


def poison_one(weights: dict[str, torch.Tensor]) -> None:
    weights["network.heads.change.pixel.0.bias"][0] = torch.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_one, r"lacks network\.heads\.change\.pixel\.0\.weight"),
        (add_one, "has unknown stray"),
        (grow_one, r"has misshapen network\.heads\.change\.pixel\.0\.bias"),
        (poison_one, r"network\.heads\.change\.pixel\.0\.bias holds NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    copy: Path, change: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    reweighted(copy, change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(copy)


def test_a_flipped_bit_and_a_missing_file_are_refused(copy: Path) -> None:
    content = bytearray((copy / WEIGHTS_NAME).read_bytes())
    content[-5] ^= 1
    (copy / WEIGHTS_NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        load_checkpoint(copy)
    (copy / WEIGHTS_NAME).unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(copy)


def test_weights_in_another_format_are_refused(copy: Path) -> None:
    torch.save({}, copy / WEIGHTS_NAME)
    spec = json.loads((copy / SPEC_NAME).read_text())
    spec["weights_sha256"] = hashlib.sha256((copy / WEIGHTS_NAME).read_bytes()).hexdigest()
    (copy / SPEC_NAME).write_text(json.dumps(spec))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(copy)
