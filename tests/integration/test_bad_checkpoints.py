"""Checkpoints that hold nonsense: refused in one line that names it, before anything is written."""

import hashlib
import json
import math
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from diffusers import UNet2DModel
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from safetensors.torch import load_file, save_file

import noise2map_core.cli.commands.export_reference as export_reference
import noise2map_core.cli.commands.import_reference as import_reference
import noise2map_core.cli.commands.study_timesteps as study_timesteps
import pipelines.evaluate_maps
import pipelines.finetune_maps
import pipelines.infer_region
import pipelines.pretrain_denoiser
from noise2map_core import predict_pair
from noise2map_core.cli.application import application
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.denoiser import require_denoiser, save_denoiser
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.shipped import SHIPPED
from noise2map_core.models.start import require_start, start_digest, start_from
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.tools.export_reference import ExportReferenceConfig
from noise2map_core.workflows.tools.import_reference import ImportReferenceConfig
from noise2map_core.workflows.tools.study_timesteps import StudyTimestepsConfig
from tests.chip_factories import make_store, plan_store
from tests.factories import UNET, checkpoint_spec
from tests.said import errors
from tests.unit.evaluation.test_evaluation import SPLIT
from tests.unit.models.test_denoiser import denoiser

SPEC, WEIGHTS = "model.json", "model.safetensors"
Damage = Callable[[Path], None]
ONE = "network.heads.change.pixel.0.bias"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog) -> Path:
    torch.manual_seed(0)
    spec = checkpoint_spec(bands=embedded.bands)
    save_checkpoint(Noise2Map(spec), spec, tmp_path_factory.mktemp("good") / "c", "# untrained\n")
    return next(tmp_path_factory.getbasetemp().glob("good*/c"))


def stated(path: str, value: Any) -> Damage:
    """Another value at a path with dots, `*` for the first of several."""

    def damage(folder: Path) -> None:
        document = json.loads((folder / SPEC).read_text())
        place, (*way, last) = document, path.split(".")
        for part in way:
            place = place[int(part)] if part.isdigit() else place[part]
        place[int(last) if last.isdigit() else last] = value
        (folder / SPEC).write_text(json.dumps(document))

    return damage


def written(content: bytes | str) -> Damage:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / SPEC).write_bytes(data) and None


def edited(old: str, new: str) -> Damage:
    """Text of model.json that JSON's writer would not write."""

    def damage(folder: Path) -> None:
        text = (folder / SPEC).read_text()
        assert old in text
        (folder / SPEC).write_text(text.replace(old, new, 1))

    return damage


