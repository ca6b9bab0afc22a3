"""Memory of infer_region's driver for a few hundred and for ten thousand tiles.

The area reaches far beyond its scenes, so that most tiles are empty: what is measured is what the
driver keeps a tile, not the network. Each run is a process of its own; a rerun that finds
everything done is measured too.

    python tests/benchmarks/driver_memory.py [--tiles 400 10000]
"""

import json
import math
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import shapely
import torch
import tyro
from odc.geo.geom import box

from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.testing.scenes import EmbeddedCatalog, write_catalog

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed


from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines.infer_region import run
from tests.factories import checkpoint_spec

TILE_PX = 64


def main(tiles: tuple[int, ...] = (400, 10_000), one: str | None = None) -> None:
    """Print one line a run, and the ratio of the largest to the smallest.

    Args:
        one: For the process that is measured.
    """
    if one:
        _measure(json.loads(one))
        return
    with tempfile.TemporaryDirectory() as folder:
        _compare(Path(folder), tiles)


def _compare(root: Path, sizes: list[int]) -> None:
    catalog = write_catalog(root / "catalog", size_px=256)
    write_checkpoint(root / "checkpoint", catalog)
    peaks = []
    for size in sizes:
        settings = region_settings(root, catalog, size)
        for turn in ("first run", "rerun"):
            command = [sys.executable, __file__, "--one", json.dumps(settings)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            peaks.append((figures["peak_mib"], size, turn))
            print(
                f"{figures['tiles']:>8,} tiles, {turn}: driver peak {figures['peak_mib']:.0f} MiB"
            )
    first = {size: peak for peak, size, turn in peaks if turn == "first run"}
    print(f"ratio {first[max(sizes)] / first[min(sizes)]:.3f}")


def _measure(settings: dict[str, object]) -> None:
    """Run once; the last line printed is the figures."""
    result = run(InferRegionConfig.model_validate(settings))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tiles": result.tiles, "peak_mib": peak}))


def write_checkpoint(path: Path, catalog: EmbeddedCatalog) -> None:
    """An untrained network for the bands of the catalogue."""
    torch.manual_seed(0)
    spec = checkpoint_spec(bands=tuple(catalog.bands))
    save_checkpoint(Noise2Map(spec), spec, path, "# untrained\n")


def region_settings(root: Path, catalog: EmbeddedCatalog, tiles: int) -> dict[str, object]:
    """An area of about `tiles` tiles around the scene."""
    west, south, east, north = (value for value in catalog.train_boxes["train"][0])
    half = math.sqrt(tiles) * TILE_PX * catalog.resolution / 2
    x, y = (west + east) / 2, (south + north) / 2
    area = box(x - half, y - half, x + half, y + half, catalog.crs).to_crs("EPSG:4326", 1000)
    aoi = root / f"aoi{tiles}.geojson"
    aoi.write_text(shapely.to_geojson(area.geom))
    return {
        "aoi": str(aoi),
        "search": {"catalog": catalog.catalog, "collection": catalog.collection},
        "before": catalog.before,
        "after": catalog.after,
        "checkpoint": str(root / "checkpoint"),
        "output": str(root / f"map{tiles}"),
        "grid": {"tile_px": TILE_PX},
        "resources": {"num_cpus": 2},
    }


if __name__ == "__main__":
    tyro.cli(main)
