"""Settings of the network."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from noise2map_core.runtime.storage import Location
from noise2map_core.settings.places import IsPath

Preset = Literal[
    "reference", "base", "small", "tiny",
    "unet", "deeplabv3plus", "segformer",
    "unet_difference", "deeplabv3plus_difference", "segformer_difference",
    "upernet", "upernet_difference",
    "fc_ef", "fc_siam_conc", "fc_siam_diff", "snunet", "bit", "changeformer", "tinycd",
    "lite0", "lite0_difference", "csmask", "csmask_difference",
    "pixelwise",
]  # fmt: skip

RivalName = Literal[
    "fc_ef", "fc_siam_conc", "fc_siam_diff", "snunet", "bit", "changeformer", "tinycd"
]
"""Published networks for change between two dates, each a preset."""

WITHOUT_NOISE: frozenset[str] = frozenset(get_args(RivalName)) | {
    "unet", "deeplabv3plus", "segformer", "upernet",
    "unet_difference", "deeplabv3plus_difference", "segformer_difference", "upernet_difference",
}  # fmt: skip
"""Presets whose input is clean unless a corruption is set."""

Task = Literal["segment", "change"]


def _listed(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


Tasks = Annotated[tuple[Task, ...], BeforeValidator(_listed), Field(min_length=1)]
"""One task, or several in a list."""

Checkpoint = Annotated[Location, IsPath(or_name=True)]
"""A folder of weights, or the name of what ships or of a detector."""

NormalisedBy = Literal["training", "scene"]
Scaling = Literal["training", "scene", "minus_one_one"]
"""`NormalisedBy`, and a fixed one: numbers of 0 to 255 become those of -1 to 1."""


class NormalisationConfig(BaseModel):
    """How numbers are brought to one scale."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    of: Scaling = "training"
    """Whose mean and spread, per date and band. training: those of the training part, for all
    places to come: levels mean something, and must be alike elsewhere. scene: of each place at each
    time its own robust centre and spread: light, haze, season, sensor and scaling do not matter.
    minus_one_one: nobody's, but x / 127.5 - 1 of images of 8 bits, as the published weights expect
    it."""


Fusion = Literal["early", "difference", "alteration", "ranks"]
BY_VARIATES: tuple[Fusion, ...] = ("alteration", "ranks")
"""Those that see MAD variates of the pair of scenes."""


class ModelConfig(BaseModel):
    """Which network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    preset: Preset = "tiny"
    """reference: the published layout, 114 million parameters on every pixel. base: the same UNet
    on patches of 2 x 2 pixels, at full width. small: under 5 GFLOP a chip of 128 x 128 pixels.
    tiny: for CPUs, under 2. The others are baselines without noise, segmentation-models-pytorch's,
    from scratch; for change their encoder sees each date, and the features are put side by side or,
    with _difference, subtracted. fc_ef, fc_siam_conc, fc_siam_diff, snunet, bit, changeformer,
    tinycd: published networks for change between two dates, of their papers' size, from scratch.
    What is named so far but the first four sees clean input, unless diffusion.corruption is set.
    lite0: such a baseline, a U-Net of which the encoder, EfficientNet-Lite0, is one for all tasks
    and was trained on ImageNet. csmask: likewise, EfficientNet-B4, trained on clouds in Sentinel-2
    and Landsat. pixelwise: for change alone, a perceptron on what `fusion: ranks`, or alteration,
    tells of each pixel; it learns no shapes, so a few labelled places suffice."""

    fusion: Fusion | None = None
    """Of tiny, small and base, and the last two of pixelwise, for change. early: the UNet sees all
    dates at once. difference: it sees each date by itself, through one stem for all tasks, and
    change is the size of what differs between its features of the dates, between their values, and,
    where segment is learnt too, between their classes; so places and the order of the dates have no
    effect, and a pass takes about twice as long. alteration: it sees no band, but the sizes of the
    MAD variates of the pair, in units of what has not changed there, and how long they are
    together: light, haze, sensor, season of the whole scene and the order of the dates have no
    effect. ranks: it sees how far these sizes, means of them over neighbours, how unlike the dates
    are around a pixel, and how their texture differs, stand out among those of the same scenes; so
    it finds what is unusual there, and is not told how much has changed at all. None: early, of
    pixelwise ranks."""

    tied: Annotated[bool | None, Field(exclude_if=lambda tied: tied is None)] = None
    """Of the baselines, where change and segment are learnt together: the probability of change is
    half what the change head says and half how far the classes of the two dates lie apart. None:
    the head alone."""

    tell_timestep: Annotated[bool, Field(exclude_if=lambda told: told)] = True
    """Of reference, base, small and tiny: whether the network is told the timestep that its input
    was mixed at. false: the input is mixed as before, and the network has no time embedding, as in
    the paper's runs without timestep control; weights of one that was told may be its start."""

    backbone: Checkpoint | None = None
    """Folder whose weights the backbone starts from: what pretrain-denoiser or finetune-maps wrote,
    of the same preset, a checkpoint that ships, by its name, or a published diffusers UNet2DModel
    (config.json, diffusion_pytorch_model.safetensors; presets reference and base). Where bands and
    classes are the same, so do the layers around it. None: from scratch."""

    @property
    def by_variates(self) -> Fusion | None:
        """The fusion, if by it the network sees MAD variates of the pair of scenes."""
        if self.fusion is None and self.preset == "pixelwise":
            return "ranks"
        return self.fusion if self.fusion in BY_VARIATES else None
