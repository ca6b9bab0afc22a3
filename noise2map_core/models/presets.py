"""Presets: named networks."""

from typing import Any, Literal

from noise2map_core.models.spec import (
    NetworkSpec,
    PatchUNetSpec,
    PixelwiseSpec,
    ReferenceSpec,
    RivalSpec,
    SegmentationModelSpec,
    UntimedSpec,
)
from noise2map_core.models.unet_arguments import USE_TIMESTEP
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.network import BY_VARIATES, Fusion, Preset

REFERENCE_PX = 256
"""Side of the chips that the published UNets are made for."""

ENCODERS = {
    "Unet": "resnet34", "DeepLabV3Plus": "resnet34", "Segformer": "mit_b0", "UPerNet": "resnet34",
}  # fmt: skip

LITE0, CSMASK = "tu-tf_efficientnet_lite0", "tu-tf_efficientnet_b4"
"""EfficientNets of timm, padded and normalised as TensorFlow does, as their weights need."""
SLIM_DECODER = (128, 64, 48, 32, 16)
"""Half the library's: with both tasks, a checkpoint of lite0 stays under 20 MB."""


def ddpm_unet(
    block_channels: tuple[int, ...], attention_level: int, layers_per_block: int, norm_groups: int
) -> dict[str, Any]:
    """UNet2DModel in the layout of the published weights (DDPM's, Ho et al. 2020)."""
    depth = len(block_channels)
    down = ["AttnDownBlock2D" if i == attention_level else "DownBlock2D" for i in range(depth)]
    return {
        "block_out_channels": list(block_channels),
        "layers_per_block": layers_per_block,
        "down_block_types": down,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(down)],
        "norm_num_groups": norm_groups,
        "norm_eps": 1e-6,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "attention_head_dim": None,
        "sample_size": REFERENCE_PX,
    }


PUBLISHED_UNET = ddpm_unet((128, 128, 256, 256, 512, 512), 4, 2, 32)


def plain_unet(block_channels: tuple[int, ...]) -> dict[str, Any]:
    """A small UNet2DModel without attention."""
    depth = len(block_channels)
    return {
        "block_out_channels": list(block_channels),
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D"] * depth,
        "up_block_types": ["UpBlock2D"] * depth,
        "norm_num_groups": 8,
        "add_attention": False,
    }


def network_of(
    preset: Preset,
    chip_px: int,
    fusion: Fusion | None = None,
    tied: bool | None = None,
    tell_timestep: bool = True,
) -> NetworkSpec:
    """The network of a preset, for chips of `chip_px` pixels.

    `fusion`, `tied` None: the preset's. Raises ConfigError if the preset has no choice.
    """
    network = _network_of(preset, chip_px)
    if not tell_timestep:
        network = _untold(network, preset)
    if tied is not None:
        network = _with_ties(network, preset, tied)
    if fusion is None:
        return network
    if isinstance(network, PixelwiseSpec):
        return _of_variates(network, fusion)
    if not isinstance(network, PatchUNetSpec):
        raise ConfigError(
            f"preset {preset} has no choice of fusion. Leave model.fusion out, or set model.preset "
            "to tiny, small or base."
        )
    return network.model_copy(update={"fusion": fusion})


def _untold(network: NetworkSpec, preset: Preset) -> NetworkSpec:
    if isinstance(network, UntimedSpec):
        raise ConfigError(
            f"preset {preset} knows no timestep, and so none can be hidden from it. Leave "
            "model.tell_timestep out, or set model.preset to reference, base, small or tiny."
        )
    return network.model_copy(update={"unet": network.unet | {USE_TIMESTEP: False}})


def _of_variates(network: PixelwiseSpec, fusion: Fusion) -> PixelwiseSpec:
    if fusion not in BY_VARIATES:
        raise ConfigError(
            f"preset pixelwise sees no bands, and model.fusion is {fusion}. Set it to "
            f"{' or '.join(BY_VARIATES)}."
        )
    return network.model_copy(update={"fusion": fusion})


def _with_ties(network: NetworkSpec, preset: Preset, tied: bool) -> NetworkSpec:
    if not isinstance(network, SegmentationModelSpec):
        raise ConfigError(
            f"preset {preset} has no choice of model.tied. Leave it out, or set model.preset to a "
            "baseline."
        )
    return network.model_copy(update={"tied": tied})


def _network_of(preset: Preset, chip_px: int) -> NetworkSpec:
    match preset:
        case "tiny":
            return PatchUNetSpec(patch=2, unet=plain_unet((32, 48, 64)))
        case "small":
            return PatchUNetSpec(patch=2, unet=plain_unet((48, 72, 112, 160)))
        case "base":
            return PatchUNetSpec(
                patch=2, unet=PUBLISHED_UNET, context_channels=32, detail_channels=64
            )
        case "reference":
            return ReferenceSpec(
                unet=PUBLISHED_UNET, resized_px=chip_px if chip_px < REFERENCE_PX else None
            )
        case "unet" | "unet_difference":
            return _baseline("Unet", preset)
        case "deeplabv3plus" | "deeplabv3plus_difference":
            return _baseline("DeepLabV3Plus", preset)
        case "segformer" | "segformer_difference":
            return _baseline("Segformer", preset)
        case "upernet" | "upernet_difference":
            return _baseline("UPerNet", preset)
        case "fc_ef" | "fc_siam_conc" | "fc_siam_diff" | "snunet":
            return RivalSpec(architecture=preset)
        case "bit" | "changeformer" | "tinycd":
            return RivalSpec(architecture=preset)
        case "lite0" | "lite0_difference":
            return SegmentationModelSpec(
                architecture="Unet",
                encoder=LITE0,
                fusion=_siamese_fusion(preset),
                decoder_channels=SLIM_DECODER,
                shared_encoder=True,
                encoder_weights="imagenet",
            )
        case "csmask" | "csmask_difference":
            return SegmentationModelSpec(
                architecture="Unet",
                encoder=CSMASK,
                fusion=_siamese_fusion(preset),
                decoder_channels=SLIM_DECODER,
                shared_encoder=True,
                encoder_weights="sentinel2",
            )
        case "pixelwise":
            return PixelwiseSpec()


def _baseline(
    architecture: Literal["Unet", "DeepLabV3Plus", "Segformer", "UPerNet"], preset: str
) -> SegmentationModelSpec:
    return SegmentationModelSpec(
        architecture=architecture,
        encoder=ENCODERS[architecture],
        fusion=_siamese_fusion(preset),
    )


def _siamese_fusion(preset: str) -> Literal["concatenation", "difference"]:
    return "difference" if preset.endswith("_difference") else "concatenation"
