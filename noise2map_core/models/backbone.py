"""The backbone: diffusers' UNet2DModel, from scratch or with published weights."""

import hashlib
import json
import re
from functools import cache
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import load
from torch import Tensor, nn

from noise2map_core.models.unet_arguments import USE_TIMESTEP, checked_unet, misfit
from noise2map_core.models.weight_files import read_weight_file
from noise2map_core.runtime.documents import parse_json, read_text
from noise2map_core.runtime.errors import CheckpointError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"
MAX_CONFIG = 4 << 20
"""Bytes of a config.json, which has some thousand."""

CLASS_NAMES = ("UNet2DModel", "UNet2DModelFlex")
"""The second is the authors' own: the first, of which the timestep can be left out."""

TIMED = re.compile(r"(^|\.)(time_embedding|time_emb_proj)\.")
"""Weights that know the timestep."""

OLD_ATTENTION = {
    "query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0",
}  # fmt: skip
"""Layers of attention, by the names that diffusers wrote before version 0.15."""
OLD_NAME = re.compile(rf"(\battentions\.\d+\.)({'|'.join(OLD_ATTENTION)})\.")

CHANNELS = {"in_channels", "out_channels"}
NOT_SHAPE = CHANNELS | {"sample_size"}
"""Arguments in which a backbone may differ from the published one."""

OUTER = ("conv_in.", "conv_out.")
"""Layers that belong to the published channels, three in and three out."""


def build_backbone(unet: dict[str, Any], channels: int) -> Any:
    """A UNet2DModel of these arguments, with random weights; without all that knows the timestep
    where they say so."""
    arguments = {name: value for name, value in unet.items() if name != USE_TIMESTEP}
    built = _unet_class()(in_channels=channels, out_channels=channels, **arguments)
    return built if unet.get(USE_TIMESTEP, True) else _untimed(built)


class NoEmbedding(nn.Module):
    """In place of the time embedding: blocks are told nothing."""

    def forward(self, features: Tensor) -> None:
        """Nothing of any features."""


def _untimed(unet: Any) -> Any:
    unet.time_embedding = NoEmbedding()
    for part in unet.modules():
        if getattr(part, "time_emb_proj", None) is not None:
            part.time_emb_proj = None
    return unet


def give_backbone(backbone: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load all weights of another backbone; one that is told no timestep leaves out what knows
    it."""
    own = backbone.state_dict()
    backbone.load_state_dict({k: v for k, v in weights.items() if k in own or not TIMED.search(k)})


def keep_no_activations(model: nn.Module) -> None:
    """Let a model's backbone compute its activations again on the way back (Chen et al. 2016)."""
    unet = _unet_class()
    for part in model.modules():
        if isinstance(part, unet):
            part.enable_gradient_checkpointing()


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
    """The arguments of the UNet2DModel in a diffusers folder, or of the authors' own kind of it,
    defaults left out.

    Raises CheckpointError if there is none, or if it cannot be built.
    """
    file = folder / CONFIG_NAME
    try:
        document = parse_json(read_text(file, MAX_CONFIG))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder} has no readable {CONFIG_NAME}: {error}. Point to the folder of a diffusers "
            "UNet2DModel, such as a download of ali97/noise2map/aid-10k."
        ) from error
    if not isinstance(document, dict) or document.get("_class_name") not in CLASS_NAMES:
        raise CheckpointError(
            f"{file} does not describe a UNet2DModel of diffusers. Point to the folder of one."
        )
    defaults = _unet_defaults()
    known = {key: value for key, value in document.items() if key in defaults}
    unet = {key: value for key, value in known.items() if not _same(value, defaults[key])}
    try:
        checked_unet({key: value for key, value in unet.items() if key not in CHANNELS})
    except ValidationError as error:
        raise CheckpointError(
            f"{file}: {misfit(error, 'the UNet')}. Download the folder again, or use another "
            "UNet2DModel."
        ) from error
    return unet


def _unet_defaults() -> dict[str, Any]:
    arguments = signature(_unet_class().__init__).parameters.items()
    defaults = {name: one.default for name, one in arguments if one.default is not one.empty}
    return defaults | {USE_TIMESTEP: True}


def read_unet_weights(folder: Path) -> dict[str, Tensor]:
    """The weights in a diffusers folder, by the names that diffusers has today. Raises
    CheckpointError if they cannot be read, or are not finite."""
    return renamed(load(_weights(folder)))


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights with layers of attention by their names of today."""
    return {_todays(name): weight for name, weight in weights.items()}


def _todays(name: str) -> str:
    return OLD_NAME.sub(lambda old: f"{old[1]}{OLD_ATTENTION[old[2]]}.", name)


def unet_sha256(folder: Path) -> str:
    """SHA-256 of the weights in a diffusers folder. Raises CheckpointError if there are none."""
    return hashlib.sha256(_weights(folder)).hexdigest()


def _weights(folder: Path) -> bytes:
    return read_weight_file(folder / WEIGHTS_NAME, str(folder), None)


def load_backbone(backbone: nn.Module, unet: dict[str, Any], folder: Path) -> None:
    """Start a backbone of the arguments `unet` from published weights.

    The first and the last convolution keep their own weights where their channels differ. Raises
    CheckpointError if the folder holds another UNet.
    """
    backbone.load_state_dict(_fitting(backbone.state_dict(), unet, folder))


def require_backbone(unet: dict[str, Any], channels: int, folder: Path) -> None:
    """Raise CheckpointError as `load_backbone` would; no network is made."""
    with torch.device("meta"):
        backbone = build_backbone(unet, channels)
    _fitting(backbone.state_dict(), unet, folder)


def _fitting(own: dict[str, Tensor], unet: dict[str, Any], folder: Path) -> dict[str, Tensor]:
    """A backbone's weights with those in `folder` in their place."""
    require_same_unet(folder, unet, read_unet_config(folder))
    weights = read_unet_weights(folder)
    for name in own:
        if name in weights and not weights[name].is_floating_point():
            raise CheckpointError(f"{folder}: {name} is of {weights[name].dtype}, no weight.")
        if name in weights and weights[name].shape == own[name].shape:
            own[name] = weights[name]
        elif not name.startswith(OUTER):
            raise CheckpointError(
                f"{folder} lacks {name} in the network's shape. Download the folder again, or set "
                "another model.preset."
            )
    return own


def require_same_unet(folder: Path, unet: dict[str, Any], other: dict[str, Any]) -> None:
    """Raise CheckpointError unless `other`, in `folder`, is a UNet of the same layers."""
    # What is told no timestep may start from what was: it leaves a part of it out.
    spared = NOT_SHAPE if unet.get(USE_TIMESTEP, True) else NOT_SHAPE | {USE_TIMESTEP}
    for key in sorted((unet.keys() | other.keys()) - spared):
        if not _same(unet.get(key), other.get(key)):
            raise CheckpointError(
                f"{folder}: {key} is {other.get(key)!r}, the network's is {unet.get(key)!r}. "
                "Set model.preset to the one that these weights were trained with (reference or "
                "base for published ones), or use weights of this layout."
            )


def _unet_class() -> Any:
    """UNet2DModel."""
    let_torchvision_import()
    # Four seconds, which a rerun without work and a refused setting spare.
    from diffusers import UNet2DModel

    return UNet2DModel


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
