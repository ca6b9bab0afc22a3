"""Speed of mapping a region against its bare parts, and against a user's own script.

Invented scenes of two dates, mapped on two cores by:

- `infer-region`: this project with two predictors; the starts of Ray and its workers, and the
  report, are told apart;
- `bare`: two processes that do nothing but rasterio's reads of the same windows, then the network's
  own forward passes over as many batches, then zarr's writes of the same shards, one after the
  other; and the project's rasters and polygons of the finished map alone;
- `script`: what a user would write instead (`rivals/odc_stac_map.py`): odc-stac, whole arrays, a
  loop over chips in float32, with both cores' threads.

And without a checkpoint, of six bands of uint16, by each detector, against two processes that read
both dates' pixels twice, of the same windows, and do nothing else.

    python tests/benchmarks/region_speed.py [--presets tiny small] [--sizes 11000 5000]
        [--kinds mad cva] [--detector-size 6000]
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
import tyro
import zarr

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.noise2map import at_timestep
from tests.large_region import BANDS, DATES, Change, infer_command, train_checkpoint, write_scenes
from tests.measure import measured
from tests.raster_factories import ORIGIN

CHECKOUT = Path(__file__).resolve().parents[2]

RIVAL = Path(__file__).parent / "rivals" / "odc_stac_map.py"
WORKERS = 2
SENTINEL = ("blue", "green", "red", "nir", "swir16", "swir22")


def main(
    presets: tuple[str, ...] = ("tiny", "small"),
    sizes: tuple[int, ...] = (11_000, 5_000),
    script: bool = True,
    kinds: tuple[str, ...] = ("mad", "cva"),
    detector_size: int = 6_000,
) -> None:
    """Print the figures of each preset, and of each detector."""
    for preset, size in zip(presets, sizes, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_scenes(root / "scenes", size, Change())
            train_checkpoint(root / "checkpoint", Change(), preset)
            _compare(root, preset, size, script)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_scenes(root / "scenes", detector_size, Change(), SENTINEL, "uint16")
        for kind in kinds:
            _compare_detector(root, kind, detector_size)


def _compare_detector(root: Path, kind: str, size: int) -> None:
    output = root / kind
    command = infer_command(root / "scenes", Path(kind), output, bands=SENTINEL)
    found = measured(command)
    manifest = json.loads((output / "manifest.json").read_text())
    stages = manifest["seconds"]
    tiles = _tiles(manifest)
    shares = [(root, tiles[worker::WORKERS], SENTINEL, 16) for worker in range(WORKERS)]
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        run = _Timed(pool)
        twice = run(_read, shares) + run(_read, shares)
    mapped = stages["predict"] - manifest["throughput"]["start_s"]
    fitted = stages["search"]
    products = stages["rasters"] + stages["polygons"]
    print(
        f"{kind}, {size}²: fit {fitted:.1f} s, tiles {mapped:.1f} s, rasters and polygons "
        f"{products:.1f} s, all else {found.seconds - fitted - mapped - products:.1f} s (programs, "
        f"Ray and its workers started, pictures and report); {found.mib:,.0f} MiB\n"
        f"  pixels read twice {twice:.1f} s: fit and tiles take {(fitted + mapped) / twice:.2f} "
        f"times that, with rasters and polygons {(fitted + mapped + products) / twice:.2f}; the "
        f"command as a whole, Ray's start and the report included, {found.seconds / twice:.2f}",
        flush=True,
    )


def _compare(root: Path, preset: str, size: int, script: bool) -> None:
    found = measured(infer_command(root / "scenes", root / "checkpoint", root / "map"))
    manifest = json.loads((root / "map" / "manifest.json").read_text())
    work, start = _seconds(manifest, found.seconds)
    bare = _bare(root, manifest)
    parts = ", ".join(f"{name} {value:.1f} s" for name, value in bare.items())
    total = sum(bare.values())
    print(
        f"{preset}, {size}²: {manifest['throughput']['chips']:,} chips\n"
        f"  infer-region  {work:6.1f} s after {start:.1f} s of start and report; "
        f"{found.mib:,.0f} MiB\n"
        f"  bare          {total:6.1f} s: {parts}\n"
        f"  infer-region takes {work / total:.3f} times its bare parts",
        flush=True,
    )
    if script:
        command = [sys.executable, str(RIVAL), str(root / "scenes"), str(root / "checkpoint")]
        rival = measured([*command, str(root / "script")])
        took = json.loads(rival.out.splitlines()[-1])["seconds"]
        print(
            f"  script        {took:6.1f} s; {rival.mib:,.0f} MiB: {took / work:.2f} times the "
            f"time and {rival.mib / found.mib:.2f} times the memory",
            flush=True,
        )


def _seconds(manifest: dict[str, Any], whole: float) -> tuple[float, float]:
    """Seconds of the work, and those of starts, the search and the report.

    The work begins when the first worker does and ends with the rasters and polygons.
    """
    stages = manifest["seconds"]
    work = stages["predict"] - manifest["throughput"]["start_s"]
    work += stages["rasters"] + stages["polygons"]
    return work, whole - work


def _bare(root: Path, manifest: dict[str, Any]) -> dict[str, float]:
    """Seconds of each part alone, with both cores."""
    batches = -(-manifest["throughput"]["chips"] // manifest["numeric_path"]["batch"])
    tiles = _tiles(manifest)
    shares = [tiles[worker::WORKERS] for worker in range(WORKERS)]
    template = zarr.open_group(root / "map" / "mosaic.zarr", mode="r")
    _empty_copy(template, root / "bare.zarr")
    path = manifest["numeric_path"]
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        run = _Timed(pool)
        found = {
            "read": run(_read, [(root, share) for share in shares]),
            "forward": run(
                _forward,
                [(root / "checkpoint", path, -(-batches // WORKERS)) for _ in range(WORKERS)],
            ),
            "write": run(_write, [(root, share) for share in shares]),
        }
    return found | {name: manifest["seconds"][name] for name in ("rasters", "polygons")}


class _Timed:
    """Runs a function in every worker at once; the seconds that the slowest took."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool
        list(pool.map(_warm, range(WORKERS)))

    def __call__(
        self, function: Callable[..., float], arguments: Sequence[tuple[Any, ...]]
    ) -> float:
        return max(self._pool.map(function, *zip(*arguments, strict=True)))


