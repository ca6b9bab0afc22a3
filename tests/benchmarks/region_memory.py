"""Memory of mapping a large region against that of a small one, all stages included.

Invented scenes, a network that costs almost nothing, and many narrow changes that tiles' edges cut.
Each size is a run of its own, from the search to the report; memory is the peak over the driver and
all its workers, without Ray's object store.

    python tests/benchmarks/region_memory.py [--sizes 5000 30000]
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import shapely
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed


from tests.large_region import Change, infer_command, train_checkpoint, write_scenes
from tests.measure import measured

TILE_PX, GSD_M = 512, 10.0
CHANGE = {"blob_px": 1.0, "share": 0.16, "stretch": 16.0}


def main(sizes: tuple[int, ...] = (5_000, 30_000)) -> None:
    """Print a line a size, and the ratio of the largest to the smallest."""
    change, peaks = Change(**CHANGE), []
    with tempfile.TemporaryDirectory() as folder:
        train_checkpoint(Path(folder) / "cheap", change, "cheap", 256, 256)
        for size in sizes:
            peaks.append(_measure(Path(folder), size, change))
    whole, driver = (
        largest / smallest for largest, smallest in zip(peaks[-1], peaks[0], strict=True)
    )
    print(f"{sizes[-1]}² to {sizes[0]}²: memory {whole:.3f}, of the driver {driver:.3f}")


def _measure(root: Path, size: int, change: object) -> tuple[float, float]:
    folder, output = root / f"scenes{size}", root / f"map{size}"
    started = time.perf_counter()
    write_scenes(folder, size, change)
    print(f"{size}²: scenes made in {time.perf_counter() - started:.0f} s", flush=True)
    # Four chips a tile: batches of that size waste nothing.
    settings = {"grid": {"tile_px": TILE_PX}, "inference": {"batch": 4}}
    found = measured(infer_command(folder, root / "cheap", output, settings))
    seconds = json.loads((output / "manifest.json").read_text())["seconds"]
    stages = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    polygons, crossing = count_polygons(output / "polygons.parquet")
    print(
        f"{size}²: {polygons:,} polygons, {crossing:,} in several tiles; {found.mib:,.0f} MiB, of "
        f"the driver {found.driver_mib:,.0f} MiB; {found.seconds:.0f} s: {stages}",
        flush=True,
    )
    return found.mib, found.driver_mib


def count_polygons(path: Path) -> tuple[int, int]:
    """How many polygons there are, and how many lie in more than one tile."""
    file, crossing = pq.ParquetFile(path), 0
    for group in range(file.num_row_groups):
        bounds = shapely.bounds(shapely.from_wkb(file.read_row_group(group)["geometry"]))
        boxes = bounds / (TILE_PX * GSD_M)
        crossing += int((np.floor(boxes[:, :2]) != np.ceil(boxes[:, 2:]) - 1).any(axis=1).sum())
    return file.metadata.num_rows, crossing


if __name__ == "__main__":
    tyro.cli(main)
