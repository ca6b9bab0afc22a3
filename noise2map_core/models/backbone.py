"""The backbone: diffusers' UNet2DModel, from scratch or with published weights."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from noise2map_core.digest import file_sha256
from noise2map_core.errors import CheckpointError
from noise2map_core.storage import local_copy, read_bytes

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"

NOT_SHAPE = {"in_channels", "out_channels", "sample_size"}
"""Arguments in which a backbone may differ from the published one."""

OUTER = ("conv_in.", "conv_out.")
"""Layers that belong to the published channels, three in and three out."""


def build_backbone(unet: dict[str, Any], channels: int) -> Any:
    """A UNet2DModel of these arguments, with random weights."""
    let_torchvision_import()
    from diffusers import UNet2DModel

    return UNet2DModel(in_channels=channels, out_channels=channels, **unet)


def keep_no_activations(model: nn.Module) -> None:
    """Let a model's backbone compute its activations again on the way back (Chen et al. 2016)."""
    let_torchvision_import()
    from diffusers import UNet2DModel

    for part in model.modules():
        if isinstance(part, UNet2DModel):
            part.enable_gradient_checkpointing()  # type: ignore[operator]


def level_of(name: str, depth: int) -> int:
    """How far a parameter lies from the input of a backbone of `depth` blocks down and up.

    0: the first convolution and the time embedding; 2·depth + 2: the last convolution.
    """
    part, *rest = name.split(".")
    match part:
        case "down_blocks":
            return 1 + int(rest[0])
        case "mid_block":
            return 1 + depth
        case "up_blocks":
            return 2 + depth + int(rest[0])
        case "conv_norm_out" | "conv_out":
            return 2 + 2 * depth
        case _:
            return 0


def read_unet_config(folder: Path) -> dict[str, Any]:
    """The arguments of the UNet2DModel in a diffusers folder, defaults left out.

    Raises CheckpointError if there is none.
    """
    let_torchvision_import()
    from diffusers import UNet2DModel

    file = folder / CONFIG_NAME
    try:
        document = json.loads(read_bytes(file))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder} has no readable {CONFIG_NAME}: {error}. Point to the folder of a diffusers "
            "UNet2DModel, such as a download of ali97/noise2map/aid-10k."
        ) from error
    if not isinstance(document, dict) or document.get("_class_name") != "UNet2DModel":
        raise CheckpointError(
            f"{file} does not describe a UNet2DModel of diffusers. Point to the folder of one."
        )
    defaults: dict[str, Any] = dict(UNet2DModel().config)  # type: ignore[attr-defined]
    known = {key: value for key, value in document.items() if key in defaults}
    return {key: value for key, value in known.items() if not _same(value, defaults[key])}


def read_unet_weights(folder: Path) -> dict[str, Tensor]:
    """The weights in a diffusers folder. Raises CheckpointError if they cannot be read."""
    with _readable(folder / WEIGHTS_NAME) as file:
        return load_file(file)


def unet_sha256(folder: Path) -> str:
    """SHA-256 of the weights in a diffusers folder. Raises CheckpointError if there are none."""
    with _readable(folder / WEIGHTS_NAME) as file:
        return file_sha256(file)


@contextmanager
def _readable(file: Path) -> Iterator[Path]:
    try:
        with local_copy(file) as copy:
            yield copy
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{file} cannot be read as safetensors: {error}. Download the folder again."
        ) from error


def load_backbone(backbone: nn.Module, unet: dict[str, Any], folder: Path) -> None:
    """Start a backbone of the arguments `unet` from published weights.

    The first and the last convolution keep their own weights where their channels differ. Raises
    CheckpointError if the folder holds another UNet.
    """
    require_same_unet(folder, unet, read_unet_config(folder))
    weights, own = read_unet_weights(folder), backbone.state_dict()
    for name in own:
        if name in weights and weights[name].shape == own[name].shape:
            own[name] = weights[name]
        elif not name.startswith(OUTER):
            raise CheckpointError(f"{folder} lacks {name} in the network's shape.")
    backbone.load_state_dict(own)


def require_same_unet(folder: Path, unet: dict[str, Any], other: dict[str, Any]) -> None:
    """Raise CheckpointError unless `other`, in `folder`, is a UNet of the same layers."""
    for key in sorted((unet.keys() | other.keys()) - NOT_SHAPE):
        if not _same(unet.get(key), other.get(key)):
            raise CheckpointError(
                f"{folder}: {key} is {other.get(key)!r}, the network's is {unet.get(key)!r}. "
                "Set model.preset to the one that these weights were trained with (reference or "
                "base for published ones), or use weights of this layout."
            )


@cache
def let_torchvision_import() -> None:
    """Declare the operators that torchvision's import wants, where its own library does not load.

    diffusers and the baselines import torchvision where it is installed. The wheel that package
    indices give to Linux wants CUDA's libraries; beside a CPU build of torch it has no operators,
    and its import stops at these, which nothing here uses.
    """
    found = find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        return
    try:
        torch.ops.load_library(Path(found.submodule_search_locations[0]) / "_C.so")
    except OSError:
        for name in ("nms", "qnms"):
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", schema)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: a tuple is a list."""
    return json.dumps(one) == json.dumps(other)
