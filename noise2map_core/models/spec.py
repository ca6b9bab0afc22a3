"""The contents of a checkpoint's model.json: all that inference must know about a model.

Reading it needs no torch, so that a plan or a refusal costs nothing.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from noise2map_core.diffusion.config import Corruption, Schedule
from noise2map_core.errors import CheckpointError, explained
from noise2map_core.models.shipped import checkpoint_folder, shipped_names
from noise2map_core.storage import read_bytes

FORMAT_VERSION: Literal[1] = 1
SPEC_NAME = "model.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"

Task = Literal["segment", "change"]


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


class PatchUNetSpec(_Section):
    """A diffusion UNet on patches, with a stem and a head per task at full width."""

    kind: Literal["patch_unet"] = "patch_unet"
    patch: PositiveInt
    """Side of the pixel-unshuffle patch."""
    unet: dict[str, Any]
    """Arguments of diffusers' UNet2DModel; channels in and out are its width."""
    context_channels: PositiveInt = 16
    """Features that the UNet hands to the pixel path."""
    detail_channels: PositiveInt = 32
    """Width of the pixel path."""

    @property
    def stride(self) -> int:
        """Chip sides must be multiples of this many pixels."""
        return self.patch * unet_stride(self.unet)


class ReferenceSpec(_Section):
    """The published layout: 3-channel projections around a UNet on pixels."""

    kind: Literal["reference"] = "reference"
    unet: dict[str, Any]
    """Arguments of diffusers' UNet2DModel; 3 channels in and out."""
    unet_px: PositiveInt = 256
    """Side to which chips of another size are resized on their way in."""
    resized_px: PositiveInt | None = None
    """Side of the chips that are resized. None: chips go through as they are."""

    @property
    def stride(self) -> int:
        """Chip sides must be multiples of this many pixels; of `resized_px`, be that."""
        return self.resized_px or unet_stride(self.unet)


class SegmentationModelSpec(_Section):
    """A baseline of segmentation-models-pytorch; it knows no timestep."""

    kind: Literal["segmentation_model"] = "segmentation_model"
    architecture: Literal["Unet", "DeepLabV3Plus", "Segformer"]
    encoder: str
    """Name of the encoder in segmentation-models-pytorch."""
    fusion: Literal["concatenation", "difference"] = "concatenation"
    """How the features of two dates become one map's."""
    stride: PositiveInt = 32
    """Chip sides must be multiples of this many pixels."""


NetworkSpec = Annotated[
    PatchUNetSpec | ReferenceSpec | SegmentationModelSpec, Field(discriminator="kind")
]


def unet_stride(unet: dict[str, Any]) -> int:
    """Every level of a UNet but the first halves the resolution."""
    return int(2 ** (len(unet["block_out_channels"]) - 1))


class TaskSpec(_Section):
    """One task of a model: what goes in, what comes out."""

    num_dates: PositiveInt
    """Dates of an input; segment 1, change 2 or more."""
    normalisation: Normalisation
    corruption: Corruption
    schedule: Schedule
    inference_timesteps: tuple[int, ...]
    """Timesteps of the forward passes whose logits are averaged."""
    classes: tuple[ClassSpec, ...]
    threshold: dict[str, float] = {}
    """Class name to the probability from which (inclusive) a pixel gets that class, tried in this
    order; other pixels get the class that is left or, of several, the most probable one."""
    temperature: float = Field(default=1.0, gt=0)
    """Logits are divided by it before the softmax."""

    @property
    def sought(self) -> tuple[ClassSpec, ...]:
        """Of two classes the second, of more all."""
        return self.classes[1:] if len(self.classes) == 2 else self.classes

    @property
    def decided_from(self) -> float:
        """Probability from which a pixel gets the second of two classes."""
        return self.threshold.get(self.classes[1].name, 0.5)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.inference_timesteps or not all(
            0 <= t < self.schedule.num_timesteps for t in self.inference_timesteps
        ):
            raise ValueError("inference_timesteps must lie within the schedule")
        if [entry.value for entry in self.classes] != list(range(len(self.classes))):
            raise ValueError("classes must have the values 0, 1, … in this order")
        names = {entry.name for entry in self.classes}
        if len(names) < len(self.classes) or len(names) < 2:
            raise ValueError("classes must have two or more different names")
        if not self.threshold.keys() <= names:
            raise ValueError("threshold must name classes of the task")
        return self


