"""The contents of a checkpoint's model.json: all that inference must know about a model.

Reading it needs no torch, so that a plan or a refusal costs nothing.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from noise2map_core.models.shipped import RUN_FILE as RUN_FILE
from noise2map_core.models.shipped import checkpoint_folder, shipped_names
from noise2map_core.models.unet_arguments import checked_unet, misfit
from noise2map_core.models.weight_files import read_weight_file
from noise2map_core.runtime.documents import decoded, parse_json, read_file
from noise2map_core.runtime.errors import CheckpointError, ConfigError, explained
from noise2map_core.settings.diffusion import Corruption, Schedule
from noise2map_core.settings.network import BY_VARIATES, Fusion, NormalisedBy, RivalName, Task

FORMAT_VERSION: Literal[1] = 1
SPEC_NAME = "model.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
MEANS_PX = 0.0, 1.0, 2.0, 4.0, 8.0
"""Of `fusion: ranks`, standard deviations of Gaussian windows: in which sizes are averaged,"""
LIKENESS_PX = 2.0, 4.0
"""in which the dates are compared,"""
CONTRAST_PX, TEXTURE_PX = 2.0, 4.0
"""in which contrasts of texture, and texture itself, are averaged,"""
EDGE_PX = 1.0
"""by which edges are drawn."""
TRUNCATE = 3.0
"""Windows end after so many standard deviations."""
NUM_TRACES = len(MEANS_PX) + len(LIKENESS_PX) + 2
RANK_STEP, RANK_LEVELS = 0.25, 16
"""A rank r is told as -log10(1 - r), at so many levels from 0 on, one step apart: this draws out
the upper tail. A twentieth of a scene lies beyond 1.3, a thousandth beyond 3."""


BENDS = 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0
"""Between these numbers a network that judges pixels may bend: ranks, or logarithms of sizes."""


def note_size(bands: int) -> tuple[int, int]:
    """Shape of what is noted of a pair of so many bands; see `learning.alteration`."""
    return bands + 1, 2 * bands + 1 + NUM_TRACES * RANK_LEVELS


MAX_SPEC = 4 << 20
"""Bytes of a model.json; those of many bands and classes have some thousand."""
MAX_CHIP_PX = 8192
MAX_CLASSES = 255
"""Their values and 255, no decision, share a byte."""
MOST_OVERLAP = 16
"""Chips are at least this part of their side apart: a pixel lies in 256 of them, at most."""
LEAST_SPREAD, MOST = 1e-12, 1e12
"""Of numbers that float32 can divide by one another."""


def _printable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("must be text on one line")
    return text


Name = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
Mean = Annotated[float, Field(ge=-MOST, le=MOST)]
Spread = Annotated[float, Field(ge=LEAST_SPREAD, le=MOST)]
Metres = Annotated[float, Field(gt=0, le=1e6)]
UNet = Annotated[dict[str, Any], AfterValidator(checked_unet)]
DecoderChannels = Annotated[
    tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=5, max_length=5)
]
ChipPx = Annotated[int, Field(ge=1, le=MAX_CHIP_PX)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]*$", max_length=64)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Normalisation(_Section):
    """z-score: (value − mean) / std, per date and band.

    Per date, because light, haze and season shift a whole date by more than change does; with one
    mean for both dates the network would first have to find out which date is which.
    """

    kind: Literal["zscore"] = "zscore"
    of: Annotated[NormalisedBy, Field(exclude_if=lambda of: of == "training")] = "training"
    """Whose mean and std: those of the training part, below; or of each scene, one place at one
    time, its own robust centre and spread, and those below where too little of it is observed."""
    mean: tuple[tuple[Mean, ...], ...]
    """[date][band]"""
    std: tuple[tuple[Spread, ...], ...]
    """[date][band]"""


class ClassSpec(_Section):
    """One class of the map."""

    value: int
    """Pixel value in the map, and index of its logit."""
    name: Name
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    """CSS hex colour, "#rrggbb"."""


class _Network(_Section):
    later: ClassVar[tuple[str, ...]] = ()
    """Fields that came after the first checkpoints."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without later fields where they say what was so before: digests stay what they were."""
        document: dict[str, Any] = dump(self)
        fields = type(self).model_fields
        before = {name for name in self.later if getattr(self, name) == fields[name].default}
        return {name: value for name, value in document.items() if name not in before}


