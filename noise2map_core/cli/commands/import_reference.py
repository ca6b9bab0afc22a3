"""Make a checkpoint of published weights: `noise2map import-reference --unet DIR --output DIR`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.cli.application import application
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.runtime.storage import LocalPath, Location
from noise2map_core.settings.network import Task
from noise2map_core.settings.numbers import PositiveFloat, PositiveInt, Seed, SidePx

CARD = """# Imported Noise2Map model: {task}

Weights of the authors' implementation (A. Shibli, A. Nascetti, Y. Ban: Noise2Map, IEEE TGRS 2026).

| | |
| --- | --- |
| UNet | {unet} |
| fine-tuned weights | {weights} |
| bands, in order | {bands}, 0 to 255 |
| chips | {chip} px |

The decision threshold is 0.5 and was not chosen on any data; the ground sample distance that the
weights were trained on is not in the files. The weights have their owner's licence.
"""


class ImportReferenceConfig(BaseModel):
    """Which weights, and what they do."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    unet: str
    """Folder of the published UNet (config.json, diffusion_pytorch_model.safetensors), or its name
    on the Hugging Face hub: ali97/noise2map/aid-10k."""

    weights: LocalPath | None = None
    """Fine-tuned state dict (.pth). None: the UNet alone, with random layers around it, as a start
    for training."""

    task: Task
    """What the weights do: change (two dates) or segment (one)."""

    classes: PositiveInt = Field(default=2, ge=2)
    """Number of classes."""

    chip_size: SidePx = 256
    """Side of the chips, pixels; others than 256 are resized on the way in and out."""

    bands: tuple[str, ...] = Field(default=("red", "green", "blue"), min_length=1)
    """Bands of a date, in order."""

    gsd: PositiveFloat = 1.0
    """Ground sample distance that it was trained on, metres."""

    gsd_range: tuple[PositiveFloat, PositiveFloat] = (0.01, 1000.0)
    """Ground sample distances that it accepts, metres."""

    seed: Seed = 0
    """Seed of the layers that have no published weights."""

    output: Location
    """Checkpoint directory."""


@dataclass(frozen=True)
class ImportedReference:
    """A checkpoint that was made."""

    output: Path
    num_parameters: int
    tuned: bool
    """False: only the UNet has published weights."""

    def summary(self) -> list[str]:
        """Lines for people."""
        note = "" if self.tuned else "; the layers around the UNet are random: train it"
        return [f"checkpoint  {self.output}  ({self.num_parameters:,} parameters{note})"]


def main() -> None:
    """The command `noise2map import-reference`."""
    application(ImportReferenceConfig, run)


def run(config: ImportReferenceConfig) -> ImportedReference:
    """Read the weights, and write them as a checkpoint."""
    if config.output.exists():
        raise OutputMismatchError(
            f"{config.output} is there already; nothing was touched. Set another output, or remove "
            "it."
        )
    from noise2map_core.models.checkpoint import save_checkpoint
    from noise2map_core.models.hub import resolve_unet
    from noise2map_core.models.noise2map import count_parameters
    from noise2map_core.models.published import import_published

    model = import_published(
        resolve_unet(config.unet), config.weights, config.task, config.classes, config.chip_size,
        bands=config.bands, gsd=config.gsd, gsd_range=config.gsd_range, seed=config.seed,
    )  # fmt: skip
    save_checkpoint(model, model.spec, config.output, _card(config))
    return ImportedReference(config.output, count_parameters(model), config.weights is not None)


def _card(config: ImportReferenceConfig) -> str:
    return CARD.format(
        task=config.task,
        unet=config.unet,
        weights=config.weights
        or "none: the layers around the UNet are random, and must be trained",
        bands=", ".join(config.bands),
        chip=config.chip_size,
    )


if __name__ == "__main__":
    main()
