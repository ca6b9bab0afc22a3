"""The contents of a checkpoint's model.json: all that inference must know about a model.

Reading it needs no torch, so that a plan or a refusal costs nothing.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from noise2map_core.diffusion.config import LinearSchedule, SwappedPairCorruption
from noise2map_core.errors import CheckpointError

FORMAT_VERSION: Literal[1] = 1
SPEC_NAME = "model.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Normalisation(_Section):
    """z-score: (value − mean) / std, per date and band.

    Per date, because light, haze and season shift a whole date by more than change does; with one
    mean for both dates the network would first have to find out which date is which.
    """

    kind: Literal["zscore"] = "zscore"
    mean: tuple[tuple[float, ...], ...]
    """[date][band]"""
    std: tuple[tuple[float, ...], ...]
    """[date][band]"""


class ClassSpec(_Section):
    """One class of the map."""

    value: int
    """Pixel value in the map, and index of its logit."""
    name: str
    color: str
    """CSS hex colour, "#rrggbb"."""


class NetworkSpec(_Section):
    """Shape of the network; written out, so that a preset may change without breaking models."""

    patch: PositiveInt
    """Side of the pixel-unshuffle patch."""
    block_channels: tuple[PositiveInt, ...]
    """Channels of each level; every level but the first halves the resolution."""
    layers_per_block: PositiveInt
    norm_groups: PositiveInt
    """Groups of the group normalisation; divides every number of channels."""
    context_channels: PositiveInt = 16
    """Features that the UNet hands to the pixel path."""
    detail_channels: PositiveInt = 32
    """Width of the pixel path."""

    @property
    def stride(self) -> int:
        """Chip sides must be multiples of this many pixels."""
        return int(self.patch * 2 ** (len(self.block_channels) - 1))


class CheckpointSpec(_Section):
    """The contents of model.json, `format_version` 1."""

    format_version: Literal[1] = FORMAT_VERSION
    tasks: tuple[Literal["change"], ...] = ("change",)
    num_dates: Literal[2] = 2
    bands: tuple[str, ...]
    """Band names in channel order; all bands of a date lie together."""
    gsd: float
    """Ground sample distance that it was trained on, metres."""
    gsd_range: tuple[float, float]
    """Ground sample distances that it accepts, metres, both ends included."""
    value_range: tuple[float, float]
    """Raw numbers that it expects; others hint at another product level or scaling."""
    normalisation: Normalisation
    corruption: SwappedPairCorruption = SwappedPairCorruption()
    schedule: LinearSchedule = LinearSchedule()
    inference_timesteps: tuple[int, ...]
    """Timesteps of the forward passes whose logits are averaged."""
    classes: tuple[ClassSpec, ...]
    threshold: dict[str, float]
    """Class name to the probability from which (inclusive) a pixel gets that class."""
    temperature: float = Field(default=1.0, gt=0)
    """Logits are divided by it before the softmax."""
    chip_px: PositiveInt
    """Side of the training chips, halo included."""
    stride_px: PositiveInt
    """Distance of neighbouring chips at inference."""
    preset: str
    network: NetworkSpec
    code_version: str
    """Version of noise2map that trained it."""
    weights_sha256: str = ""
    """SHA-256 of model.safetensors; filled in when the checkpoint is saved."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for numbers in (self.normalisation.mean, self.normalisation.std):
            if [len(date) for date in numbers] != [len(self.bands)] * self.num_dates:
                raise ValueError("normalisation needs one mean and one std per date and band")
        if self.chip_px % self.network.stride:
            raise ValueError(f"chip_px must be a multiple of {self.network.stride}")
        if not self.inference_timesteps or not all(
            0 <= t < self.schedule.num_timesteps for t in self.inference_timesteps
        ):
            raise ValueError("inference_timesteps must lie within the schedule")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON; it covers the weights through `weights_sha256`."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def read_spec(path: Path | str) -> CheckpointSpec:
    """The spec in a checkpoint directory.

    Raises CheckpointError if it is missing, not JSON, of another format version, or inconsistent.
    """
    file = Path(path) / SPEC_NAME
    document = _load_json(file)
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"checkpoint {path} has format version {version!r}; this noise2map reads version "
            f"{FORMAT_VERSION}. Use the noise2map release that wrote it, or train again."
        )
    try:
        return CheckpointSpec.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "model.json"
        raise CheckpointError(
            f"checkpoint {path}: {where}: {first['msg']}. Its model.json was edited or belongs to "
            "another noise2map; restore it, or train again."
        ) from error


def read_weights(path: Path | str, spec: CheckpointSpec) -> bytes:
    """The bytes of a checkpoint's weights. Raises CheckpointError unless they are `spec`'s."""
    file = Path(path) / WEIGHTS_NAME
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path}: {WEIGHTS_NAME} cannot be read: {error.strerror}. Copy the whole "
            "directory again."
        ) from error
    if hashlib.sha256(content).hexdigest() != spec.weights_sha256:
        raise CheckpointError(
            f"checkpoint {path}: {WEIGHTS_NAME} is not the file that {SPEC_NAME} names: its "
            "SHA-256 differs. Copy the whole directory again."
        )
    return content


def _load_json(file: Path) -> dict[str, object]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"checkpoint {file.parent} has no {file.name}. Point --checkpoint to a directory that "
            "finetune-maps wrote."
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {file.parent}: {file.name} cannot be read: {error}. Copy it again, or "
            "train again."
        ) from error
    if not isinstance(document, dict):
        raise CheckpointError(
            f"checkpoint {file.parent}: {file.name} is not a JSON object. Copy it again."
        )
    return document
