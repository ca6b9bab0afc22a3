"""Noise2Map on Ray: semantic maps and change maps of whole regions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from noise2map_core.chips.store import open_chips
    from noise2map_core.distributed.chips import read_chips, write_chips
    from noise2map_core.functions.commands import (
        evaluate,
        finetune,
        ingest,
        ingest_dataset,
        map_region,
    )
    from noise2map_core.inference.pair import predict_image, predict_pair
    from noise2map_core.mapping.opening import open_mosaic
    from noise2map_core.models.checkpoint import load_checkpoint
    from noise2map_core.training.chip_dataset import ChipDataset

__all__ = [
    "ChipDataset",
    "evaluate",
    "finetune",
    "ingest",
    "ingest_dataset",
    "load_checkpoint",
    "map_region",
    "open_chips",
    "open_mosaic",
    "predict_image",
    "predict_pair",
    "read_chips",
    "write_chips",
]

_HOMES = {
    "ChipDataset": "noise2map_core.training.chip_dataset",
    "evaluate": "noise2map_core.functions.commands",
    "finetune": "noise2map_core.functions.commands",
    "ingest": "noise2map_core.functions.commands",
    "ingest_dataset": "noise2map_core.functions.commands",
    "load_checkpoint": "noise2map_core.models.checkpoint",
    "map_region": "noise2map_core.functions.commands",
    "open_chips": "noise2map_core.chips.store",
    "open_mosaic": "noise2map_core.mapping.opening",
    "predict_image": "noise2map_core.inference.pair",
    "predict_pair": "noise2map_core.inference.pair",
    "read_chips": "noise2map_core.distributed.chips",
    "write_chips": "noise2map_core.distributed.chips",
}


def __getattr__(name: str) -> Any:
    """Public names, imported when first asked for: torch, Ray and GDAL take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """With the public names, for notebooks that complete them."""
    return sorted({*globals(), *__all__})