def replaced(name: str, make: Callable[[Path], None]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


def huge(path: Path) -> None:
    """A terabyte that takes no room."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


def reweighted(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """Other weights, and their digest in the spec."""

    def damage(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS)
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        stated("weights_sha256", digest)(folder)

    return damage


TASK, NET = "tasks.change", "network.unet"
NONSENSE: dict[str, tuple[Damage, str]] = {
    "empty": (written(""), "it is empty"),
    "cut": (written('{"format_version": 1'), "cannot be read"),
    "null": (written("null"), "not a JSON object"),
    "binary": (written(b"\x80\x04\xff"), "not UTF-8"),
    "UTF-16": (written('{"format_version": 1}'.encode("utf-16")), "not UTF-8"),
    "nested without end": (written("[" * 300_000), "nested too deeply"),
    "objects in objects": (written('{"a":' * 300_000), "nested too deeply"),
    "a million digits": (written('{"format_version": ' + "9" * 1_000_000 + "}"), "digits"),
    "a key twice": (edited('"gsd":', '"gsd": 1.0, "gsd":'), "'gsd' stands there twice"),
    "NaN spelt out": (edited('"gsd": 10.0', '"gsd": NaN'), "NaN is no number"),
    "beyond float": (edited('"gsd": 10.0', '"gsd": 1e999'), "1e999 is too large"),
    "a pipe": (replaced(SPEC, os.mkfifo), "a pipe, not a file"),
    "a directory": (replaced(SPEC, Path.mkdir), "s a directory"),
    "a device": (replaced(SPEC, lambda path: path.symlink_to("/dev/zero")), "a device, not a file"),
    "a terabyte": (replaced(SPEC, huge), "1,099,511,627,776 bytes"),
    "no spec": (replaced(SPEC, lambda path: None), r"no model\.json"),
    "unknown key": (stated("colour", 1), "colour"),
    "another format": (stated("format_version", "1"), "format version '1'"),
    "no task": (stated("tasks", {}), "tasks"),
    "unknown task": (stated("tasks.dream", {}), "dream"),
    "a number as text": (stated("gsd", "10"), "gsd: .*'10'"),
    "a truth as number": (stated("chip_px", True), "chip_px: .*True"),
    "gsd of 0": (stated("gsd", 0.0), "gsd: .*0.0"),
    "gsd below 0": (stated("gsd_range", [-1, 20]), "gsd_range.*-1"),
    "gsd range turned round": (stated("gsd_range", [20, 5]), r"gsd_range.*\[20, 5\]"),
    "value range turned round": (stated("value_range", [1, 0]), r"value_range.*\[1, 0\]"),
    "chips of 0 px": (stated("chip_px", 0), "chip_px: .*0"),
    "chips of 10⁹ px": (stated("chip_px", 10**9), "chip_px: .*1000000000"),
    "chips of an odd side": (stated("chip_px", 33), "chip_px must be a multiple of 4"),
    "stride of 1": (stated("stride_px", 1), "stride_px must lie within 2 … 32"),
    "stride with gaps": (stated("stride_px", 33), "stride_px must lie within"),
    "no band": (stated("bands", []), "bands"),
    "a band twice": (stated("bands", ["red", "red", "red"]), "bands must have different names"),
    "fewer bands": (stated("bands", ["red"]), "one mean and one std per date and band"),
    "a band of two lines": (stated("bands", ["a\nb", "c", "d"]), "bands.0: must be text on one"),
    "10⁹ steps": (stated(f"{TASK}.schedule.num_timesteps", 10**9), "num_timesteps.*1000000000"),
    "one step": (stated(f"{TASK}.schedule.num_timesteps", 1), "num_timesteps.*1"),
    "timestep beyond": (stated(f"{TASK}.inference_timesteps", [1000]), "within the schedule"),
    "no timestep": (stated(f"{TASK}.inference_timesteps", []), "within the schedule"),
    "a million timesteps": (
        stated(f"{TASK}.inference_timesteps", [0] * 1_000_00), "inference_timesteps"
    ),
    "unknown schedule": (stated(f"{TASK}.schedule.kind", "square"), "schedule.*square"),
    "beta of 2": (stated(f"{TASK}.schedule.beta_end", 2), "beta_end.*2"),
    "cosine turned round": (
        stated(f"{TASK}.schedule", {"kind": "cosine", "start": 0.9, "end": 0.1}),
        "start must lie before end",
    ),
    "unknown corruption": (stated(f"{TASK}.corruption.kind", "fog"), "corruption.*fog"),
    "std of 0": (stated(f"{TASK}.normalisation.std.0.0", 0.0), "std.0.0: .*0.0"),
    "std below 0": (stated(f"{TASK}.normalisation.std.1.0", -5.0), "std.1.0: .*-5"),
    "std of null": (stated(f"{TASK}.normalisation.std.0.0", None), "std.0.0"),
    "mean of 1e300": (stated(f"{TASK}.normalisation.mean.0.0", 1e300), "mean.0.0: .*1e"),
    "no date": (stated(f"{TASK}.num_dates", 0), "num_dates"),
    "change of one date": (stated(f"{TASK}.num_dates", 1), "num_dates of change must be 2 up"),
    "a single class": (stated(f"{TASK}.classes.1.name", "unchanged"), "different names"),
    "class of another value": (stated(f"{TASK}.classes.1.value", 7), "values 0, 1"),
    "no colour": (stated(f"{TASK}.classes.0.color", "url(x)"), "color: .*url"),
    "threshold of 2": (stated(f"{TASK}.threshold.changed", 2.0), "threshold.changed: .*2.0"),
    "threshold of no class": (stated(f"{TASK}.threshold.burnt", 0.5), "name classes"),
    "threshold of the first": (stated(f"{TASK}.threshold", {"unchanged": 0.5}), "the second"),
    "temperature of 0": (stated(f"{TASK}.temperature", 0.0), "temperature: .*0.0"),
    "temperature of 1e9": (stated(f"{TASK}.temperature", 1e9), "temperature: .*1000000000"),
    "unknown network": (stated("network.kind", "transformer"), "network.*transformer"),
    "patch of 0": (stated("network.patch", 0), "patch: .*0"),
    "channels of 10⁹": (stated(f"{NET}.block_out_channels", [10**9, 16]), "1000000000"),
    "channels of text": (stated(f"{NET}.block_out_channels", "many"), "block_out_channels: .*many"),
    "40 levels": (stated(f"{NET}.block_out_channels", [8] * 40), "block_out_channels"),
    "10⁹ layers": (stated(f"{NET}.layers_per_block", 10**9), "layers_per_block: .*1000000000"),
    "unknown blocks": (stated(f"{NET}.down_block_types.0", "eval"), "down_block_types.0: .*eval"),
    "uneven groups": (stated(f"{NET}.norm_num_groups", 3), "multiples of norm_num_groups"),
    "unknown argument": (stated(f"{NET}.import_path", "os"), "import_path"),
    "another network": (stated(f"{NET}.block_out_channels", [16, 16]), "has unknown network.back"),
    "digest of letters": (stated("weights_sha256", "zz"), "weights_sha256: .*zz"),
    "digest of others": (stated("weights_sha256", "0" * 64), "SHA-256 differs"),
    "no weights": (replaced(WEIGHTS, lambda path: None), "No such file"),
    "weights that are a pipe": (replaced(WEIGHTS, os.mkfifo), "a pipe, not a file"),
    "weights that are a folder": (replaced(WEIGHTS, Path.mkdir), "s a directory"),
    "weights of a terabyte": (replaced(WEIGHTS, huge), "not a safetensors file"),
    "weights of nothing": (replaced(WEIGHTS, Path.touch), "not a safetensors file"),
    "a weight is missing": (reweighted(lambda w: w.pop(ONE)), f"lacks {ONE}"),
    "a weight too many": (reweighted(lambda w: w.update(x=torch.zeros(1))), "has unknown x"),
    "a weight misshapen": (
        reweighted(lambda w: w.update({ONE: torch.zeros(99)})), f"has misshapen {ONE}"
    ),
    "a weight of integers": (
        reweighted(lambda w: w.update({ONE: w[ONE].to(torch.int32)})), f"in another type {ONE}"
    ),
    "NaN in a weight": (reweighted(lambda w: w[ONE].fill_(math.nan)), f"{ONE} holds NaN"),
    "infinity in a weight": (reweighted(lambda w: w[ONE].fill_(math.inf)), f"{ONE} holds NaN"),
}  # fmt: skip
SOME = ("a pipe", "nested without end", "std of 0", "10⁹ steps", "stride of 1", "NaN in a weight",
        "a weight is missing", "weights of a terabyte")  # fmt: skip


@pytest.fixture
def broken(checkpoint: Path, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, str]:
    """A damaged copy, and what is to be said of it."""
    damage, said = NONSENSE[request.param]
    folder = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    damage(folder)
    return folder, said


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Runs an application, which must refuse: its only line."""
    handler = signal.getsignal(signal.SIGTERM)

    def refused(module: Any, config: type, **flags: Any) -> str:
        line = [
            part for name, value in flags.items() for part in (f"--{name}", *str(value).split())
        ]
        monkeypatch.setattr(sys, "argv", ["it", *line])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            application(config, module.run)
        said = capsys.readouterr()
        assert ended.value.code == 2 and said.out == "", said
        (line,) = errors(said.err)
        return line

    yield refused
    signal.signal(signal.SIGTERM, handler)


def flags_of(embedded: EmbeddedCatalog, checkpoint: Path, output: Path) -> dict[str, Any]:
    return {
        "aoi": embedded.map_aoi, "catalog": embedded.catalog, "collection": embedded.collection,
        "before": embedded.before, "after": embedded.after, "checkpoint": checkpoint,
        "output": output, "grid.tile_px": 64,
    }  # fmt: skip


@pytest.mark.parametrize("broken", NONSENSE, indirect=True)
def test_a_map_of_nonsense_is_refused_before_it_is_begun(
    broken: tuple[Path, str], embedded: EmbeddedCatalog, tmp_path: Path, command: Callable[..., str]
) -> None:
    folder, said = broken
    flags = flags_of(embedded, folder, tmp_path / "out" / "map")
    line = command(pipelines.infer_region, InferRegionConfig, **flags)
    assert line.startswith("CheckpointError: ") and re.search(said, line), line
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    return make_store(plan_store(folder / "a", folder / "chips.zarr", split=SPLIT))


@pytest.mark.parametrize("broken", SOME, indirect=True)
def test_all_that_take_a_checkpoint_refuse_alike(
    broken: tuple[Path, str], store: Path, tmp_path: Path, command: Callable[..., str]
) -> None:
    folder, output = broken[0], tmp_path / "out" / "x"
    lines = {
        command(pipelines.evaluate_maps, EvaluateMapsConfig,
                checkpoint=folder, chips=store, split="val", output=output),
        command(export_reference, ExportReferenceConfig,
                checkpoint=folder, output=output),
        command(study_timesteps, StudyTimestepsConfig,
                checkpoint=folder, chips=store, split="val", output=output),
    }  # fmt: skip
    assert len(lines) == 1, lines
    pixels = np.zeros((3, 64, 64), np.uint16)
    box = GeoBox((64, 64), Affine(10, 0, 500_000, 0, -10, 5_300_000), "EPSG:32633")
    image = xr.concat([wrap_xr(band, box) for band in pixels], dim="band")
    with pytest.raises(CheckpointError):
        predict_pair(image, image, folder)
    assert not output.parent.exists()


@pytest.mark.parametrize("broken", SOME, indirect=True)
def test_a_backbone_of_nonsense_is_refused_before_training(
    broken: tuple[Path, str], checkpoint: Path
) -> None:
    network = load_checkpoint(checkpoint).spec.network
    require_start(network, checkpoint)
    with pytest.raises(CheckpointError):
        start_digest(broken[0])
        require_start(network, broken[0])


@pytest.mark.parametrize("broken", ["a pipe", "std of 0"], indirect=True)
def test_trainings_refuse_a_backbone_of_nonsense_and_write_nothing(
    broken: tuple[Path, str], store: Path, tmp_path: Path, command: Callable[..., str]
) -> None:
    given = {"chips": store, "output": tmp_path / "out" / "x", "model.backbone": broken[0]}
    finetune, pretrain = pipelines.finetune_maps, pipelines.pretrain_denoiser
    for module, config in (
        (finetune, finetune.FinetuneMapsConfig), (pretrain, pretrain.PretrainDenoiserConfig)
    ):  # fmt: skip
        assert re.search(broken[1], command(module, config, **given))
    assert not (tmp_path / "out").exists()


def test_the_name_of_a_checkpoint_that_ships_starts_a_training(store: Path) -> None:
    name, folder = Path("buildings"), SHIPPED / "buildings"
    assert start_digest(name) == start_digest(folder)
    learnt = load_checkpoint(folder)
    require_start(learnt.spec.network, name)
    model = Noise2Map(learnt.spec)
    start_from(model, name)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), learnt.parameters(), strict=True)
    )


