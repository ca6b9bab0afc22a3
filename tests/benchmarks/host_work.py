"""What a chip costs besides its network: CPU time by stage, with a network that takes none."""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import shapely
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.geo.grid import ChipLattice, RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.inference import decision
from noise2map_core.inference.networks import blend, predictor
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.mapping import mosaic
from noise2map_core.models.noise2map import Noise2Map
from tests.factories import checkpoint_spec

ROUNDS = 5
SIZES = ((64, 1024), (256, 2048))
"""Sides of chips and of tiles, px; chips overlap by half."""
STAGES = {
    "normalise": (predictor._Shown, "_tile"), "cut": (predictor._Shown, "_cut"),
    "blend": (blend.TileBlend, "add"), "mean": (blend.TileBlend, "mean"),
    "softmax": (predictor, "_softmax"), "threshold": (predictor, "verdict_of"),
    "decide": (decision, "decide"),
    "encode": (mosaic.Mosaic, "_encoded"), "hash": (mosaic, "digest_over"),
}  # fmt: skip


class Free(torch.nn.Module):
    """A network that gives what it is shown."""

    def forward(self, task: str, x_t: torch.Tensor, *_: object) -> torch.Tensor:
        return x_t[:, :2]


def timed(work: Callable[..., Any], seconds: dict[str, float], stage: str) -> Callable[..., Any]:
    @wraps(work)
    def run(*args: Any, **options: Any) -> Any:
        begun = time.process_time()
        try:
            return work(*args, **options)
        finally:
            seconds[stage] += time.process_time() - begun

    return run


def measure(chip_px: int, tile_px: int) -> dict[str, float]:
    """Microseconds a chip, of each stage and of all, the least of several rounds."""
    spec, lattice = checkpoint_spec(), ChipLattice(chip_px, chip_px // 2)
    core, path = Window(0, 0, tile_px, tile_px), NumericPath("cpu", "any", "float32", 16, 1, "any")
    cover, rng = lattice.cover(core), np.random.default_rng(0)
    image = rng.integers(0, 3000, (2, 2, cover.height, cover.width)).astype(np.uint16)
    valid = rng.random((2, cover.height, cover.width)) > 0.01
    at_core, inside = valid[:, *core.slices_in(cover)], np.ones((tile_px, tile_px), np.bool_)
    grid = RegionGrid(
        "EPSG:32633", 10.0, 0.0, 0.0, tile_px, core, shapely.box(-1e9, -1e9, 1e9, 1e9)
    )
    classes = [{"value": 0, "name": "same"}, {"value": 1, "name": "changed"}]
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        written = mosaic.Mosaic.create(Path(folder) / "mosaic.zarr", grid, classes)
        network = predictor.Predictor(Noise2Map(spec), path, lattice, (999,))
        for fixed in network._models.values():
            fixed.network = Free()
        for _ in range(ROUNDS):
            seconds: dict[str, float] = defaultdict(float)
            with ExitStack() as stack:
                for stage, (owner, name) in STAGES.items():
                    work = timed(getattr(owner, name), seconds, stage)
                    stack.enter_context(patch.object(owner, name, work))
                begun = time.process_time()
                said = network.predict(image, valid, core, inside & at_core.all(axis=0))
                made = decision.decide(said.verdict, at_core, inside)
                seconds["predict and decide, all"] = time.process_time() - begun
                written.write(Tile(0, 0), made)
            for stage, found in seconds.items():
                best[stage] = min(best.get(stage, found), found)
    return {stage: 1e6 * found / said.chips for stage, found in best.items()}


if __name__ == "__main__":
    for chip_px, tile_px in SIZES:
        print(f"chips of {chip_px} px, tile of {tile_px} px; us a chip of CPU time:")
        for stage, found in measure(chip_px, tile_px).items():
            print(f"  {stage:26s} {found:8.1f}")
