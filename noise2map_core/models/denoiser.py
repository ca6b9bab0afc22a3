"""The denoiser of pretraining: the backbone between a stem and a head that give images back.

Its checkpoint is the folder of a diffusers UNet2DModel, which other software reads too, with
`denoiser.json` and the weights around the backbone beside it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors.torch import load, save
from torch import Tensor, nn

from noise2map_core.diffusion.schedule import schedule_alpha_bars
from noise2map_core.models.backbone import CONFIG_NAME, WEIGHTS_NAME, build_backbone
from noise2map_core.models.checkpoint import (
    require_finite,
    require_same_tensors,
    require_schedule,
    whole_directory,
)
from noise2map_core.models.spec import (
    CARD_NAME,
    MAX_SPEC,
    ChipPx,
    Name,
    Normalisation,
    PatchUNetSpec,
    ReferenceSpec,
    Sha256,
    unet_stride,
)
from noise2map_core.models.unet import PatchStem
from noise2map_core.models.unet_arguments import misfit
from noise2map_core.models.weight_files import read_weight_file
from noise2map_core.runtime.documents import parse_json, read_text
from noise2map_core.runtime.errors import CheckpointError, explained
from noise2map_core.settings.diffusion import DenoisingConfig

SPEC_NAME = "denoiser.json"
OUTER_NAME = "outer.safetensors"
PUBLISHED_BANDS = 3


class DenoiserSpec(BaseModel):
    """The contents of denoiser.json, `format_version` 1."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    format_version: Literal[1] = 1
    preset: Name
    network: Annotated[PatchUNetSpec | ReferenceSpec, Field(discriminator="kind")]
    bands: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)]
    """Band names in channel order."""
    normalisation: Normalisation
    """Of one date."""
    denoising: DenoisingConfig
    chip_px: ChipPx
    """Side of the training chips."""
    code_version: Name
    weights_sha256: Mapping[str, Sha256] = {}
    """SHA-256 of each weight file, by name; filled in when the checkpoint is saved."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for numbers in (self.normalisation.mean, self.normalisation.std):
            if [len(date) for date in numbers] != [len(self.bands)]:
                raise ValueError("normalisation needs one mean and one std per band")
        return self


class Denoiser(nn.Module):
    """Predicts noise (or velocity) from a noised image.

    The published layout takes three bands as they are; other numbers pass a convolution on either
    side.
    """

    alpha_bars: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, spec: DenoiserSpec) -> None:
        super().__init__()
        self.spec = spec
        network, bands = spec.network, len(spec.bands)
        width = network.unet["block_out_channels"][0]
        if isinstance(network, PatchUNetSpec):
            self.stem: nn.Module = PatchStem(network.patch, bands, width)
            out = nn.Conv2d(width, bands * network.patch**2, 3, padding=1)
            self.head: nn.Module = nn.Sequential(out, nn.PixelShuffle(network.patch))
        else:
            width = PUBLISHED_BANDS
            same = bands == PUBLISHED_BANDS
            self.stem = nn.Identity() if same else nn.Conv2d(bands, width, 3, padding=1)
            self.head = nn.Identity() if same else nn.Conv2d(width, bands, 3, padding=1)
        self.backbone: Any = build_backbone(network.unet, width)
        alpha_bars = schedule_alpha_bars(spec.denoising.schedule)
        self.register_buffer("alpha_bars", alpha_bars, persistent=False)
        for name in ("mean", "std"):
            (numbers,) = getattr(spec.normalisation, name)
            constant = torch.tensor(numbers, dtype=torch.float32)[:, None, None]
            self.register_buffer(name, constant, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.mean.device

    def normalise(self, image: Tensor, valid: Tensor) -> Tensor:
        """z-scores, float32, of raw numbers [B, band, H, W]; 0 where not `valid` [B, 1, H, W]."""
        # where, not a product: what lies under an invalid pixel may be NaN.
        return torch.where(valid, (image.float() - self.mean) / self.std, 0.0)

    def forward(self, noised: tuple[Tensor, Tensor]) -> Tensor:
        """What is asked for [B, band, H, W], of x_t [B, band, H, W] and timesteps int64 [B]."""
        x_t, timesteps = noised
        prediction: Tensor = self.head(self.backbone(self.stem(x_t), timesteps).sample)
        return prediction


def denoiser_stride(network: PatchUNetSpec | ReferenceSpec) -> int:
    """Chip sides must be multiples of this many pixels; nothing is resized here."""
    patch = network.patch if isinstance(network, PatchUNetSpec) else 1
    return patch * unet_stride(network.unet)


def save_denoiser(model: Denoiser, path: Path, card: str) -> DenoiserSpec:
    """Write a checkpoint directory, whole or not at all. Returns the spec with the digests.

    On object storage denoiser.json comes last; see `save_checkpoint`.
    """
    require_finite(path, model.state_dict())
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    backbone = {
        name.removeprefix("backbone."): tensor
        for name, tensor in weights.items()
        if name.startswith("backbone.")
    }
    outer = {name: tensor for name, tensor in weights.items() if not name.startswith("backbone.")}
    files = {
        WEIGHTS_NAME: save(backbone, metadata={"format": "pt"}),
        OUTER_NAME: save(outer),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    spec = model.spec.model_copy(update={"weights_sha256": digests})
    channels = model.backbone.config["in_channels"]
    unet = {"_class_name": "UNet2DModel", "in_channels": channels, "out_channels": channels}
    with whole_directory(path, last=SPEC_NAME) as partial:
        for name, content in files.items():
            (partial / name).write_bytes(content)
        config = json.dumps(unet | spec.network.unet, indent=2)
        (partial / CONFIG_NAME).write_text(config + "\n", encoding="utf-8")
        (partial / SPEC_NAME).write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (partial / CARD_NAME).write_text(card, encoding="utf-8")
    return spec


def load_denoiser(path: Path) -> Denoiser:
    """The denoiser in a checkpoint directory, on the CPU, in evaluation mode.

    Raises CheckpointError if a file is missing, changed, broken or of another network.
    """
    spec = read_denoiser_spec(path)
    weights = _fitting_weights(path, spec)
    model = Denoiser(spec)
    model.load_state_dict(weights)
    return model.eval()


def require_denoiser(path: Path) -> None:
    """Raise CheckpointError as `load_denoiser` would; no network is made."""
    _fitting_weights(path, read_denoiser_spec(path))


def _fitting_weights(path: Path, spec: DenoiserSpec) -> dict[str, Tensor]:
    whose = f"checkpoint {path}"
    require_schedule(f"{whose}: denoising", spec.denoising.schedule)
    backbone, outer = (
        load(read_weight_file(path / name, whose, spec.weights_sha256.get(name, ""), SPEC_NAME))
        for name in (WEIGHTS_NAME, OUTER_NAME)
    )
    weights = outer | {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    with torch.device("meta"):
        expected = Denoiser(spec).state_dict()
    require_same_tensors(f"{whose}: {WEIGHTS_NAME} or {OUTER_NAME}", weights, expected)
    return weights


def read_denoiser_spec(path: Path) -> DenoiserSpec:
    """The spec in a checkpoint directory. Raises CheckpointError if it cannot be read."""
    try:
        text = read_text(path / SPEC_NAME, MAX_SPEC)
        parse_json(text)  # what pydantic's parser lets pass: keys that stand twice
        return DenoiserSpec.model_validate_json(text, strict=True)
    except ValidationError as error:
        reason = misfit(error, SPEC_NAME)
    except OSError as error:
        reason = explained(error).rstrip(".")
    except ValueError as error:
        reason = str(error)
    raise CheckpointError(
        f"checkpoint {path}: {SPEC_NAME} cannot be read: {reason}. Point to a directory that "
        "pretrain-denoiser wrote, or copy it again."
    )