UNET_WEIGHTS = "diffusion_pytorch_model.safetensors"


def of_config(path: str, value: Any) -> Damage:
    def damage(folder: Path) -> None:
        document = json.loads((folder / "config.json").read_text()) | {path: value}
        (folder / "config.json").write_text(json.dumps(document))

    return damage


def of_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(folder: Path) -> None:
        weights = load_file(folder / UNET_WEIGHTS)
        change(weights)
        save_file(weights, folder / UNET_WEIGHTS)

    return damage


MID = "mid_block.resnets.0.conv1.bias"
PUBLISHED: dict[str, tuple[Damage, str]] = {
    "another class": (of_config("_class_name", "VQModel"), "does not describe a UNet2DModel"),
    "channels of 0": (of_config("block_out_channels", [0, 16]), "block_out_channels"),
    "channels of text": (of_config("block_out_channels", ["8", 16]), "block_out_channels.0: .*8"),
    "layers of 10⁹": (of_config("layers_per_block", 10**9), "layers_per_block: .*1000000000"),
    "unknown blocks": (of_config("up_block_types", ["x", "y"]), "up_block_types.0: .*x"),
    "class labels": (of_config("class_embed_type", "timestep"), "class_embed_type"),
    "a pipe": (replaced("config.json", os.mkfifo), "a pipe, not a file"),
    "nested": (lambda folder: (folder / "config.json").write_text("[" * 10**5) and None, "deeply"),
    "no weights": (replaced(UNET_WEIGHTS, lambda path: None), "No such file"),
    "weights of a terabyte": (replaced(UNET_WEIGHTS, huge), "not a safetensors file"),
    "weights that are a pipe": (replaced(UNET_WEIGHTS, os.mkfifo), "a pipe, not a file"),
    "a weight is missing": (of_weights(lambda w: w.pop(MID)), f"lacks {MID}"),
    "a weight misshapen": (of_weights(lambda w: w.update({MID: torch.zeros(3)})), f"lacks {MID}"),
    "integers": (of_weights(lambda w: w.update({MID: w[MID].long()})), f"{MID} is of torch.int64"),
    "NaN": (of_weights(lambda w: w[MID].fill_(math.nan)), f"{MID} holds NaN"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_published_unet_of_nonsense_is_refused_before_it_is_used(
    kind: str, tmp_path: Path, command: Callable[..., str]
) -> None:
    damage, said = PUBLISHED[kind]
    UNet2DModel(**UNET).save_pretrained(tmp_path / "unet")
    network = checkpoint_spec().network
    require_start(network, tmp_path / "unet")
    damage(tmp_path / "unet")
    with pytest.raises(CheckpointError, match=said):
        start_digest(tmp_path / "unet")
        require_start(network, tmp_path / "unet")
    line = command(
        import_reference, ImportReferenceConfig, unet=tmp_path / "unet",
        task="change", output=tmp_path / "out" / "x",
    )  # fmt: skip
    assert line.startswith("CheckpointError: ") and re.search(said, line), line
    assert not (tmp_path / "out").exists()


DENOISERS: dict[str, tuple[Damage, str]] = {
    "a pipe": (replaced("denoiser.json", os.mkfifo), "a pipe, not a file"),
    "a key twice": (
        lambda folder: (folder / "denoiser.json").write_text('{"bands": [], "bands": []}') and None,
        "stands there twice",
    ),
    "nothing": (lambda folder: (folder / "denoiser.json").write_text("") and None, "it is empty"),
    "a weight is missing": (
        lambda folder: (folder / "outer.safetensors").unlink(), "No such file"
    ),
}  # fmt: skip


def said_of_denoiser(path: str, value: Any) -> Damage:
    def damage(folder: Path) -> None:
        document = json.loads((folder / "denoiser.json").read_text())
        place, (*way, last) = document, path.split(".")
        for part in way:
            place = place[part]
        place[last] = value
        (folder / "denoiser.json").write_text(json.dumps(document))

    return damage


DENOISERS |= {
    "10⁹ steps": (said_of_denoiser("denoising.schedule.num_timesteps", 10**9), "num_timesteps"),
    "std of 0": (said_of_denoiser("normalisation.std", [[0.0, 1.0]]), "std.0.0"),
    "fewer bands": (said_of_denoiser("bands", ["red"]), "one mean and one std per band"),
    "another network": (
        said_of_denoiser("network.unet.layers_per_block", 2), "lacks backbone"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DENOISERS)
def test_a_denoiser_of_nonsense_is_refused_before_it_is_used(kind: str, tmp_path: Path) -> None:
    damage, said = DENOISERS[kind]
    save_denoiser(denoiser(), tmp_path / "c", "card")
    damage(tmp_path / "c")
    with pytest.raises(CheckpointError, match=said):
        start_digest(tmp_path / "c")
        require_denoiser(tmp_path / "c")


def test_the_name_of_a_checkpoint_that_ships_is_no_unet_to_import(
    tmp_path: Path, command: Callable[..., str]
) -> None:
    line = command(
        import_reference, ImportReferenceConfig, unet="buildings", task="change",
        output=tmp_path / "x",
    )  # fmt: skip
    assert "buildings is a checkpoint that ships, not a UNet" in line