class CheckpointSpec(_Section):
    """The contents of model.json, `format_version` 1."""

    format_version: Literal[1] = FORMAT_VERSION
    tasks: dict[Task, TaskSpec] = Field(min_length=1)
    bands: tuple[str, ...]
    """Band names in channel order; all bands of a date lie together."""
    gsd: float
    """Ground sample distance that it was trained on, metres."""
    gsd_range: tuple[float, float]
    """Ground sample distances that it accepts, metres, both ends included."""
    value_range: tuple[float, float]
    """Raw numbers that it expects; others hint at another product level or scaling."""
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
        for name, task in self.tasks.items():
            for numbers in (task.normalisation.mean, task.normalisation.std):
                if [len(date) for date in numbers] != [len(self.bands)] * task.num_dates:
                    raise ValueError(
                        f"normalisation of {name} needs one mean and one std per date and band"
                    )
        if self.chip_px % self.network.stride:
            raise ValueError(f"chip_px must be a multiple of {self.network.stride}")
        return self

    def task(self, name: Task | None = None) -> TaskSpec:
        """One of its tasks; None: the only one. Raises CheckpointError if that is not there."""
        return self.tasks[self.task_name(name)]

    def task_name(self, name: Task | None = None) -> Task:
        """`name`, or the only task's. Raises CheckpointError if the model does not know the task,
        or None was given and it knows several."""
        if name is None and len(self.tasks) == 1:
            return next(iter(self.tasks))
        if name is None or name not in self.tasks:
            asked = f"does not do task {name!r}" if name else "does several tasks"
            raise CheckpointError(
                f"the checkpoint {asked}; it knows: {', '.join(self.tasks)}. Name one of these."
            )
        return name

    def accepts_gsd(self, gsd: float) -> bool:
        """True for a ground sample distance, metres, within `gsd_range`."""
        low, high = self.gsd_range
        return low <= gsd <= high

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON; it covers the weights through `weights_sha256`."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def read_spec(path: Path | str) -> CheckpointSpec:
    """The spec in a checkpoint directory, or of a checkpoint that ships.

    Raises CheckpointError if it is missing, not JSON, of another format version, or inconsistent.
    """
    file = checkpoint_folder(path) / SPEC_NAME
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
    file = checkpoint_folder(path) / WEIGHTS_NAME
    try:
        content = read_bytes(file)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path}: {WEIGHTS_NAME} cannot be read: {explained(error)} Or copy the "
            "whole directory again."
        ) from error
    if hashlib.sha256(content).hexdigest() != spec.weights_sha256:
        raise CheckpointError(
            f"checkpoint {path}: {WEIGHTS_NAME} is not the file that {SPEC_NAME} names: its "
            "SHA-256 differs. Copy the whole directory again."
        )
    return content


def _load_json(file: Path) -> dict[str, object]:
    try:
        document = json.loads(read_bytes(file))
    except FileNotFoundError:
        raise CheckpointError(
            f"checkpoint {file.parent} has no {file.name}. Point --checkpoint to a directory that "
            "finetune-maps wrote, or name one that ships with noise2map: "
            f"{', '.join(shipped_names()) or 'there is none'}."
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {file.parent}: {file.name} cannot be read: {explained(error)}"
        ) from error
    except ValueError as error:
        raise CheckpointError(
            f"checkpoint {file.parent}: {file.name} cannot be read: {error}. Copy it again, or "
            "train again."
        ) from error
    if not isinstance(document, dict):
        raise CheckpointError(
            f"checkpoint {file.parent}: {file.name} is not a JSON object. Copy it again."
        )
    return document
