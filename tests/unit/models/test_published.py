"""Published weights, against what the authors' implementation computed."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_file

from noise2map_core.cli.commands.export_reference import run as export_reference
from noise2map_core.cli.commands.import_reference import run as import_reference
from noise2map_core.models.backbone import read_unet_config
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.hub import resolve_unet
from noise2map_core.models.noise2map import Noise2Map, TaskInput, at_timestep
from noise2map_core.models.published import export_published, import_published, read_published
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.settings.network import Task
from noise2map_core.workflows.tools.export_reference import ExportReferenceConfig
from noise2map_core.workflows.tools.import_reference import ImportReferenceConfig

CASES: list[tuple[str, Task, int]] = [
    ("cd256", "change", 256), ("sem256", "segment", 256), ("cd128", "change", 128)
]  # fmt: skip
TINY = {
    "block_out_channels": [32, 64], "layers_per_block": 1, "norm_num_groups": 32,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "attention_head_dim": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def reference(real_data: Path) -> Path:
    return real_data / "reference_outputs"


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case[0])
def case(
    request: pytest.FixtureRequest, reference: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Noise2Map, Any, Task]:
    """A model imported by the command, the recorded arrays, and its task."""
    name, task, chip = request.param
    output = tmp_path_factory.mktemp("imported") / name
    config = ImportReferenceConfig(
        unet=str(reference / "unet"), weights=reference / f"{name}.pth", task=task,
        chip_px=chip, output=output,
    )  # fmt: skip
    assert import_reference(config).tuned
    return load_checkpoint(output), np.load(reference / f"{name}.npz"), task


@pytest.mark.parametrize("timestep", [0, 250, 999])
def test_logits_are_those_of_the_reference(
    case: tuple[Noise2Map, Any, Task], timestep: int
) -> None:
    model, recorded, _ = case
    chosen = slice(None) if timestep == 999 else slice(1)  # one chip is enough for the others
    with torch.inference_mode():
        logits = model.logits(torch.from_numpy(recorded["image_uint8"][chosen]), timestep)
    difference = np.abs(logits[:, :, ::4, ::4].numpy() - recorded[f"logits_{timestep}"][chosen])
    assert difference.max() < 1e-4


@pytest.mark.parametrize("timestep", [0, 250, 999])
def test_corrupted_inputs_are_those_of_the_reference(
    case: tuple[Noise2Map, Any, Task], timestep: int
) -> None:
    model, recorded, task = case
    image = torch.from_numpy(recorded["image_uint8"])
    steps = torch.full((len(image),), timestep)
    valid = torch.ones_like(image[:, :1], dtype=torch.bool)
    x_t = model.corrupt(TaskInput(model.normalise(image), valid, steps), task)
    np.testing.assert_allclose(x_t[:, :, ::16, ::16], recorded[f"x_t_{timestep}"], atol=2e-6)


def test_what_is_exported_is_what_was_published(
    case: tuple[Noise2Map, Any, Task], reference: Path, tmp_path: Path
) -> None:
    model, recorded, task = case
    checkpoint = tmp_path / "checkpoint"
    from noise2map_core.models.checkpoint import save_checkpoint

    save_checkpoint(model, model.spec, checkpoint, "card")
    export_reference(ExportReferenceConfig(checkpoint=checkpoint, output=tmp_path / "out"))
    chip = recorded["image_uint8"].shape[-1]
    name = next(n for n, t, px in CASES if (t, px) == (task, chip))
    theirs = read_published(reference / f"{name}.pth")
    written = read_published(tmp_path / "out" / "weights.pth")
    assert written.keys() == theirs.keys()
    assert all(torch.equal(written[key], theirs[key]) for key in theirs)
    unet = UNet2DModel.from_pretrained(tmp_path / "out" / "unet")
    assert all(torch.equal(v, theirs[f"unet.{k}"]) for k, v in unet.state_dict().items())


def published_unet(folder: Path, **changes: Any) -> Path:
    torch.manual_seed(1)
    UNet2DModel(in_channels=3, out_channels=3, **(TINY | changes)).save_pretrained(folder)
    return folder


def in_their_words(unet: Path, chip: int, classes: int, channels: int = 3) -> dict[str, Any]:
    """A random state dict in the published layout."""

    def conv(out: int, into: int) -> dict[str, torch.Tensor]:
        return {"weight": torch.randn(out, into, 3, 3), "bias": torch.randn(out)}

    parts = {"input_conv": conv(3, channels), "output_conv": conv(classes, 3)}
    if chip != 256:
        parts |= {"input_upscaling.1": conv(3, 3), "output_downscaling.1": conv(classes, classes)}
    state = {f"unet.{k}": v for k, v in UNet2DModel.from_pretrained(unet).state_dict().items()}
    return state | {f"{part}.{k}": v for part, both in parts.items() for k, v in both.items()}


def forward_by_hand(unet: Path, state: dict[str, Any], x: torch.Tensor, t: int) -> torch.Tensor:
    """The layout as method.md states it, from torch and diffusers alone."""
    from torch.nn.functional import conv2d, interpolate

    def conv(name: str, value: torch.Tensor) -> torch.Tensor:
        return conv2d(value, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    px, resized = x.shape[-1], "input_upscaling.1.weight" in state
    size: dict[str, Any] = {"mode": "bilinear", "align_corners": True}
    x = conv("input_conv", x)
    if resized:
        x = conv("input_upscaling.1", interpolate(x, (256, 256), **size))
    x = UNet2DModel.from_pretrained(unet)(x, torch.full((len(x),), t)).sample
    x = conv("output_conv", x)
    return conv("output_downscaling.1", interpolate(x, (px, px), **size)) if resized else x


@pytest.mark.parametrize(("chip", "classes", "prefix"), [(64, 5, ""), (512, 2, "module.")])
def test_other_chips_classes_and_prefixes_are_of_the_layout(
    tmp_path: Path, chip: int, classes: int, prefix: str
) -> None:
    unet = published_unet(tmp_path / "unet", down_block_types=["DownBlock2D"] * 2,
                          up_block_types=["UpBlock2D"] * 2)  # fmt: skip
    state = in_their_words(unet, chip, classes)
    torch.save({prefix + name: value for name, value in state.items()}, tmp_path / "w.pth")
    model = import_published(unet, tmp_path / "w.pth", "segment", classes, chip)
    image = torch.randint(0, 256, (1, 3, chip, chip), dtype=torch.uint8)
    with torch.inference_mode():
        alpha_bar = model.alpha_bars()[999]
        x_t = (alpha_bar.sqrt() + (1 - alpha_bar).sqrt()).float() * (image / 127.5 - 1)
        torch.testing.assert_close(
            model.logits(image, 999), forward_by_hand(unet, state, x_t, 999), rtol=0, atol=1e-4
        )


def test_the_unet_alone_is_a_start_for_training(tmp_path: Path) -> None:
    unet = published_unet(tmp_path / "unet")
    model = import_published(unet, None, "change", 2, 256)
    published = load_file(unet / "diffusion_pytorch_model.safetensors")
    network: Any = model.network
    own = network.backbone.state_dict()
    assert all(torch.equal(own[name], published[name]) for name in own)


def test_only_arguments_that_differ_from_the_defaults_are_kept(tmp_path: Path) -> None:
    kept = read_unet_config(published_unet(tmp_path / "unet"))
    assert kept == {name: value for name, value in TINY.items() if name != "norm_num_groups"}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda s: s.pop("unet.conv_in.bias"), {}, r"lacks unet\.conv_in\.bias"),
        (lambda s: s.update(stray=torch.zeros(1)), {}, "has stray"),
        (lambda s: None, {"num_classes": 3}, "Set --classes"),
        (lambda s: None, {"chip_px": 128}, "Set --chip-size"),
        (lambda s: None, {"bands": ("red",)}, "Set --task and --bands"),
        (lambda s: s["input_conv.bias"].fill_(torch.nan), {}, "holds NaN"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(
    tmp_path: Path, change: Any, options: dict[str, Any], message: str
) -> None:
    unet = published_unet(tmp_path / "unet")
    state = in_their_words(unet, 256, 2)
    change(state)
    torch.save(state, tmp_path / "w.pth")
    settings = {"task": "segment", "num_classes": 2, "chip_px": 256} | options
    with pytest.raises(CheckpointError, match=message) as caught:
        import_published(unet, tmp_path / "w.pth", **settings)
    assert "\n" not in str(caught.value)


class Harmful:
    """Would make a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_execute_code_is_refused_and_does_not(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"unet.x": Harmful(tmp_path / "ran")}))
    torch.save({"unet.x": Harmful(tmp_path / "ran")}, tmp_path / "v.pth")
    for name in ("w.pth", "v.pth"):
        with pytest.raises(CheckpointError, match="never loaded"):
            read_published(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"<html>not here</html>", b"PK\x03\x04broken"])
