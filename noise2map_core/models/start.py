"""Weights that a model starts from: a published UNet, a denoiser, or another checkpoint's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from noise2map_core.models.backbone import (
    give_backbone,
    load_backbone,
    read_unet_config,
    require_backbone,
    require_same_unet,
    unet_sha256,
)
from noise2map_core.models.checkpoint import load_checkpoint, require_loadable
from noise2map_core.models.denoiser import (
    PUBLISHED_BANDS,
    Denoiser,
    load_denoiser,
    read_denoiser_spec,
    require_denoiser,
)
from noise2map_core.models.denoiser import SPEC_NAME as DENOISER
from noise2map_core.models.difference import DifferenceUNet
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.models.spec import SPEC_NAME as CHECKPOINT
from noise2map_core.models.spec import (
    NetworkSpec,
    PatchUNetSpec,
    ReferenceSpec,
    SegmentationModelSpec,
    UntimedSpec,
    read_spec,
)
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import CheckpointError, ConfigError

Kind = Literal["denoiser", "checkpoint", "published"]


def require_start(network: NetworkSpec, place: Path) -> None:
    """Raise unless a network can start from the weights at `place`, which are read for that.

    CheckpointError if they are another network's or broken, ConfigError if they are of another kind
    than the network can start from.
    """
    kind, folder = _found(place)
    if isinstance(network, UntimedSpec):
        _require_same_baseline(network, kind, folder)
    elif kind == "denoiser":
        _require_same_network(folder, network, read_denoiser_spec(folder).network)
        require_denoiser(folder)
    elif kind == "checkpoint":
        spec = read_spec(folder)
        _require_same_network(folder, network, spec.network)
        require_loadable(folder, spec)
    else:
        require_backbone(network.unet, _channels(network), folder)


def start_digest(place: Path) -> str:
    """SHA-256 (hex) of what the weights at `place` are, wherever it lies.

    Raises CheckpointError if there are none.
    """
    kind, folder = _found(place)
    if kind == "denoiser":
        return digest_of(read_denoiser_spec(folder).model_dump(mode="json"))
    if kind == "checkpoint":
        return read_spec(folder).digest
    return digest_of([read_unet_config(folder), unet_sha256(folder)])


def _found(place: Path) -> tuple[Kind, Path]:
    """What lies at a location, or ships under that name, and its folder."""
    folder = checkpoint_folder(place)
    if (folder / DENOISER).exists():
        return "denoiser", folder
    return ("checkpoint" if (folder / CHECKPOINT).exists() else "published"), folder


def _channels(network: PatchUNetSpec | ReferenceSpec) -> int:
    """Of the backbone, in and out."""
    width: int = network.unet["block_out_channels"][0]
    return width if isinstance(network, PatchUNetSpec) else PUBLISHED_BANDS


def _require_same_baseline(network: UntimedSpec, kind: Kind, folder: Path) -> None:
    """What is learnt of both must have the same weights."""
    if kind != "checkpoint":
        raise ConfigError(
            f"a network of kind {network.kind} has no diffusion backbone, and {folder} is no "
            "checkpoint of finetune-maps. Leave model.backbone out, or set another "
            "model.preset."
        )
    spec = read_spec(folder)
    start = {}
    if isinstance(network, SegmentationModelSpec):
        start = {"encoder_weights": network.encoder_weights, "tied": network.tied}
    if spec.network.model_copy(update=start) != network:
        raise CheckpointError(
            f"{folder} holds another network than model.preset says. Set the preset that it was "
            "trained with."
        )
    require_loadable(folder, spec)


def _require_same_network(folder: Path, network: Any, other: Any) -> None:
    """Backbones of both must have the same weights."""
    if network.kind != other.kind or getattr(network, "patch", 1) != getattr(other, "patch", 1):
        raise CheckpointError(
            f"{folder} holds a network of kind {other.kind}, the model's is {network.kind}, or "
            "their patches differ. Set model.preset to the preset that it was trained with."
        )
    require_same_unet(folder, network.unet, other.unet)


def start_from(model: Noise2Map, place: Path) -> None:
    """Give a model the weights at `place`: those of the backbone, and those around it that fit.

    Stems fit where the bands are the same, heads where the classes are, too. Raises as
    `require_start` does, and CheckpointError if weights cannot be read.
    """
    require_start(model.spec.network, place)
    kind, folder = _found(place)
    network: Any = model.network
    if kind == "denoiser":
        _start_from_denoiser(model, load_denoiser(folder))
    elif kind == "checkpoint":
        _start_from_checkpoint(model, load_checkpoint(folder))
    else:  # what is published are diffusion UNets alone
        load_backbone(network.backbone, network_unet(model.spec.network), folder)


def start_denoiser(model: Denoiser, place: Path) -> None:
    """Give a denoiser the weights at `place`; all of them, if they are one's of the same bands.

    Raises as `start_from` does.
    """
    require_start(model.spec.network, place)
    kind, folder = _found(place)
    if kind == "denoiser":
        other = load_denoiser(folder)
        if other.spec.bands == model.spec.bands:
            model.load_state_dict(other.state_dict())
        else:
            give_backbone(model.backbone, other.backbone.state_dict())
    elif kind == "checkpoint":
        learnt: Any = load_checkpoint(folder).network
        give_backbone(model.backbone, learnt.backbone.state_dict())
    else:
        load_backbone(model.backbone, network_unet(model.spec.network), folder)


def network_unet(network: NetworkSpec) -> dict[str, Any]:
    """The backbone's arguments, of a network that has one."""
    assert not isinstance(network, UntimedSpec)
    return network.unet