class PatchUNetSpec(_Network):
    """A diffusion UNet on patches, with a stem and a head per task at full width."""

    later = ("fusion",)
    kind: Literal["patch_unet"] = "patch_unet"
    patch: Annotated[int, Field(ge=1, le=64)]
    """Side of the pixel-unshuffle patch."""
    unet: UNet
    """Arguments of diffusers' UNet2DModel; channels in and out are its width."""
    context_channels: Annotated[int, Field(ge=1, le=4096)] = 16
    """Features that the UNet hands to the pixel path."""
    detail_channels: Annotated[int, Field(ge=1, le=4096)] = 32
    """Width of the pixel path."""
    fusion: Fusion = "early"
    """Whether the UNet sees all dates at once, or each by itself."""

    @property
    def stride(self) -> int:
        """Chip sides must be multiples of this many pixels."""
        return self.patch * unet_stride(self.unet)


class ReferenceSpec(_Section):
    """The published layout: 3-channel projections around a UNet on pixels."""

    kind: Literal["reference"] = "reference"
    unet: UNet
    """Arguments of diffusers' UNet2DModel; 3 channels in and out."""
    unet_px: ChipPx = 256
    """Side to which chips of another size are resized on their way in."""
    resized_px: ChipPx | None = None
    """Side of the chips that are resized. None: chips go through as they are."""

    @property
    def stride(self) -> int:
        """Chip sides must be multiples of this many pixels; of `resized_px`, be that."""
        return self.resized_px or unet_stride(self.unet)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.resized_px and self.unet_px % unet_stride(self.unet):
            raise ValueError(f"unet_px must be a multiple of {unet_stride(self.unet)}")
        return self


class SegmentationModelSpec(_Network):
    """A baseline of segmentation-models-pytorch; it knows no timestep."""

    later = ("decoder_channels", "shared_encoder", "encoder_weights", "tied")
    kind: Literal["segmentation_model"] = "segmentation_model"
    architecture: Literal["Unet", "DeepLabV3Plus", "Segformer", "UPerNet"]
    encoder: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]+$", max_length=100)]
    """Name of the encoder in segmentation-models-pytorch."""
    fusion: Literal["concatenation", "difference"] = "concatenation"
    """How the features of two dates become one map's."""
    stride: Annotated[int, Field(multiple_of=32, ge=32)] = 32
    """Chip sides must be multiples of this many pixels; encoders halve them five times."""
    decoder_channels: DecoderChannels | None = None
    """Widths of the Unet's decoder, from the deepest level up. None: the library's."""
    shared_encoder: bool = False
    """Whether one encoder serves all tasks."""
    encoder_weights: Literal["imagenet", "sentinel2"] | None = None
    """What the encoder starts its training from; None: random numbers."""
    tied: bool = False
    """Whether change, where classes are told too, is half of how far those of the dates differ."""


class PixelwiseSpec(_Section):
    """A perceptron for each pixel, on what tells of change there; it knows no timestep."""

    kind: Literal["pixelwise"] = "pixelwise"
    width: Annotated[int, Field(ge=1, le=4096)] = 32
    """Of its two hidden layers."""
    smoothing_px: Annotated[float, Field(ge=0, le=64)] = 1.5
    """Standard deviation of the Gaussian window in which logits are averaged; 0: none is."""
    fusion: Literal["alteration", "ranks"] = "ranks"
    stride: Literal[1] = 1
    """Chip sides must be multiples of this many pixels."""


