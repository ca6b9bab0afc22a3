"""The same bytes whatever happens: numbers of workers, super-tiles, order of tiles, and kills.

Maps the small embedded catalogue with an untrained network once undisturbed, then

- with 1, 2 and 4 predictors, each with super-tiles of 1, 3 and 7 tiles, tiles shuffled;
- killed (SIGKILL to the driver and all its children) at a random moment and run again.

    python tests/benchmarks/region_identity.py [--kills 10]
"""

import itertools
import random
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import tyro
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.prediction import predict_tiles
from noise2map_core.models.checkpoint import save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.testing.scenes import write_catalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines.infer_region import run
from tests.factories import checkpoint_spec

CHECKOUT = Path(__file__).resolve().parents[2]


def main(kills: int = 10, size: int = 512) -> None:
    """Print a line a run, and how many were the same to the byte.

    Args:
        size: Pixels of the scene.
    """
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), size)
        bench.compare_workers()
        bench.kill(kills)


class _Bench:
    """One catalogue, one checkpoint, and the bytes of an undisturbed run."""

    def __init__(self, root: Path, size: int) -> None:
        self._root, self._catalog = root, write_catalog(root / "catalog", size_px=size)
        spec = checkpoint_spec(bands=tuple(self._catalog.bands))
        save_checkpoint(Noise2Map(spec), spec, root / "checkpoint", "# untrained\n")
        started = time.perf_counter()
        subprocess.run(self._command("undisturbed"), check=True, capture_output=True)
        self._whole_s = time.perf_counter() - started
        self._bytes = _digests(root / "undisturbed")
        print(f"undisturbed: {self._whole_s:.0f} s, {len(self._bytes)} files", flush=True)

    def compare_workers(self) -> None:
        """Every number of predictors with every super-tile, in one cluster."""
        same: list[bool] = []
        rng = np.random.default_rng(0)

        def shuffled(job: Any, tiles: Any, resources: Any) -> Any:
            return predict_tiles(job, rng.permutation(tiles), resources)

        shuffles = patch("noise2map_core.distributed.region.predict_tiles", shuffled)
        with shuffles, ray_session(ResourcesConfig(num_cpus=2)):
            for predictors, tiles in product((1, 2, 4), (1, 3, 7)):
                name = f"{predictors} predictors, {tiles} tiles a task"
                resources = {
                    "predictors": predictors, "tiles_per_task": tiles, "predictor_cpus": 0.25,
                }  # fmt: skip
                run(InferRegionConfig.model_validate(self._settings(name, resources)))
                same.append(_digests(self._root / name) == self._bytes)
                print(f"{name}, shuffled: {'the same' if same[-1] else 'OTHER BYTES'}", flush=True)
        print(f"{sum(same)} of {len(same)} the same to the byte", flush=True)

    def kill(self, kills: int) -> None:
        """Kill at a moment within the time of the undisturbed run; then run to the end.

        A run that ends before its moment shows that a run takes less: another is killed instead.
        """
        same: list[bool] = []
        rng, attempts = random.Random(0), itertools.count()
        while len(same) < kills:
            name, moment = f"kill {next(attempts)}", rng.uniform(0.2, 1.0) * self._whole_s
            done = _kill_after(self._command(name), moment, self._root / name)
            if done is None:
                self._whole_s = moment
                continue
            subprocess.run(self._command(name), check=True, capture_output=True)
            same.append(_digests(self._root / name) == self._bytes)
            verdict = "the same" if same[-1] else "OTHER BYTES"
            print(f"{name}: after {moment:.1f} s, {done}; then {verdict}", flush=True)
        print(f"{sum(same)} of {kills} the same to the byte after a kill", flush=True)

    def _settings(self, name: str, resources: dict[str, Any]) -> dict[str, Any]:
        catalog = self._catalog
        return {
            "aoi": str(catalog.map_aoi),
            "search": {"catalog": catalog.catalog, "collection": catalog.collection},
            "before": catalog.before, "after": catalog.after,
            "checkpoint": str(self._root / "checkpoint"), "output": str(self._root / name),
            "grid": {"tile_px": 64}, "resources": {"num_cpus": 2, **resources},
        }  # fmt: skip

    def _command(self, name: str) -> list[str]:
        config = self._root / f"{name}.yaml"
        config.write_text(yaml.safe_dump(self._settings(name, {})))
        return [sys.executable, str(CHECKOUT / "pipelines" / "infer_region.py"), str(config)]


def _kill_after(command: list[str], seconds: float, output: Path) -> str | None:
    """What was there when the process and its children were killed; None if it had ended."""
    driver = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        driver.wait(timeout=seconds)
        return None
    except psutil.TimeoutExpired:
        family = [driver, *driver.children(recursive=True)]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=30)
    records = len(list((output / "ledger" / "records").glob("*.json")))
    return f"{records} tiles recorded, {'with' if (output / 'change.tif').exists() else 'no'} map"


def _digests(output: Path) -> dict[str, str]:
    """Of every object of the mosaic, of the rasters and of the polygons."""
    files = [path for path in (output / "mosaic.zarr").rglob("*") if path.is_file()]
    files += [output / name for name in ("change.tif", "probability.tif", "polygons.parquet")]
    return {str(path.relative_to(output)): file_sha256(path) for path in sorted(files)}


if __name__ == "__main__":
    tyro.cli(main)