def test_what_is_no_weights_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.pth cannot be read") as caught:
        read_published(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


def without_timestep(unet: Path, folder: Path) -> dict[str, torch.Tensor]:
    """A folder as the authors' code saves a UNet that is told no timestep, and what it is in the
    end: a UNet2DModel whose blocks add nothing of the timestep."""
    weights = load_file(unet / "diffusion_pytorch_model.safetensors")
    timed = [name for name in weights if "time_emb" in name]
    config = json.loads((unet / "config.json").read_text())
    config |= {"_class_name": "UNet2DModelFlex", "use_timestep": False}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    kept = {name: value for name, value in weights.items() if name not in timed}
    save_file(kept, folder / "diffusion_pytorch_model.safetensors")
    return weights | {name: torch.zeros_like(weights[name]) for name in timed}


@pytest.mark.parametrize("timestep", [0, 700])
def test_a_unet_that_the_authors_saved_without_timestep_ignores_it(
    tmp_path: Path, timestep: int
) -> None:
    unet = published_unet(tmp_path / "unet")
    silent = without_timestep(unet, tmp_path / "flex")
    state = in_their_words(unet, 256, 2)
    state |= {f"unet.{name}": value for name, value in silent.items()}
    stated = UNet2DModel.from_pretrained(unet)
    stated.load_state_dict(silent)
    stated.save_pretrained(tmp_path / "silent")
    theirs = {name: value for name, value in state.items() if "time_emb" not in name}
    torch.save(theirs, tmp_path / "w.pth")
    model = import_published(tmp_path / "flex", tmp_path / "w.pth", "segment", 2, 256)
    assert model.spec.network.unet["use_timestep"] is False  # type: ignore[union-attr]
    x = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        found = model.judged(x, timestep, "segment")
        by_hand = forward_by_hand(tmp_path / "silent", state, x, 5)
        torch.testing.assert_close(found, by_hand, rtol=0, atol=1e-4)
        fast = at_timestep(model, timestep, torch.float32).judged(x, timestep, "segment")
        torch.testing.assert_close(fast, by_hand, rtol=0, atol=1e-3)


def test_what_was_told_no_timestep_is_exported_as_such_and_read_again(tmp_path: Path) -> None:
    without_timestep(published_unet(tmp_path / "unet"), tmp_path / "flex")
    model = import_published(tmp_path / "flex", None, "segment", 2, 256)
    export_published(model, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "unet" / "config.json").read_text())
    assert config["_class_name"] == "UNet2DModelFlex" and config["use_timestep"] is False
    again = import_published(tmp_path / "out" / "unet", None, "segment", 2, 256)
    own, other = model.state_dict(), again.state_dict()
    assert all(torch.equal(own[k], other[k]) for k in own if "backbone" in k)


