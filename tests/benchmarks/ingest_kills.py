"""SIGKILL to driver and workers of an ingest at random moments; then the same ingest again.

Moments lie between the first shard and the end of an undisturbed run. After the rerun the store
must verify, and be to the byte what an undisturbed run makes.

    python tests/benchmarks/ingest_kills.py [--kills 10] [--seed 0]
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import tyro
import yaml

from noise2map_core.workflows.ingest_region import IngestRegionConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # applications are not installed


from noise2map_core.chips.repair import iter_checks
from noise2map_core.chips.writer import progress_folder
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.settings.resources import ResourcesConfig
from noise2map_core.testing.scenes import EmbeddedCatalog, write_catalog
from pipelines import ingest_region

TIMEOUT_S = 600


def main(kills: int = 10, seed: int = 0) -> None:
    """Print one line a kill, and the sums."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalog = write_catalog(folder / "catalog", size_px=256)
        whole = folder / "undisturbed.zarr"
        driver = _start(_settings(catalog, whole), folder)
        _first_record(driver, whole)
        length = _seconds_left(driver)
        expected = _digests(whole)
        print(f"undisturbed: {len(expected)} objects, {length:.1f} s from first shard to end")
        killed = [
            _killed_run(_settings(catalog, folder / f"{number}.zarr"), folder, rng, length)
            for number in range(kills)
        ]
        good = 0
        with ray_session(ResourcesConfig(num_cpus=2)):
            for number, what in enumerate(killed):
                settings = _settings(catalog, folder / f"{number}.zarr")
                result = ingest_region.run(IngestRegionConfig(**settings))
                damages = sum(damage is not None for damage in iter_checks(result.output))
                same = _digests(result.output) == expected
                good += same and not damages
                print(f"{what}, {result.written} written by the rerun: {damages} damages, "
                      f"same bytes: {same}", flush=True)  # fmt: skip
    print(f"{good} of {kills} stores verify and are the undisturbed one")


def _settings(catalog: EmbeddedCatalog, output: Path) -> dict[str, Any]:
    return {
        "aoi": str(catalog.train_aoi),
        "search": {
            "catalog": str(catalog.catalog), "collection": catalog.collection,
            "bands": list(catalog.bands),
        },
        "before": catalog.before, "after": catalog.after, "output": str(output),
        "chips": {"chip_px": 32, "stride_px": 8},
        "labels": {"kind": "raster", "asset": catalog.label_asset},
        "split": {"boxes": catalog.train_boxes}, "resources": {"num_cpus": 2},
    }  # fmt: skip


def _start(settings: dict[str, Any], folder: Path) -> psutil.Popen:
    config = folder / f"{Path(settings['output']).stem}.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, ingest_region.__file__, str(config)]
    with config.with_suffix(".log").open("w") as log:
        return psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=log)


def _first_record(driver: psutil.Popen, output: Path) -> None:
    """Wait until a shard is recorded."""
    deadline = time.monotonic() + TIMEOUT_S
    while not any(progress_folder(output).glob("shard-*.json")):
        if driver.poll() is not None or time.monotonic() > deadline:
            said = output.with_suffix(".log").read_text()[-2000:]
            raise RuntimeError(f"{output} was not begun, exit code {driver.poll()}: {said}")
        time.sleep(0.01)


def _seconds_left(driver: psutil.Popen) -> float:
    started = time.monotonic()
    if code := driver.wait(TIMEOUT_S):
        raise RuntimeError(f"the undisturbed run ended with exit code {code}")
    return time.monotonic() - started


def _killed_run(settings: dict[str, Any], folder: Path, rng: random.Random, length: float) -> str:
    """Kill a run and its children at a random moment of `length`; says when, and what was done."""
    output, moment = Path(settings["output"]), rng.uniform(0.0, length)
    driver = _start(settings, folder)
    _first_record(driver, output)
    try:
        driver.wait(timeout=moment)
    except psutil.TimeoutExpired:
        family = [driver, *driver.children(recursive=True)]
        for process in family:
            if process.is_running():
                process.kill()
        psutil.wait_procs(family, timeout=30)
        records = len(list(progress_folder(output).glob("shard-*.json")))
        return f"killed {moment:.1f} s after the first shard, with {records} recorded"
    return f"ended before the {moment:.1f} s were over"


def _digests(store: Path) -> dict[str, str]:
    files = [path for path in store.rglob("*") if path.is_file()]
    return {path.relative_to(store).as_posix(): file_sha256(path) for path in files}


if __name__ == "__main__":
    tyro.cli(main)
