"""Make a checkpoint of published weights: `noise2map import-reference --unet DIR --output DIR`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.hub import resolve_unet
from noise2map_core.models.noise2map import count_parameters
from noise2map_core.models.published import import_published
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.workflows.tools.import_reference import ImportReferenceConfig

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


def run(config: ImportReferenceConfig) -> ImportedReference:
    """Read the weights, and write them as a checkpoint."""
    if config.output.exists():
        raise OutputMismatchError(
            f"{config.output} is there already; nothing was touched. Set another output, or remove "
            "it."
        )
    model = import_published(
        resolve_unet(config.unet), config.weights, config.task, config.classes, config.chip_px,
        bands=config.bands, gsd=config.resolution, gsd_range=config.resolution_range,
        seed=config.seed,
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
        chip=config.chip_px,
    )
