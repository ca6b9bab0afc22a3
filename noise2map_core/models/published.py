"""Weights in the published layout: read into a checkpoint, and written back.

A network there is a diffusers UNet2DModel (`unet.*`) between two 3 x 3 convolutions (`input_conv`,
`output_conv`); for chips of another size than 256 pixels one more stands beside the resizing on
either side (`input_upscaling.1`, `output_downscaling.1`). RGB is scaled to x / 127.5 − 1.
"""

import json
import pickle
import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from noise2map_core import __version__
from noise2map_core.models.backbone import (
    CLASS_NAMES,
    CONFIG_NAME,
    WEIGHTS_NAME,
    load_backbone,
    read_unet_config,
    renamed,
)
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.presets import REFERENCE_PX
from noise2map_core.models.spec import (
    CheckpointSpec,
    ClassSpec,
    Normalisation,
    ReferenceSpec,
    TaskSpec,
    refused_as_settings,
)
from noise2map_core.models.unet_arguments import USE_TIMESTEP
from noise2map_core.models.weight_files import MAX_WEIGHTS
from noise2map_core.runtime.documents import read_file
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.settings.diffusion import (
    Corruption,
    LinearSchedule,
    SelfCorruption,
    SwappedPairCorruption,
)
from noise2map_core.settings.network import Task

HALF_RANGE = 127.5
"""x / 127.5 − 1 is a z-score of this mean and this standard deviation."""

OURS_OF_THEIRS = {
    "unet.": "network.backbone.",
    "input_conv.": "network.stems.{task}.conv.",
    "input_upscaling.1.": "network.stems.{task}.resized.",
    "output_conv.": "network.heads.{task}.conv.",
    "output_downscaling.1.": "network.heads.{task}.resized.",
}

COLORS = ("#d9d9d9", "#d7301f", "#1f78b4", "#33a02c", "#ff7f00", "#6a3d9a", "#b15928", "#a6cee3")


def import_published(
    unet: Path,
    weights: Path | None,
    task: Task,
    num_classes: int,
    chip_px: int,
    *,
    bands: tuple[str, ...] = ("red", "green", "blue"),
    gsd: float = 1.0,
    gsd_range: tuple[float, float] = (0.01, 1000.0),
    seed: int = 0,
) -> Noise2Map:
    """A model from the folder of a published UNet and, where there is one, a fine-tuned .pth file.

    Without `weights` the UNet has its published weights and all around it is random: a start for
    training. Raises CheckpointError if files are missing, no weights, or of another network.
    """
    with refused_as_settings("the imported model"):
        spec = _spec(read_unet_config(unet), task, num_classes, chip_px, bands, gsd, gsd_range)
    torch.manual_seed(seed)
    model = Noise2Map(spec)
    if weights is None:
        network: Any = model.network
        load_backbone(network.backbone, network_of(spec).unet, unet)
    else:
        _load(model, task, read_published(weights), weights)
    return model.eval()


def export_published(model: Noise2Map, output: Path) -> None:
    """Write `unet/` (diffusers) and `weights.pth` (a state dict), in the published layout.

    Raises CheckpointError if the model has another layout or several tasks.
    """
    task = model.spec.task_name()
    network: Any = model.network
    unet = network_of(model.spec).unet
    name = CLASS_NAMES[USE_TIMESTEP in unet]
    config = {"_class_name": name, "in_channels": 3, "out_channels": 3} | unet
    weights = model.state_dict()
    folder = output / "unet"
    folder.mkdir(parents=True)
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(network.backbone.state_dict(), folder / WEIGHTS_NAME, metadata={"format": "pt"})
    torch.save({_theirs(name, task): weights[name] for name in weights}, output / "weights.pth")


