"""The arguments of diffusers' UNet2DModel that make sense, known without diffusers; and one more.

Whatever passes here can be built and run; what the file of a checkpoint says of its network is
judged before memory is taken for it.
"""

import reprlib
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Level = Annotated[int, Field(ge=1, le=8192)]
USE_TIMESTEP = "use_timestep"
"""The argument that is not of UNet2DModel."""
MAX_LEVELS = 10
"""Each but the first halves the resolution."""


class UNetArguments(BaseModel):
    """What may stand in `unet`; what is left out is as UNet2DModel has it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    block_out_channels: list[Level] = Field(
        default=[224, 448, 672, 896], min_length=1, max_length=MAX_LEVELS
    )
    down_block_types: list[Literal["DownBlock2D", "AttnDownBlock2D"]] = Field(
        default=["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    )
    up_block_types: list[Literal["UpBlock2D", "AttnUpBlock2D"]] = Field(
        default=["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    )
    mid_block_type: Literal["UNetMidBlock2D"] | None = "UNetMidBlock2D"
    mid_block_scale_factor: Annotated[float, Field(gt=0, le=1000)] = 1.0
    layers_per_block: Annotated[int, Field(ge=1, le=16)] = 2
    norm_num_groups: Level = 32
    attn_norm_num_groups: Level | None = None
    norm_eps: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    attention_head_dim: Level | None = 8
    add_attention: bool = True
    downsample_padding: Annotated[int, Field(ge=0, le=1)] = 1
    downsample_type: Literal["conv"] = "conv"
    upsample_type: Literal["conv"] = "conv"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    act_fn: Literal["silu", "swish", "mish", "gelu", "relu"] = "silu"
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    center_input_sample: bool = False
    time_embedding_type: Literal["positional"] = "positional"
    time_embedding_dim: Level | None = None
    flip_sin_to_cos: bool = True
    freq_shift: Annotated[float, Field(ge=0, le=1)] = 0
    class_embed_type: None = None
    num_class_embeds: None = None
    num_train_timesteps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    sample_size: int | list[int] | None = None
    use_timestep: bool = True
    """Not of UNet2DModel: False leaves out all that knows the timestep, as the published
    UNet2DModelFlex does."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        channels = self.block_out_channels
        for name in ("down_block_types", "up_block_types"):
            if len(getattr(self, name)) != len(channels):
                raise ValueError(f"{name} needs as many entries as block_out_channels")
        if any(width % self.norm_num_groups for width in channels):
            raise ValueError("block_out_channels must be multiples of norm_num_groups")
        if channels[0] % 2 or (channels[0] == 2 and self.freq_shift == 1):
            raise ValueError("block_out_channels must begin with an even number")
        if any(width % (self.attention_head_dim or width) for width in self._attending()):
            raise ValueError("block_out_channels must be multiples of attention_head_dim")
        if self.attn_norm_num_groups and channels[-1] % self.attn_norm_num_groups:
            raise ValueError("block_out_channels must end with a multiple of attn_norm_num_groups")
        return self

    def _attending(self) -> list[int]:
        """Widths of the levels with attention."""
        blocks = zip(
            self.block_out_channels, self.down_block_types, self.up_block_types[::-1], strict=True
        )
        levels = [width for width, *kinds in blocks if any(kind[:4] == "Attn" for kind in kinds)]
        middle = self.mid_block_type is not None and self.add_attention
        return [*levels, *self.block_out_channels[-1:]] if middle else levels


def checked_unet(unet: dict[str, Any]) -> dict[str, Any]:
    """The arguments as they are. Raises pydantic's ValidationError."""
    UNetArguments.model_validate(_as_json(unet))
    return unet


def _as_json(unet: dict[str, Any]) -> dict[str, Any]:
    """Tuples are lists there."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in unet.items()}


def misfit(error: ValidationError, document: str) -> str:
    """What is wrong first with a document, in words: where, why, and the value if it is short."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or document
    why, value = first["msg"].removeprefix("Value error, "), first["input"]
    shown = "" if isinstance(value, dict) else f" (got {reprlib.repr(value)})"
    return f"{where}: {why}{shown}"
