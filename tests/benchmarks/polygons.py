"""Products of large regions: seconds by stage, and memory.

The mosaic is made of a pattern that goes on across tiles. Each size is measured in a process of its
own; the peak of memory is that of the polygons, which come first.

    python tests/benchmarks/polygons.py [--sizes 5000 20000]
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import shapely
import tyro
from numpy.typing import NDArray
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed


from noise2map_core.mapping.mosaic import Mosaic, TileMap
from noise2map_core.mapping.overviews import write_overviews
from noise2map_core.products.bundle import _rasters, _survey, _write_polygons, _write_tiles
from noise2map_core.products.rasters import write_cog
from noise2map_core.settings.products import ProductsConfig
from tests.map_factories import CLASSES, region_grid, subject_of

TILE_PX = 2048
PERIOD_PX = 1531
"""Of the pattern; not a divisor of the tiles, so that edges cut it in ever other places."""


def main(
    sizes: tuple[int, ...] = (5_000, 20_000), polygons_only: bool = False, one: Path | None = None
) -> None:
    """Print one line a size, and the ratio of the largest to the smallest.

    Args:
        one: For the process that is measured.
    """
    if one:
        print(json.dumps(_measure(one, polygons_only)))
        return
    peaks = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            _make(Path(folder), size)
            command = [sys.executable, __file__, "--one", folder]
            command += ["--polygons-only"] * polygons_only
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            _print(size, figures, Path(folder))
            peaks.append(figures["peak_mib"])
    print(f"memory, largest to smallest: {peaks[-1] / peaks[0]:.3f}")


def _print(size: int, figures: dict[str, float], folder: Path) -> None:
    polygons, crossing = _counts(folder / "polygons.parquet")
    start, peak = figures.pop("start_mib"), figures["peak_mib"]
    stages = [f"{name} {value:.1f} s" for name, value in figures.items() if name != "peak_mib"]
    print(f"{size}²: {polygons:,} polygons, {crossing:,} in several tiles; {', '.join(stages)}")
    print(f"  memory: at the start {start:.0f} MiB, peak {peak:.0f} MiB", flush=True)


def _counts(path: Path) -> tuple[int, int]:
    """How many polygons there are, and how many lie in more than one tile."""
    file, crossing = pq.ParquetFile(path), 0
    side = TILE_PX * 10.0
    for group in range(file.num_row_groups):
        boxes = shapely.bounds(shapely.from_wkb(file.read_row_group(group)["geometry"]))
        low, high = boxes[:, :2] / side, boxes[:, 2:] / side
        crossing += int((np.floor(low) != np.ceil(high) - 1).any(axis=1).sum())
    return file.metadata.num_rows, crossing


def _pattern() -> NDArray[np.uint8]:
    """On a torus: blobs of a few hundred pixels, and long thin dashes that tiles' edges cut."""
    rough = np.random.default_rng(0).normal(size=(PERIOD_PX, PERIOD_PX))
    pattern = (ndimage.gaussian_filter(rough, 4, mode="wrap") > 0.055).astype(np.uint8)
    half = PERIOD_PX // 2
    pattern[:half, half:] = np.arange(half)[:, None] % 2
    pattern[half:, :half] = np.arange(half)[None] % 2
    return pattern


def _make(folder: Path, size: int) -> None:
    grid, pattern = region_grid(size, size, TILE_PX), _pattern()
    mosaic = Mosaic.create(folder / "mosaic.zarr", grid, CLASSES)
    for tile in grid.tiles():
        window = grid.window(tile)
        rows = np.arange(window.row, window.row_stop) % PERIOD_PX
        cols = np.arange(window.col, window.col_stop) % PERIOD_PX
        classes = pattern[np.ix_(rows, cols)]
        outside = np.ones_like(classes, np.bool_)
        inside = window.intersect(grid.region)
        outside[inside.slices_in(window)] = False
        classes = np.where(outside, 255, classes).astype(np.uint8)
        probability = np.where(outside, 65_535, 2000 + 5000 * (classes == 1)).astype(np.uint16)
        mosaic.write(tile, TileMap(classes, probability, ~outside, outside.astype(np.uint8)))


def _measure(folder: Path, polygons_only: bool) -> dict[str, float]:
    size = json.loads((folder / "mosaic.zarr" / "zarr.json").read_text())
    height, width = size["attributes"]["noise2map"]["region"][2:]
    mosaic = Mosaic(folder / "mosaic.zarr", region_grid(height, width, TILE_PX))
    subject, config = subject_of(folder / "scenes", 64, 64), ProductsConfig()
    figures = {"start_mib": _peak_mib()}
    clock = time.perf_counter()
    _write_polygons(mosaic, folder, subject, config)
    figures |= {"polygons": time.perf_counter() - clock, "peak_mib": _peak_mib()}
    if polygons_only:
        return figures
    clock = time.perf_counter()
    _write_tiles(mosaic, folder, subject)
    figures["vector tiles"] = time.perf_counter() - clock
    clock = time.perf_counter()
    write_overviews(mosaic)
    figures["overviews"] = time.perf_counter() - clock
    clock = time.perf_counter()
    _survey(mosaic)
    figures["survey"] = time.perf_counter() - clock
    for spec in _rasters(mosaic, subject, config):
        clock = time.perf_counter()
        write_cog(mosaic, spec, folder)
        figures[spec.file] = time.perf_counter() - clock
    return figures


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    tyro.cli(main)