def read_published(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth file by their published names, without a `module.` before them, and
    with layers of attention by their names of today.

    Nothing in the file is executed. Raises CheckpointError if it is no state dict.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # the error says enough
            content = BytesIO(read_file(path, MAX_WEIGHTS))
            state = torch.load(content, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as a state dict of tensors: {reason} Files that would execute "
            "code are never loaded; download it again, or save the model's state_dict()."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(
            f"{path} is not a state dict of tensors. Save the model's state_dict()."
        )
    return renamed({str(name).removeprefix("module."): tensor for name, tensor in state.items()})


def network_of(spec: CheckpointSpec) -> ReferenceSpec:
    """The network of a spec in the published layout. Raises CheckpointError if it is another's."""
    if not isinstance(spec.network, ReferenceSpec):
        raise CheckpointError(
            f"a network of preset {spec.preset} cannot be written in the published layout. Only "
            "those of preset reference can."
        )
    return spec.network


def _spec(
    unet: dict[str, Any],
    task: Task,
    num_classes: int,
    chip_px: int,
    bands: tuple[str, ...],
    gsd: float,
    gsd_range: tuple[float, float],
) -> CheckpointSpec:
    num_dates = 2 if task == "change" else 1
    rows = ((HALF_RANGE,) * len(bands),) * num_dates
    corruption: Corruption = SwappedPairCorruption() if task == "change" else SelfCorruption()
    classes = _classes(task, num_classes)
    return CheckpointSpec(
        tasks={
            task: TaskSpec(
                num_dates=num_dates,
                normalisation=Normalisation(mean=rows, std=rows),
                corruption=corruption,
                schedule=LinearSchedule(),
                inference_timesteps=(LinearSchedule().num_timesteps - 1,),
                classes=classes,
                threshold={classes[1].name: 0.5} if num_classes == 2 else {},
            )
        },
        bands=bands,
        gsd=gsd,
        gsd_range=gsd_range,
        value_range=(0.0, 255.0),
        chip_px=chip_px,
        stride_px=max(1, chip_px // 2),
        preset="reference",
        network=ReferenceSpec(unet=unet, resized_px=None if chip_px == REFERENCE_PX else chip_px),
        code_version=__version__,
    )


def _classes(task: Task, count: int) -> tuple[ClassSpec, ...]:
    first = ("unchanged", "changed") if task == "change" else ("other", "building")
    names = first if count == 2 else (first[0], *(f"class_{value}" for value in range(1, count)))
    return tuple(
        ClassSpec(value=value, name=name, color=COLORS[value % len(COLORS)])
        for value, name in enumerate(names)
    )


def _load(model: Noise2Map, task: Task, published: dict[str, Tensor], path: Path) -> None:
    """Load weights under their own names; refuse those of another network by theirs."""
    own = model.state_dict()
    names = {_theirs(name, task): name for name in own}
    for theirs in sorted(names.keys() | published.keys()):
        if theirs not in published:
            raise CheckpointError(f"{path} lacks {theirs}. {_hint(theirs)}")
        if theirs not in names:
            raise CheckpointError(
                f"{path} has {theirs}, for which there is no place. {_hint(theirs)}"
            )
        shape, expected = tuple(published[theirs].shape), tuple(own[names[theirs]].shape)
        if shape != expected:
            raise CheckpointError(
                f"{path}: {theirs} has the shape {shape}, not {expected}. {_hint(theirs)}"
            )
        if not published[theirs].is_floating_point():
            raise CheckpointError(
                f"{path}: {theirs} is of {published[theirs].dtype}, no weight. Use other weights."
            )
        if not torch.isfinite(published[theirs]).all():
            raise CheckpointError(f"{path}: {theirs} holds NaN or infinity. Use other weights.")
    model.load_state_dict({names[theirs]: tensor for theirs, tensor in published.items()})


def _theirs(name: str, task: Task) -> str:
    """The published name of one of our weights."""
    for theirs, ours in OURS_OF_THEIRS.items():
        prefix = ours.format(task=task)
        if name.startswith(prefix):
            return theirs + name.removeprefix(prefix)
    raise AssertionError(f"no published name for {name}")


def _hint(name: str) -> str:
    """Which setting decides about a weight."""
    if re.match(r"(input_upscaling|output_downscaling)\.", name):
        return "Set --chip-size to the size of the chips that it was trained on."
    if name.startswith("output_conv."):
        return "Set --classes to the number of its classes."
    if name.startswith("input_conv."):
        return "Set --task and --bands to those that it was trained on."
    return "Set --unet to the UNet that it was trained from."
