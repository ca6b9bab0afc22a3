"""Settings of inference that may differ from the checkpoint's, and of what a model card says."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from noise2map_core.settings.numbers import Batch, PositiveInt, SidePx
from noise2map_core.settings.unused import require_unset

Compare = Literal["auto", "images", "maps"]
Engine = Literal["auto", "torch", "openvino"]


class CardConfig(BaseModel):
    """What the model card says that the data do not tell."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    intended_use: str | None = None
    """What it is for, and what it is not for. None: maps of land like that it learnt from."""

    credit: str | None = None
    """Who is to be named for the data, besides those whom the catalogue and the labels name."""

    limits: str | None = None
    """What else goes wrong, or is not known; it follows what holds for every model."""


class InferenceConfig(BaseModel):
    """How the network is run. What the model needs (bands, normalisation, noise) is in the
    checkpoint and cannot be set here."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    compare: Compare = "auto"
    """How change is found. images: by the checkpoint's task change, which sees both dates. maps: by
    its task segment, which maps each date by itself; where these maps differ is change, from one
    class to another. auto: images, or maps if task is change and the checkpoint only segments."""

    stride_px: SidePx | None = None
    """Distance of chips on the lattice, at most the chip size. None: the checkpoint's."""

    timesteps: tuple[int, ...] | None = None
    """Timesteps whose logits are averaged. None: the checkpoint's."""

    disagreement: Literal["off", "timesteps", "order", "both", "flips"] = "off"
    """Write how much the probability moves over forward passes at several timesteps, in both orders
    of the dates, or both, or with chips turned and mirrored in the eight ways: `disagreement` of
    the mosaic. Each pass costs as much as the map."""

    disagreement_timesteps: tuple[int, ...] | None = None
    """Timesteps of these passes. None: four, evenly from those at which the dates can be told
    apart; with "order" and "flips", those of the map."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Numbers that the network computes in. auto: bf16 where the driver's processor multiplies it
    (avx512_bf16, amx_bf16) and on GPUs, else fp32."""

    engine: Annotated[Engine, Field(exclude_if=lambda engine: engine == "auto")] = "auto"
    """What computes the network. auto: torch. openvino compiles it for the processor, and keeps
    that beside the checkpoint; it needs the extra `openvino`, and CPUs. Its maps differ from
    torch's in last digits."""

    batch: Batch = 16
    """Chips in one forward pass; the last batch of a tile is padded to it. Where that does not fit
    into a predictor's GPU it is halved, for the whole map and for those who continue it."""

    threads: PositiveInt = 1
    """CPU threads of one predictor. Part of the numeric path: another number moves last bits."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda where predictors hold GPUs, else cpu."""

    graphs: Literal["auto", "on", "off"] = "auto"
    """Compile the network and replay it as a CUDA graph: a small network's time on a GPU is mostly
    that of starting its kernels. The first batch of each predictor takes a minute. auto: on GPUs.
    Needs a C compiler there."""

    @model_validator(mode="after")
    def _all_used(self) -> "InferenceConfig":
        if self.disagreement == "off":
            require_unset(self, ("disagreement_timesteps",), "with disagreement off")
        return self
