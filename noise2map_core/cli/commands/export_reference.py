"""Write a checkpoint in the published layout: `noise2map export-reference DIR --output DIR`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.published import export_published
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.runtime.storage import PARTIAL
from noise2map_core.workflows.tools.export_reference import ExportReferenceConfig


@dataclass(frozen=True)
class ExportedReference:
    """What was written."""

    output: Path

    def summary(self) -> list[str]:
        """Lines for people."""
        return [f"UNet     {self.output / 'unet'}", f"weights  {self.output / 'weights.pth'}"]


def run(config: ExportReferenceConfig) -> ExportedReference:
    """Write UNet and state dict; the directory appears whole or not at all."""
    if config.output.exists():
        raise OutputMismatchError(
            f"{config.output} is there already; nothing was touched. Set another output, or remove "
            "it."
        )
    model = load_checkpoint(config.checkpoint)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    partial = config.output.with_name(f".{config.output.name}.{uuid4().hex}{PARTIAL}")
    try:
        export_published(model, partial)
        partial.rename(config.output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return ExportedReference(config.output)
