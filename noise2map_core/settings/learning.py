"""Settings of training and evaluation."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from noise2map_core.runtime.redact import redacted
from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.diffusion import DiffusionConfig, SelfCorruption
from noise2map_core.settings.numbers import (
    Batch,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SidePx,
)
from noise2map_core.settings.resources import Gpus
from noise2map_core.settings.unused import changed, require_unset

Order = Literal["sharded", "exact"]


class OptimisationConfig(BaseModel):
    """How weights are made better, whatever the task."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True,
        validate_by_name=True, validate_by_alias=False,
    )  # fmt: skip

    epochs: PositiveInt = 40
    """Passes over the training chips."""

    batch: Annotated[Batch, Field(alias="batch_size")] = 16
    """Chips in one step of each task, over all workers; a multiple of `num_workers` (of every
    number from `min_workers`) times `accumulation`."""

    accumulation: PositiveInt = 1
    """Parts that each worker's share of a batch goes through the network in; the step is the same
    and takes less memory."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: forward passes in bfloat16 where that is safe (autocast); weights stay fp32."""

    learning_rate: PositiveFloat = 3e-3
    """Highest learning rate of AdamW; it warms up linearly and falls to zero along a cosine."""

    decay: Literal["cosine", "none"] = "cosine"
    """none: the learning rate does not fall after it has warmed up."""

    backbone_rate: float = Field(default=1.0, ge=0, le=1)
    """Learning rate of the backbone as a part of that of stems and heads; 0 freezes it."""

    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Learning rate of each level of the backbone as a part of that of the level behind it: what
    lies near the input of a pretrained one moves least."""

    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Part of all steps in which the learning rate rises."""

    weight_decay: NonNegativeFloat = 0.01
    """Weight decay of AdamW."""

    max_gradient_norm: PositiveFloat = 1.0
    """Gradients are clipped to this norm."""

    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """Decay a step of the moving average of the weights, which is what is saved."""

    ema_warmup: bool = False
    """Let the moving average follow faster at first: for runs of few steps for its decay."""

    flips: bool = True
    """Mirror and turn chips at random."""

    checkpoint_epochs: PositiveInt = 5
    """Epochs between validations; a run that was killed continues from the last one."""

    patience: PositiveInt | None = None
    """Validations in a row without a better one after which training stops, and the best is taken.
    None: all epochs are trained."""

    gradient_checkpointing: bool = False
    """Compute the backbone's activations twice instead of keeping them: less memory, more time."""

    compile: bool | None = None
    """Compile the network (torch.compile): it takes minutes at the start and makes steps faster;
    results differ by rounding. None: where it is trained on a GPU."""

    checkpoint_steps: PositiveInt | None = None
    """Steps between states that are kept in the middle of an epoch, without validation. None: a
    run that was killed continues from the last validated epoch."""

    order: Annotated[Order, Field(exclude_if=lambda order: order == "sharded")] = "sharded"
    """In what order chips come; any number of workers sees the same. sharded: workers own shards,
    which are dealt anew for every epoch, so that an epoch reads the store once, however many they
    are; where shards do not go round, a few chips are left out of an epoch and others shown twice.
    exact: an epoch shows every chip once, drawn from as many shards as fit into 1 GiB; each worker
    reads nearly all shards, every epoch anew if they do not fit."""

    num_workers: PositiveInt = 1
    """Workers that train together, each on its part of every batch."""

    min_workers: PositiveInt | None = None
    """With fewer than `num_workers`, but as many as this, training goes on after a node was lost,
    and grows again when one comes. Batches and learning rate stay what they are, and so does what
    is learnt. None: it waits for all."""

    worker_cpus: PositiveFloat = 1.0
    """CPUs that one worker takes; it computes with as many threads (at least one)."""

    worker_gpus: Gpus = "auto"
    """GPUs that one worker takes. auto: one, where this machine or the cluster has GPUs or may get
    some, and then, unless `num_workers` is set, as many workers as there are GPUs for whom parts of
    a batch are equal; else none."""


Loader = Literal["sharded", "ray_data"]

Share = Annotated[float, Field(ge=0, le=1)]
FewPixels = Annotated[float, Field(ge=0, le=8)]
Deviations = Annotated[float, Field(ge=0, le=10)]