def test_a_unet_of_the_authors_kind_that_is_told_the_timestep_is_a_unet2dmodel(
    tmp_path: Path,
) -> None:
    unet = published_unet(tmp_path / "unet")
    before = read_unet_config(unet)
    config = json.loads((unet / "config.json").read_text())
    config |= {"_class_name": "UNet2DModelFlex", "use_timestep": True}
    (unet / "config.json").write_text(json.dumps(config))
    assert read_unet_config(unet) == before


def test_old_names_of_attention_are_those_that_diffusers_converts(tmp_path: Path) -> None:
    unet = published_unet(tmp_path / "unet")
    old = Path(shutil.copytree(unet, tmp_path / "old"))
    file = old / "diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(file)
    for today, before in names.items():
        weights = {name.replace(f".{today}.", f".{before}."): v for name, v in weights.items()}
    assert any(".attentions.0.query." in name for name in weights)
    file.unlink()  # it may be mapped
    save_file(weights, file)
    # diffusers converts them itself, and is the judge.
    expected = UNet2DModel.from_pretrained(old).state_dict()
    model: Any = import_published(old, None, "change", 2, 256)
    found = model.network.backbone.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    tuned = {f"unet.{name}": value for name, value in weights.items()}
    torch.save(in_their_words(unet, 256, 2, channels=6) | tuned, tmp_path / "w.pth")
    named = read_published(tmp_path / "w.pth")
    assert torch.equal(named["unet.mid_block.attentions.0.to_out.0.weight"],
                       weights["mid_block.attentions.0.proj_attn.weight"])  # fmt: skip


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    unet = published_unet(tmp_path / "unet")
    document = json.loads((unet / "config.json").read_text())
    other = Path(shutil.copytree(unet, tmp_path / "other"))
    (other / "config.json").write_text(json.dumps(document | {"_class_name": "VQModel"}))
    with pytest.raises(CheckpointError, match="does not describe a UNet2DModel"):
        read_unet_config(other)
    with pytest.raises(CheckpointError, match=r"no readable config\.json"):
        read_unet_config(tmp_path / "nowhere")
    (unet / "diffusion_pytorch_model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        import_published(unet, None, "change", 2, 256)


def test_a_name_is_looked_up_on_the_hub_and_its_absence_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    with pytest.raises(CheckpointError, match=r"no route to host Download aid-10k/config\.json"):
        resolve_unet("ali97/noise2map/aid-10k")
    with pytest.raises(CheckpointError, match="is not a folder"):
        resolve_unet("./nowhere")
    assert resolve_unet(str(tmp_path)) == tmp_path


def test_an_output_that_is_there_is_kept(tmp_path: Path) -> None:
    config = ImportReferenceConfig(
        unet=str(published_unet(tmp_path / "unet")), task="change", output=tmp_path
    )
    with pytest.raises(Exception, match="is there already"):
        import_reference(config)