class RivalSpec(_Section):
    """A published network for change between two dates; it knows no timestep."""

    strides: ClassVar[dict[RivalName, int]] = {
        "fc_ef": 16, "fc_siam_conc": 16, "fc_siam_diff": 16, "snunet": 16,
        "bit": 8, "changeformer": 32, "tinycd": 8,
    }  # fmt: skip
    kind: Literal["rival"] = "rival"
    architecture: RivalName

    @property
    def stride(self) -> int:
        """Chip sides must be multiples of this many pixels."""
        return self.strides[self.architecture]


NetworkSpec = Annotated[
    PatchUNetSpec | ReferenceSpec | SegmentationModelSpec | PixelwiseSpec | RivalSpec,
    Field(discriminator="kind"),
]
UntimedSpec = SegmentationModelSpec | PixelwiseSpec | RivalSpec
"""Networks that know no timestep, and have no diffusion backbone."""


def unet_stride(unet: dict[str, Any]) -> int:
    """Every level of a UNet but the first halves the resolution."""
    return int(2 ** (len(unet["block_out_channels"]) - 1))


class TaskSpec(_Section):
    """One task of a model: what goes in, what comes out."""

    num_dates: Annotated[int, Field(ge=1, le=1000)]
    """Dates of an input; segment 1, change 2 or more."""
    normalisation: Normalisation
    corruption: Corruption
    schedule: Schedule
    inference_timesteps: Annotated[tuple[int, ...], Field(max_length=1000)]
    """Timesteps of the forward passes whose logits are averaged."""
    classes: Annotated[tuple[ClassSpec, ...], Field(max_length=MAX_CLASSES)]
    threshold: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """Class name to the probability from which (inclusive) a pixel gets that class, tried in this
    order; other pixels get the class that is left or, of several, the most probable one."""
    temperature: float = Field(default=1.0, ge=1e-3, le=1e3)
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
        if len(self.classes) == 2 and self.classes[0].name in self.threshold:
            raise ValueError("threshold must be that of the second of two classes")
        if len(self.threshold) == len(self.classes):
            raise ValueError("threshold must leave a class for the other pixels")
        return self