class InvarianceConfig(BaseModel):
    """What is taught not to be change: how else dates of one place may differ. 0 is never."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    share: float = Field(default=0.5, gt=0, le=1)
    """Share of the dates to which each of what follows `pasted` is done, drawn anew for each; how
    strong is drawn, too, and what is given is the most."""

    unchanged: Share = 0.0
    """Share of the chips whose dates are replaced by copies of one of them and labelled unchanged;
    what else is set makes them differ. Of change alone."""

    pasted: Share = 0.0
    """Share of the chips into which, at one date, a piece of another part of the chip is pasted,
    and labelled changed, if it is of another colour than what the other date shows. Of change
    alone."""

    shift_px: FewPixels = 0.0
    """Dates that do not lie on one another: how far one is shifted down and across, pixels. Of
    change alone, as is `warp_px`."""

    warp_px: FewPixels = 0.0
    """The same, different from place to place and smooth in between, pixels."""

    mix: Share = 0.0
    """Season: parts of the other bands that are added to each, standard deviation."""

    shadow: Share = 0.0
    """Shadows that fall at one date: 1 lets no light through."""

    light: Deviations = 0.0
    """Light that changes over a chip, standard deviation of its logarithm."""

    tone: float = Field(default=0.0, ge=0, lt=1)
    """Bend of the tone curve, up or down; at 1 it would no longer rise everywhere."""

    seam: Deviations = 0.0
    """Seam of a mosaic: gain and offset of each band on one side of a line, standard deviation."""

    blur_px: FewPixels = 0.0
    """Gaussian blur, standard deviation, pixels."""

    noise: Deviations = 0.0
    """White noise, in standard deviations of the band."""

    jpeg: Deviations = 0.0
    """Rounding by JPEG in blocks of 8 x 8 pixels: steps of their mean, in standard deviations of
    the band."""

    @model_validator(mode="after")
    def _share_of_something(self) -> "InvarianceConfig":
        if changed(self) == ["share"]:
            require_unset(self, ("share",), "where nothing is done to a share of the dates")
        return self


class TrainingConfig(OptimisationConfig):
    """How the network is trained."""

    reverse_dates: bool = True
    """Reverse the order of the dates at random: change has no direction then."""

    jitter: NonNegativeFloat = 0.1
    """Random gain and offset per date and band, in standard deviations of the band: how much light
    and season may differ between dates."""

    crop: float = Field(default=0.0, ge=0, lt=1)
    """Random crops: up to this part of a chip's side is cut away, the rest stretched to the whole
    chip. It changes the resolution by as much."""

    haze: float = Field(default=0.0, ge=0, le=1)
    """Share of the dates over which haze or clouds are laid at random, each date by itself; what an
    opaque cloud hides is not learnt from."""

    invariance: InvarianceConfig = Field(default_factory=InvarianceConfig)
    """What is taught not to be change, besides."""

    labels_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the training chips that is used, drawn by the seed: what fewer labels would give."""

    use_every: PositiveInt = 1
    """Learn from every so many-th batch and leave the others out. 2 is what the accumulation of the
    paper's implementation comes to; otherwise there is no reason for more than 1."""

    balance: float = Field(default=0.0, ge=0, lt=1)
    """Share of the chips of an epoch that is set aside for chips with the rarest class, drawn again
    and again; the others are drawn from all. 0: every chip once."""

    loader: Loader = "sharded"
    """How chips come to the workers. sharded: each reads its own, in an order that the seed alone
    decides. ray_data: reading tasks on all nodes stream them; the order is promised to nobody, a
    run that was killed does not end with the weights of one that was not, and `balance` and
    `use_every` do not go with it."""

    context_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Part of the chips in a batch that are judged pixel by pixel, without context: it keeps the
    pixel path strong where few labels would let the network learn places by heart. Of the preset
    pixelwise: part of its hidden features that is not used for a chip."""

    @model_validator(mode="after")
    def _streamable(self) -> "TrainingConfig":
        if self.loader == "ray_data" and (self.balance or self.use_every > 1):
            raise ValueError("balance and use_every need the loader sharded")
        if self.loader == "ray_data" and self.order == "exact":
            raise ValueError("order exact needs the loader sharded")
        return self


class SelectionConfig(BaseModel):
    """Which of the validated epochs is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    by: Literal["f1", "cross_entropy", "last"] = "f1"
    """f1: the last, unless the validation F1 says with more than one standard error that another
    was better. cross_entropy: the one with the lowest cross-entropy on the validation part, with
    the class weights of the loss, as the authors' implementation does. last: none is chosen, all
    epochs are trained; thresholds and temperature are of validation all the same."""

    timestep: NonNegativeInt | None = None
    """Timestep at which the cross-entropy is taken; the authors' implementation takes T / 2 and
    maps at T - 1. None: those of inference."""

    @model_validator(mode="after")
    def _timestep_of_cross_entropy(self) -> "SelectionConfig":
        if self.by != "cross_entropy":
            require_unset(self, ("timestep",), f"where epochs are chosen by {self.by}")
        return self


