"""Networks compiled by OpenVINO, against the same networks as they were trained."""

import logging
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from noise2map_core import predict_pair
from noise2map_core.inference import engine, numeric_path
from noise2map_core.inference.engine import FOLDER, forms
from noise2map_core.inference.networks import compiled
from noise2map_core.inference.networks.compiled import networks_at, settled
from noise2map_core.inference.numeric_path import NumericPath, resolve_numeric_path
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.presets import network_of
from noise2map_core.models.shipped import checkpoint_folder, shipped_names
from noise2map_core.models.spec import Normalisation
from noise2map_core.models.unet import PatchUNet
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.network import Preset
from tests.factories import checkpoint_spec

BY_OPENVINO = InferenceConfig(engine="openvino", precision="fp32", batch=2)
PATH = resolve_numeric_path(BY_OPENVINO, gpus=0)
BY_SCENE = Normalisation(of="scene", mean=((1000.0,) * 2,) * 2, std=((500.0,) * 2,) * 2)
PLAIN_CPU = "BF16" not in compiled._capabilities(compiled._core())
STEP = (999,)
T = STEP[0]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is left in the cache of who runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "noise2map" / "compiled"


@pytest.fixture(scope="module")
def model() -> Noise2Map:
    torch.manual_seed(0)
    return Noise2Map(checkpoint_spec()).eval()


@pytest.fixture
def checkpoint(model: Noise2Map, tmp_path: Path) -> Path:
    save_checkpoint(model, model.spec, tmp_path / "checkpoint", "# Card\n")
    return tmp_path / "checkpoint"


def settle(checkpoint: Path, path: NumericPath = PATH) -> NumericPath:
    saved = load_checkpoint(checkpoint)
    return settled(path, saved.spec, "change", STEP, lambda: saved, checkpoint)


def predicted(checkpoint: Path, path: NumericPath = PATH) -> bytes:
    saved = load_checkpoint(checkpoint).eval()
    found = networks_at(saved, path, "change", STEP, checkpoint)
    return bytes(judged(found[T], chips_of(saved)).numpy().tobytes())


def chips_of(model: Noise2Map, task: Any = "change", count: int = 2) -> Tensor:
    torch.manual_seed(3)
    bands = len(model.spec.bands) * model.spec.tasks[task].num_dates
    side = model.spec.chip_px
    return torch.randint(0, 3000, (count, bands, side, side)).float()


@torch.inference_mode()
def judged(model: Noise2Map, chips: Tensor, task: Any = "change", timestep: int = T) -> Tensor:
    return model.logits(chips, timestep, None, task)


def largest_error(model: Noise2Map, task: Any, timestep: int, path: NumericPath) -> float:
    """Of the compiled logits, as a share of the largest of plain float32."""
    chips = chips_of(model, task)
    exact = judged(model, chips, task, timestep)
    found = networks_at(model, path, task, [timestep])[timestep]
    return float((judged(found, chips, task, timestep) - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_checkpoints_say_the_same(name: str) -> None:
    shipped = load_checkpoint(checkpoint_folder(name)).eval()
    for task, spec in shipped.spec.tasks.items():
        timestep = spec.inference_timesteps[0]
        assert largest_error(shipped, task, timestep, PATH) < 1e-4


@pytest.mark.skipif(PLAIN_CPU, reason="OpenVINO computes in bfloat16 where the processor does")
def test_bfloat16_is_taken_by_networks_that_bear_it_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = replace(PATH, dtype="bfloat16")
    land, buildings = (load_checkpoint(checkpoint_folder(n)) for n in ("land", "buildings"))
    assert largest_error(land.eval(), "change", T, path) < 0.05
    assert settled(path, land.spec, "change", STEP, lambda: land) == path
    assert settled(path, buildings.spec, "segment", (0,), lambda: buildings).engine == ""
    (said,) = capsys.readouterr().err.splitlines()
    assert "but is by torch: its logits are" in said


@pytest.mark.parametrize(
    "preset", ["tiny", "small", "pixelwise", pytest.param("reference", marks=pytest.mark.slow)]
)
def test_presets_say_the_same(preset: Preset) -> None:
    torch.manual_seed(0)
    network = network_of(preset, 64)
    spec = checkpoint_spec(preset=preset, network=network, chip_px=64, normalisation=BY_SCENE)
    made = Noise2Map(spec).eval()
    assert largest_error(made, "change", T, PATH) < 1e-4


@pytest.mark.parametrize("fusion", ["early", "difference", "alteration", "ranks"])
def test_what_the_network_sees_of_a_pair_is_made_before(fusion: str) -> None:
    torch.manual_seed(0)
    network = checkpoint_spec().network.model_copy(update={"fusion": fusion})
    made = Noise2Map(checkpoint_spec(network=network, normalisation=BY_SCENE)).eval()
    assert largest_error(made, "change", T, PATH) < 1e-4


def test_what_was_compiled_is_used_again_with_the_same_bits(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settle(checkpoint) == PATH
    first = predicted(checkpoint)
    (blob,) = (checkpoint / FOLDER).iterdir()
    written = blob.read_bytes()
    monkeypatch.setattr(compiled, "export", never)
    assert predicted(checkpoint) == first
    assert blob.read_bytes() == written
    assert load_checkpoint(checkpoint).spec.digest  # a folder beside the weights is no damage


def never(*_: object) -> bytes:
    raise AssertionError("compiled again")


@pytest.mark.parametrize(
    ("part", "other"), [("version", lambda name: f"{name} 0"), ("machine_name", lambda: "other")]
)
def test_another_version_or_processor_compiles_anew(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, part: str, other: Callable[..., str]
) -> None:
    settle(checkpoint)
    monkeypatch.setattr(engine, part, other)
    settle(checkpoint)
    assert len(list((checkpoint / FOLDER).iterdir())) == 2


@pytest.mark.parametrize("change", [{"batch": 1}, {"dtype": "bfloat16"}, {"threads": 2}])
def test_forms_of_other_paths_have_other_names(model: Noise2Map, change: dict[str, Any]) -> None:
    (one,) = forms(model.spec, "change", STEP, PATH)
    (other,) = forms(model.spec, "change", STEP, replace(PATH, **change))
    assert one.file_name != other.file_name


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:40], lambda _: b""])
def test_a_damaged_cache_is_made_anew(checkpoint: Path, damage: Callable[[bytes], bytes]) -> None:
    settle(checkpoint)
    first, (blob,) = predicted(checkpoint), (checkpoint / FOLDER).iterdir()
    written = blob.read_bytes()
    blob.write_bytes(damage(written))
    assert settle(checkpoint) == PATH and predicted(checkpoint) == first
    assert len(blob.read_bytes()) == len(written)