def _start_from_denoiser(model: Noise2Map, denoiser: Denoiser) -> None:
    own: Any = model.network
    give_backbone(own.backbone, denoiser.backbone.state_dict())
    same_bands = denoiser.spec.bands == model.spec.bands
    if same_bands and isinstance(model.spec.network, PatchUNetSpec):
        _give_stem(model, denoiser.stem)


def _give_stem(model: Noise2Map, learnt: Any) -> None:
    """A stem that sees one date to a model of the same bands and patches."""
    own: Any = model.network
    if isinstance(own, DifferenceUNet):
        own.stem.load_state_dict(learnt.state_dict())
        return
    for task, stem in own.stems.items():
        dates = model.spec.tasks[task].num_dates
        stem.conv.weight.data.copy_(stem_of_dates(learnt.conv.weight.data, dates))
        stem.conv.bias.data.copy_(learnt.conv.bias.data)


def stem_of_dates(weight: Tensor, num_dates: int) -> Tensor:
    """The weights of one date's stem [width, C, 3, 3] for several: it sees their mean, at first."""
    return torch.cat([weight / num_dates] * num_dates, dim=1)


def _start_from_checkpoint(model: Noise2Map, other: Noise2Map) -> None:
    same_bands = other.spec.bands == model.spec.bands
    fitting = ["network.backbone.", *(_outer_layers(model, other) if same_bands else ())]
    own, weights = model.state_dict(), other.state_dict()
    for name in own:
        if name.startswith(tuple(fitting)) and own[name].shape == weights[name].shape:
            own[name] = weights[name]
    model.load_state_dict(own)
    if same_bands and _fusion(model) != _fusion(other):
        learnt = _stem_of_one_date(other.network)
        if learnt is not None:
            _give_stem(model, learnt)


def _outer_layers(model: Noise2Map, other: Noise2Map) -> Iterator[str]:
    """What weights around the backbone begin with that two models of the same bands share."""
    same_fusion = _fusion(model) == _fusion(other)
    if same_fusion and isinstance(model.network, DifferenceUNet):
        yield "network.stem."
    yield from ("network.encoder.", "network.body.")
    for task in model.spec.tasks.keys() & other.spec.tasks.keys():
        if same_fusion:
            yield f"network.stems.{task}."
            for part in ("encoder", "fusions", "decoder"):
                yield f"network.models.{task}.{part}."
        same_classes = model.spec.tasks[task].classes == other.spec.tasks[task].classes
        # The head of one date is the same, however dates are brought together.
        if same_classes and (same_fusion or task == "segment"):
            yield from (
                f"network.heads.{task}.", f"network.models.{task}.head.", "network.head.",
            )  # fmt: skip


def _fusion(model: Noise2Map) -> str:
    network = model.spec.network
    return network.fusion if isinstance(network, PatchUNetSpec) else "early"


def _stem_of_one_date(network: Any) -> nn.Module | None:
    if isinstance(network, DifferenceUNet):
        return network.stem
    return dict(network.stems).get("segment")