class PretrainingConfig(OptimisationConfig):
    """How the denoiser is trained."""

    learning_rate: PositiveFloat = 1e-3
    """Highest learning rate of AdamW; it warms up linearly and falls to zero along a cosine."""

    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay a step of the moving average of the weights, which is what is saved."""

    ema_warmup: bool = True
    """Let the moving average follow faster at first: for runs of few steps for its decay."""

    loader: Annotated[Loader, Field(exclude_if=lambda loader: loader == "sharded")] = "sharded"
    """How chips of a store come to the workers. sharded: each reads its own, in an order that the
    seed alone decides. ray_data: reading tasks on all nodes stream them; the order is promised to
    nobody, and a run that was killed does not end with the weights of one that was not."""

    @model_validator(mode="after")
    def _streamable(self) -> "PretrainingConfig":
        if self.loader == "ray_data" and self.order == "exact":
            raise ValueError("order exact needs the loader sharded")
        return self


class MlflowConfig(BaseModel):
    """Where a training is logged, besides its output."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tracking_uri: Annotated[str, PlainSerializer(redacted), Field(repr=False)]
    """MLflow's tracking server or store ("https://mlflow.example.org", "sqlite:////data/runs.db").
    Users, passwords and tokens are best left to the environment (MLFLOW_TRACKING_USERNAME,
    MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN); those in the address are never written."""

    experiment: str = Field(default="noise2map", min_length=1)
    """Experiment that the run is put under; made where it is not there."""


class ImagesConfig(BaseModel):
    """Unlabelled images in plain files."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    root: LocalPath | None = None
    """Folder, searched with all that is in it, or plain tar: PNG, JPEG or TIFF, of any number of
    bands, all of one kind."""

    chip_px: SidePx = 128
    """Side of the squares cut out of them at random places, pixels."""

    bands: tuple[str, ...] | None = None
    """Names of the bands. None: red, green, blue of three, else band_1, band_2, …"""


Decision = Literal["threshold", "argmax"]


class EvaluationConfig(BaseModel):
    """How scores are computed."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True,
        validate_by_name=True, validate_by_alias=False,
    )  # fmt: skip

    block_px: SidePx = 64
    """Side of the spatial blocks that the bootstrap draws, pixels."""

    batch: Annotated[Batch, Field(alias="batch_size")] = 16
    """Chips in one forward pass."""

    any_resolution: Annotated[bool, Field(alias="any_gsd")] = False
    """Score chips of a resolution, too, that the checkpoint does not accept: how far it carries
    outside its domain."""


class LossConfig(BaseModel):
    """What training makes small: a sum of losses, each with its weight; 0 leaves one out."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    cross_entropy: NonNegativeFloat = 1.0
    """Weight of cross-entropy."""

    dice: NonNegativeFloat = 0.0
    """Weight of the soft Dice loss: overlap of each class, however rare. Class weights do not
    enter it."""

    focal: NonNegativeFloat = 0.0
    """Weight of the focal loss: cross-entropy in which easy pixels count little."""

    focal_gamma: NonNegativeFloat = 2.0
    """How little easy pixels count in the focal loss; 0 makes it cross-entropy."""

    class_weights: (
        Literal["equal", "inverse_frequency", "median_frequency"] | tuple[PositiveFloat, ...]
    ) = "equal"
    """Weight of each class's pixels in cross-entropy and focal loss: from the number of labelled
    training pixels, or one number a class."""

    @model_validator(mode="after")
    def _any_loss(self) -> "LossConfig":
        if not (self.cross_entropy or self.dice or self.focal):
            raise ValueError("no loss is left: give cross_entropy, dice or focal a weight")
        return self


class TaskTrainingConfig(BaseModel):
    """How one task is learnt."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weight: PositiveFloat = 1.0
    """Weight of the task's loss where several are learnt at once."""

    diffusion: DiffusionConfig = Field(default_factory=DiffusionConfig)
    """Corruption, schedule, timesteps."""

    loss: LossConfig = Field(default_factory=LossConfig)
    """What is made small."""


def segment_training() -> TaskTrainingConfig:
    """The paper's noise for segmentation: the image itself."""
    return TaskTrainingConfig(diffusion=DiffusionConfig(corruption=SelfCorruption()))
