"""A GPU with less memory than a batch takes: one map, with the batch that fits."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.storage import files_in
from noise2map_core.testing.scenes import EmbeddedCatalog
from tests.nightly_factories import random_checkpoint
from tests.region_in_process import map_here

FITS = 4
JUDGED = Noise2Map.judged


def judged(model: Noise2Map, x_t: torch.Tensor, *rest: Any) -> torch.Tensor:
    """A network on a device with memory for FITS chips."""
    if len(x_t) > FITS:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    return JUDGED(model, x_t, *rest)


def pixels(output: Path) -> dict[str, bytes]:
    mosaic = output / "mosaic.zarr"
    return {one.relative_to(mosaic).as_posix(): one.read_bytes() for one in files_in(mosaic)}


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_remembered(
    embedded: EmbeddedCatalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", tuple(embedded.bands))
    with patch.object(Noise2Map, "judged", judged):
        made = map_here(embedded, checkpoint, tmp_path / "small")
        again = map_here(embedded, checkpoint, tmp_path / "small")
    assert "memory with batches of 8" in capsys.readouterr().err
    assert made.predicted == made.tiles and again.predicted == 0
    path = json.loads((tmp_path / "small" / "manifest.json").read_text())["numeric_path"]
    assert path["batch"] == FITS
    map_here(embedded, checkpoint, tmp_path / "asked", inference={"batch": FITS})
    assert pixels(tmp_path / "small") == pixels(tmp_path / "asked")
