"""A look taken into a state of 10,000² pixels, against reading and writing the state's bytes.

    python tests/benchmarks/alerts_state.py [--side 10000] [--changed 0.05] [--rounds 3]

Two looks have made the state; a part of the pixels is changed and a third under cloud, in patches.
Asked for is a ratio of 1.2 at most. Reading and writing: all arrays of every tile are read with
the look's, and all of the state's are written, as they are, through the same store.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import shapely
import tyro
from numpy.typing import NDArray
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.alerts.fold import Rules
from noise2map_core.alerts.state import PixelState
from noise2map_core.alerts.store import StateRules, StateStore
from noise2map_core.alerts.tiles import FoldJob, fold_here
from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_DECISION, NO_PROBABILITY, Mosaic, TileMap
from noise2map_core.settings.alerts import AlertsConfig

CLASSES = [{"value": 0, "name": "same"}, {"value": 1, "name": "changed"}]
RULES = Rules(2, 4, 3, 180)
DAYS = (20_000, 20_005, 20_010)


def main(side: int = 10_000, changed: float = 0.05, rounds: int = 3) -> None:
    """Print seconds and ratio of each round.

    Args:
        side: Of the area, pixels.
        changed: Share of the decided pixels.
        rounds: Of both, one after the other.
    """
    everywhere = shapely.box(0, -side * 10, side * 10, 0)
    grid = RegionGrid("EPSG:32633", 10.0, 0.0, 0.0, 2048, Window(0, 0, side, side), everywhere)
    tiles = list(grid.tiles())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        jobs = [_look(root, grid, tiles, day, changed) for day in DAYS]
        StateStore.create(root / "state.zarr", grid, StateRules.of(AlertsConfig(), grid))
        for job in jobs[:-1]:
            fold_here(job, tiles)
        size = sum(f.stat().st_size for f in (root / "state.zarr").rglob("*") if f.is_file())
        print(
            f"{len(tiles)} tiles, {17 * side**2 / 1e9:.2f} GB of state, {size / 1e6:.0f} MB on disk"
        )
        ratios = [_round(root, jobs[-1], tiles) for _ in range(rounds)]
    print(f"ratio, median of {rounds}: {np.median(ratios):.2f} (asked for: at most 1.2)")


def _round(root: Path, job: FoldJob, tiles: list[Tile]) -> float:
    plain = _timed(root, lambda copy: _copy_bytes(_at(job, copy), tiles))
    update = _timed(root, lambda copy: fold_here(_at(job, copy), tiles))
    print(f"read and write {plain:.1f} s, update {update:.1f} s: {update / plain:.2f}", flush=True)
    return update / plain


def _timed(root: Path, work: Callable[[Path], None]) -> float:
    shutil.copytree(root / "state.zarr", root / "copy.zarr")
    begun = time.perf_counter()
    work(root / "copy.zarr")
    seconds = time.perf_counter() - begun
    shutil.rmtree(root / "copy.zarr")
    return seconds


def _at(job: FoldJob, state: Path) -> FoldJob:
    return FoldJob(state, job.look, job.grid, job.day, job.rules)


def _copy_bytes(job: FoldJob, tiles: list[Tile]) -> None:
    for tile in tiles:
        window = job.grid.window(tile)
        for name in ("class", "probability"):
            job.mosaic.read(name, window)
        found = job.store.read(tile)
        # Other than what is written in each value of each array: all are written.
        other = PixelState(**{name: ~values for name, values in found.arrays().items()})
        job.store.write(tile, other, found)


def _look(root: Path, grid: RegionGrid, tiles: list[Tile], day: int, changed: float) -> FoldJob:
    path = root / f"{day}.zarr"
    mosaic = Mosaic.create(path, grid, CLASSES)
    for number, tile in enumerate(tiles):
        places = np.random.default_rng(number)  # change stays where it is
        noise = np.random.default_rng([number, day])
        clouds = _patches(noise, grid.tile_px, 1 / 3)
        found = _patches(places, grid.tile_px, changed) ^ (noise.random(clouds.shape) < 0.01)
        classes = np.where(clouds, NO_DECISION, found).astype(np.uint8)
        stored = noise.integers(0, 10_001, clouds.shape)
        probability = np.where(clouds, NO_PROBABILITY, stored).astype(np.uint16)
        mosaic.write(tile, TileMap(classes, probability, ~clouds, clouds.astype(np.uint8)))
    return FoldJob(root / "state.zarr", path, grid, day, RULES)


def _patches(rng: np.random.Generator, side: int, share: float) -> NDArray[np.bool_]:
    """Where smooth noise is highest."""
    coarse = ndimage.zoom(rng.random((side // 32, side // 32)), 32, order=1)
    high: NDArray[np.bool_] = coarse > np.quantile(coarse, 1 - share)
    return high


if __name__ == "__main__":
    tyro.cli(main)