class CheckpointSpec(_Section):
    """The contents of model.json, `format_version` 1."""

    format_version: Literal[1] = FORMAT_VERSION
    tasks: dict[Task, TaskSpec] = Field(min_length=1)
    bands: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)]
    """Band names in channel order; all bands of a date lie together."""
    gsd: Metres
    """Ground sample distance that it was trained on, metres."""
    gsd_range: tuple[Metres, Metres]
    """Ground sample distances that it accepts, metres, both ends included."""
    value_range: tuple[Mean, Mean]
    """Raw numbers that it expects; others hint at another product level or scaling."""
    chip_px: ChipPx
    """Side of the training chips, halo included."""
    stride_px: PositiveInt
    """Distance of neighbouring chips at inference, at most the chips' side."""
    preset: Name
    network: NetworkSpec
    code_version: Name
    """Version of noise2map that trained it."""
    weights_sha256: Sha256 = ""
    """SHA-256 of model.safetensors; filled in when the checkpoint is saved."""

    @field_validator("gsd_range", "value_range")
    @classmethod
    def _rising(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if limits[0] > limits[1]:
            raise ValueError("the first number must not be above the second")
        return limits

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.bands)) < len(self.bands):
            raise ValueError("bands must have different names")
        for name, task in self.tasks.items():
            self._require_dates(name, task)
            if self._by_alteration and task.normalisation.of != "scene":
                raise ValueError(f"network.fusion {self.fusion} needs normalisation.of scene")
            if isinstance(self.network, PixelwiseSpec) and name != "change":
                raise ValueError("network.kind pixelwise judges change alone, and no single date")
            if isinstance(self.network, RivalSpec) and task.num_dates != 2:
                raise ValueError(
                    f"{self.network.architecture} compares two dates, and {name} shows it "
                    f"{task.num_dates}. Use another model.preset"
                )
        if self.chip_px % self.network.stride:
            raise ValueError(f"chip_px must be a multiple of {self.network.stride}")
        if not self.chip_px <= self.stride_px * MOST_OVERLAP <= self.chip_px * MOST_OVERLAP:
            least = -(-self.chip_px // MOST_OVERLAP)
            raise ValueError(f"stride_px must lie within {least} … {self.chip_px}")
        return self

    def _require_dates(self, name: Task, task: TaskSpec) -> None:
        """What a task says of each date and band must be of as many, and of this imagery."""
        if (task.num_dates > 1) != (name == "change"):
            raise ValueError(f"num_dates of {name} must be {'1' if name == 'segment' else '2 up'}")
        for numbers in (task.normalisation.mean, task.normalisation.std):
            if [len(date) for date in numbers] != [len(self.bands)] * task.num_dates:
                raise ValueError(
                    f"normalisation of {name} needs one mean and one std per date and band"
                )

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

    def sees_alteration(self, task: Task) -> bool:
        """Whether a task's network sees MAD variates of a pair rather than its bands."""
        return self._by_alteration and self.tasks[task].num_dates > 1

    @property
    def _by_alteration(self) -> bool:
        return self.fusion in BY_VARIATES

    @property
    def fusion(self) -> Fusion | None:
        """How dates meet in the network, of those that can be told."""
        if isinstance(self.network, PatchUNetSpec | PixelwiseSpec):
            return self.network.fusion
        return None

    def accepts_gsd(self, gsd: float) -> bool:
        """True for a ground sample distance, metres, within `gsd_range`."""
        low, high = self.gsd_range
        return low <= gsd <= high

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON; it covers the weights through `weights_sha256`."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def read_spec(path: Path | str, besides: str = "") -> CheckpointSpec:
    """The spec in a checkpoint directory, or of a checkpoint that ships; `besides` says what else
    may be named, if there is none.

    Raises CheckpointError if it is missing, no JSON file of a sensible size, of another format
    version, or if a value is not of its type, out of its range or at odds with another.
    """
    file = checkpoint_folder(path) / SPEC_NAME
    content = _read(file, besides)
    version = _load_json(file, content).get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"checkpoint {path} has format version {version!r:.80}; this noise2map reads version "
            f"{FORMAT_VERSION}. Use the noise2map release that wrote it, or train again."
        )
    try:
        # From JSON, so that strict takes a list for a tuple, but no text for a number.
        return CheckpointSpec.model_validate_json(decoded(content), strict=True)
    except ValidationError as error:
        raise CheckpointError(
            f"checkpoint {path}: {misfit(error, SPEC_NAME)}. Its {SPEC_NAME} was edited or "
            "belongs to another noise2map; restore it, or train again."
        ) from error


@contextmanager
def refused_as_settings(whose: str) -> Iterator[None]:
    """A spec that is made of settings and data, and cannot be: ConfigError says why."""
    try:
        yield
    except ValidationError as error:
        raise ConfigError(f"{whose}: {misfit(error, 'the model')}.") from error


def read_weights(path: Path | str, spec: CheckpointSpec) -> bytes:
    """The bytes of a checkpoint's weights. Raises CheckpointError unless they are `spec`'s, of
    numbers, and all of these finite."""
    file = checkpoint_folder(path) / WEIGHTS_NAME
    return read_weight_file(file, f"checkpoint {path}", spec.weights_sha256, SPEC_NAME)


def _read(file: Path, besides: str) -> bytes:
    try:
        return read_file(file, MAX_SPEC)
    except FileNotFoundError:
        raise CheckpointError(
            f"checkpoint {file.parent} has no {file.name}. Point --checkpoint to a directory that "
            "finetune-maps wrote, or name one that ships with noise2map: "
            f"{', '.join(shipped_names()) or 'there is none'}.{besides and f' {besides}'}"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {file.parent}: {file.name} cannot be read: {explained(error)} "
            "Or copy it again, or train again."
        ) from error


def _load_json(file: Path, content: bytes) -> dict[str, object]:
    try:
        document = parse_json(decoded(content))
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