def _warm(_: int) -> None:
    time.sleep(1)  # so that no worker takes both of these


def _tiles(manifest: dict[str, Any]) -> list[tuple[int, int, int]]:
    """(row, col) of each tile in the scene's pixels, by rows, and its side."""
    side, (height, width) = manifest["grid"]["tile_px"], manifest["grid"]["shape"]
    a, _, x, _, _, y = manifest["grid"]["transform"]
    row0, col0 = round((ORIGIN[1] - y) / a), round((x - ORIGIN[0]) / a)
    first = (-round(ORIGIN[1] / a)) % side, round(ORIGIN[0] / a) % side
    return [
        (row, col, side)
        for row in range(row0 - first[0], row0 + height, side)
        for col in range(col0 - first[1], col0 + width, side)
    ]


def _read(
    root: Path,
    tiles: Sequence[tuple[int, int, int]],
    bands: Sequence[str] = BANDS,
    halo: int = 128,
) -> float:
    """Both dates and bands of each tile and its halo, as far as the scene reaches."""
    started = time.perf_counter()
    for row, col, side in tiles:
        for date in DATES:
            for band in bands:
                with rasterio.open(root / "scenes" / f"{date}-{band}.tif") as file:
                    top, left = max(0, row - halo), max(0, col - halo)
                    bottom = min(file.height, row + side + halo)
                    right = min(file.width, col + side + halo)
                    file.read(1, window=((top, bottom), (left, right)))
    return time.perf_counter() - started


def _forward(checkpoint: Path, path: dict[str, Any], batches: int) -> float:
    """Forward passes of the network on the same numeric path, and nothing else."""
    torch.set_num_threads(path["threads"])
    model = load_checkpoint(checkpoint).eval()
    spec = model.spec
    t = spec.tasks["change"].inference_timesteps[0]
    fast = at_timestep(model, t, getattr(torch, path["dtype"]), graphs=False)
    shape = (path["batch"], 2 * len(spec.bands), spec.chip_px, spec.chip_px)
    image = torch.randint(60, 180, shape, dtype=torch.uint8)
    valid = torch.ones((path["batch"], 2, *shape[2:]), dtype=torch.bool)
    with torch.inference_mode():
        fast.logits(image, t, valid, "change")
        started = time.perf_counter()
        for _ in range(batches):
            fast.logits(image, t, valid, "change")
    return time.perf_counter() - started


def _empty_copy(template: zarr.Group, path: Path) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=3)
    for name in ("class", "probability", "valid", "reason"):
        array = template[name]
        assert isinstance(array, zarr.Array)
        group.create_array(
            name, shape=array.shape, dtype=array.dtype, chunks=array.chunks, shards=array.shards,
            compressors=array.compressors, fill_value=array.fill_value,
        )  # fmt: skip


def _write(root: Path, tiles: Sequence[tuple[int, int, int]]) -> float:
    """The finished pixels of each tile, read before the clock runs."""
    source = zarr.open_group(root / "map" / "mosaic.zarr", mode="r")
    target = zarr.open_group(root / "bare.zarr", mode="r+")
    side, spent = tiles[0][2], 0.0
    top, left = min(t[0] for t in tiles), min(t[1] for t in tiles)
    for row, col, _ in tiles:
        window = slice(row - top, row - top + side), slice(col - left, col - left + side)
        for name in ("class", "probability", "valid", "reason"):
            there, here = source[name], target[name]
            assert isinstance(there, zarr.Array) and isinstance(here, zarr.Array)
            values = np.asarray(there[window])
            started = time.perf_counter()
            here[window] = values
            spent += time.perf_counter() - started
    return spent


if __name__ == "__main__":
    tyro.cli(main)