def test_a_checkpoint_that_cannot_be_written_is_compiled_elsewhere(
    checkpoint: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / FOLDER).write_text("in the way")
    assert settle(checkpoint) == settle(checkpoint) == PATH
    assert len(list(cache.iterdir())) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{checkpoint / FOLDER} cannot be written" in said and f"kept in {cache}" in said


def test_nowhere_to_keep_it_is_said_in_a_line_and_the_map_made(
    checkpoint: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(checkpoint)
    kept = predicted(checkpoint)
    for file in (checkpoint / FOLDER).iterdir():
        file.unlink()
    (checkpoint / FOLDER).rmdir()
    (checkpoint / FOLDER).write_text("in the way")
    cache.parent.parent.write_text("in the way")
    assert settle(checkpoint) == PATH
    (said,) = capsys.readouterr().err.splitlines()
    assert "XDG_CACHE_HOME" in said and str(checkpoint / FOLDER) in said
    assert predicted(checkpoint) == kept


def test_what_ships_is_compiled_outside_the_package(cache: Path) -> None:
    assert engine.places(checkpoint_folder(shipped_names()[0])) == [cache]


def test_a_network_that_cannot_be_exported_falls_back_to_torch_with_one_warning(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = PatchUNet.forward

    def unknown(self: PatchUNet, task: Any, x: Tensor, *more: Any) -> Tensor:
        # Its spectrum's determinant: no engine has that.
        return plain(self, task, x, *more) + torch.linalg.eig(x[0, 0])[0].abs().sum()

    monkeypatch.setattr(PatchUNet, "forward", unknown)
    path = settle(checkpoint)
    assert path == replace(PATH, engine="") and "engine" not in path.as_dict()
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("warning: ") or "warning: " in said
    assert not (checkpoint / FOLDER).exists()
    with pytest.raises(CheckpointError, match=r"inference\.engine torch"):
        predicted(checkpoint)


def test_an_export_that_computes_something_else_is_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = PatchUNet.forward, []

    def once(self: PatchUNet, *more: Any) -> Tensor:
        calls.append(1)
        return plain(self, *more) * (1 + (torch._C._get_tracing_state() is not None))

    monkeypatch.setattr(PatchUNet, "forward", once)
    assert settle(checkpoint).engine == "" and calls


def test_an_engine_is_part_of_the_key_and_torch_is_what_it_was() -> None:
    torch_keys = resolve_numeric_path(InferenceConfig(engine="torch"), gpus=0).as_dict()
    assert torch_keys == resolve_numeric_path(InferenceConfig(), gpus=0).as_dict()
    assert torch_keys.keys() == {
        "device", "processor", "dtype", "batch", "threads", "torch", "form", "graphs",
    }  # fmt: skip
    assert PATH.as_dict()["engine"].startswith("openvino 20")
    assert "engine" not in InferenceConfig().model_dump(mode="json")


def test_an_engine_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(numeric_path, "version", missing)
    with pytest.raises(ConfigError, match=r"noise2map\[openvino\]"):
        numeric_path._engine(BY_OPENVINO, "cpu")


def test_a_worker_without_the_engine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match=r"on this machine.*noise2map\[openvino\]"):
        compiled._core()


def test_openvino_is_for_cpus() -> None:
    with pytest.raises(ConfigError, match=r"resources\.predictor_gpus 0"):
        resolve_numeric_path(InferenceConfig(engine="openvino"), gpus=1)


def test_bfloat16_that_the_processor_has_not_is_refused(
    model: Noise2Map, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_capabilities", lambda _: ["FP32"])
    with pytest.raises(ConfigError, match=r"precision bf16.*fp32"):
        networks_at(model, replace(PATH, dtype="bfloat16"), "change", STEP)


def test_nobody_is_told_that_it_was_imported() -> None:
    compiled._core()
    modules: dict[str, Any] = dict(sys.modules)
    assert modules["openvino_telemetry"] is None
    assert logging.getLogger("openvino").level != logging.ERROR


def test_a_pair_in_memory_is_mapped_by_it(model: Noise2Map) -> None:
    rng = np.random.default_rng(0)
    before, after = (rng.integers(0, 3000, (2, 64, 64)).astype(np.uint16) for _ in range(2))
    by_torch = InferenceConfig(precision="fp32", batch=2)
    made = predict_pair(before, after, model, inference=BY_OPENVINO)
    exact = predict_pair(before, after, model, inference=by_torch)
    np.testing.assert_allclose(made["probability"], exact["probability"], atol=2e-4)


def test_files_of_the_cache_are_as_others_files(checkpoint: Path) -> None:
    settle(checkpoint)
    (blob,) = (checkpoint / FOLDER).iterdir()
    assert stat.S_ISREG(blob.stat().st_mode) and not [*(checkpoint / FOLDER).glob("*part*")]
