"""What a continent takes: from measured figures of a tile, and by scheduling tiles that do nothing.

python infra/scale.py read
python infra/scale.py paper [--area_km2 10000000] [--gsd_m 10] …
python infra/scale.py stages --costs COSTS.json [--gpx 100] …
python infra/scale.py simulate --tiles 20000
"""

import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rasterio
import ray
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # from a checkout

from infra.stage_model import Cluster, Costs, stage_times
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.work import WorkSource
from noise2map_core.inference.estimate import PRODUCTS_S_PER_MPX
from noise2map_core.rasters.files import GDAL_SETTINGS
from noise2map_core.settings.resources import ResourcesConfig

TILE_PX = 2048
OBJECTS_A_TILE = 5
"""Written: a shard of each of four arrays of the mosaic, and a record of the ledger."""
WRITTEN_BYTES_PX = 1.2
"""Of a mosaic and its rasters, compressed; assumed."""
RECORD_BYTES = 130
"""Of a tile in a folded segment of the ledger."""


@dataclass(frozen=True)
class Work:
    """What is to be mapped, and what a tile took where it was measured: by default a continent."""

    area_km2: float = 1e7
    gsd_m: float = 10.0
    bands: int = 4
    bytes_px: int = 2
    dates: int = 2
    compression: float = 0.6
    """Stored bytes for one of pixels."""
    read_s: float = 1.0
    """CPU seconds of reading a tile of 2048² px, all bands and dates."""
    chips_a_tile: int = 4096
    """64 × 64 for a stride of 32 px."""
    cpu_chips_s: float = 389.0
    """Chips a second on one CPU."""
    gpu_chips_s: float = 29000.0
    """Chips a second on one GPU."""
    products_s_mpx: float = PRODUCTS_S_PER_MPX
    """CPU seconds of all products of a million pixels."""
    gpu_price: float = 1.5
    cpu_price: float = 0.02
    """Of an hour of one GPU with its machine, and of one CPU, on spot machines."""
    get_price: float = 0.0004
    """Of 1,000 GET requests."""
    hours: float = 24.0
    """In which it is to be done."""


@dataclass(frozen=True)
class Bill:
    """What it takes."""

    tiles: float
    pixels: float
    read_tb: float
    written_tb: float
    ledger_gb: float
    gpu_h: float
    """Of predicting on GPUs …"""
    predict_cpu_h: float
    """… or on CPUs instead."""
    cpu_h: float
    """Of reading."""
    products_h: float
    """Of products, on CPUs."""
    requests: float
    price: float
    gpus: float
    cpus: float
    requests_s: float
    read_gb_s: float


def bill(work: Work) -> Bill:
    """The sums. Areas of tiles at the edge and overlaps of scenes are not in them."""
    pixels = work.area_km2 * 1e6 / work.gsd_m**2
    tiles = pixels / TILE_PX**2
    read = pixels * work.bands * work.bytes_px * work.dates * work.compression
    chips = tiles * work.chips_a_tile
    gpu_h, predict_cpu_h = (chips / rate / 3600 for rate in (work.gpu_chips_s, work.cpu_chips_s))
    cpu_h, products_h = tiles * work.read_s / 3600, pixels / 1e6 * work.products_s_mpx / 3600
    # A COG of 512² blocks: a header, and a block each, for every band and date.
    requests = tiles * work.bands * work.dates * (1 + (TILE_PX / 512 + 1) ** 2)
    seconds = work.hours * 3600
    return Bill(
        tiles, pixels, read / 1e12, pixels * WRITTEN_BYTES_PX / 1e12, tiles * RECORD_BYTES / 1e9,
        gpu_h, predict_cpu_h, cpu_h, products_h, requests,
        gpu_h * work.gpu_price + (cpu_h + products_h) * work.cpu_price
        + requests / 1000 * work.get_price,
        gpu_h / work.hours, (cpu_h + products_h) / work.hours,
        requests / seconds, read / seconds / 1e9,
    )  # fmt: skip


def on_paper(work: Annotated[Work, tyro.conf.arg(name="")]) -> None:
    """Print the bill as a table."""
    found = bill(work)
    rows = [
        ("pixels", f"{found.pixels / 1e9:,.0f} G"), ("tiles of 2048²", f"{found.tiles:,.0f}"),
        ("read", f"{found.read_tb:,.1f} TB in {found.requests / 1e6:,.0f} M requests"),
        ("written", f"{found.written_tb:,.2f} TB in {found.tiles * OBJECTS_A_TILE:,.0f} objects"),
        ("ledger", f"{1000 * found.ledger_gb:,.0f} MB folded"),
        ("GPU hours of predicting", f"{found.gpu_h:,.1f}"),
        ("or CPU hours of predicting", f"{found.predict_cpu_h:,.0f}"),
        ("CPU hours of reading", f"{found.cpu_h:,.0f}"),
        ("CPU hours of products", f"{found.products_h:,.0f}"),
        ("price", f"{found.price:,.0f}"),
        (f"in {work.hours:g} h", f"{found.gpus:,.2f} GPUs, {found.cpus:,.0f} CPUs, "
         f"{found.read_gb_s:,.2f} GB/s, {found.requests_s:,.0f} requests/s"),
    ]  # fmt: skip
    for name, value in rows:
        print(f"| {name} | {value} |")


def read() -> None:
    """Time the reading of one tile of 2048² px, two dates of four bands, from COGs on this disk."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(3000, 600, (TILE_PX // 8,) * 2).repeat(8, 0).repeat(8, 1)
    pixels = (coarse + rng.normal(0, 40, coarse.shape)).astype(np.uint16)
    form = {"driver": "COG", "compress": "deflate", "blocksize": 512, "crs": "EPSG:32633"}
    shape = {"width": TILE_PX, "height": TILE_PX, "count": 1, "dtype": "uint16"}
    place = rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "band.tif"
        with rasterio.open(path, "w", **form, **shape, transform=place) as file:
            file.write(pixels, 1)
        stored, started = path.stat().st_size / pixels.nbytes, time.process_time()
        with rasterio.Env(**{**GDAL_SETTINGS, "GDAL_CACHEMAX": 0}):
            for _ in range(8):
                with rasterio.open(path) as file:
                    file.read(1)
    print(
        f"{time.process_time() - started:.2f} CPU seconds a tile; {stored:.2f} bytes of one stored"
    )


CLUSTERS = {
    "a machine of 8 GPUs, 64 CPUs": Cluster(64, 8),
    "100 nodes of a GPU, 8 CPUs": Cluster(800, 100),
}


def stages(
    costs: Path,
    gpx: float = 100.0,
    gpu_chips_s: float = Work.gpu_chips_s,
    polygons_mpx: float | None = None,
    chips_a_tile: float | None = None,
) -> None:
    """Print, of each cluster, what every stage takes, and what in it waits for what.

    What is serial is done by the driver or by one worker alone. Files are hashed, and a GeoPackage
    is written, beside other stages: of these, seconds are what is waited for behind them.

    Args:
        costs: Of stages, from `tests/benchmarks/stage_costs.py --output`.
        polygons_mpx: Polygons for a million pixels; None: as many as where costs were measured.
        chips_a_tile: Of the network that `gpu_chips_s` is of; None: of that of the costs.
    """
    found = Costs.load(costs)
    found = replace(found, chips_a_tile=chips_a_tile or found.chips_a_tile)
    tiles = gpx * 1e9 / found.tile_px**2
    polygons = None if polygons_mpx is None else 1000 * gpx * polygons_mpx
    for name, cluster in CLUSTERS.items():
        times = stage_times(found, tiles, replace(cluster, gpu_chips_s=gpu_chips_s), polygons)
        whole = sum(stage.seconds for stage in times)
        print(f"\n{name}: {gpx:,.0f} Gpx, {tiles:,.0f} tiles of {found.tile_px}², {whole:,.0f} s\n")
        print("| stage | seconds | share | serial part | waits for |")
        print("| --- | --- | --- | --- | --- |")
        for stage in times:
            shares = f"{stage.seconds / whole:.1%} | {stage.serial_s / whole:.1%}"
            print(f"| {stage.name} | {stage.seconds:,.0f} | {shares} | {stage.waits_for} |")
        longest = max(times, key=lambda stage: stage.serial_s)
        print(f"\nlongest serial part: {longest.name}, {longest.serial_s / whole:.1%} of the whole")


def simulate(tiles: int = 20_000, cpus: int | None = None) -> None:
    """Schedule tiles that do nothing through the source that hands out real ones; print memory."""
    side = int(np.ceil(np.sqrt(tiles)))
    places = np.stack(np.divmod(np.arange(tiles, dtype=np.int32), side), axis=1)
    with ray_session(ResourcesConfig(num_cpus=cpus or os.cpu_count())):
        before, started = peak_mib(), time.perf_counter()
        dataset = ray.data.read_datasource(WorkSource("Tiles", places, no_tile), num_cpus=0.25)
        dataset = dataset.map_batches(
            NoModel, batch_size=1, compute=ray.data.ActorPoolStrategy(size=1), num_cpus=0.5
        )
        for done, _ in enumerate(dataset.iter_rows(), start=1):
            if done in (1, 1000) or done % max(1, tiles // 10) == 0:
                seconds = time.perf_counter() - started
                print(f"{done:>9,} tiles {seconds:8.1f} s {done / seconds:8.0f} tiles/s "
                      f"driver {peak_mib():,.0f} MiB", flush=True)  # fmt: skip
    print(f"driver: {before:,.0f} MiB before, {peak_mib():,.0f} MiB at most")


def no_tile(row: int, col: int) -> dict[str, Any]:
    """A tile without pixels."""
    return {"tile_row": [row], "tile_col": [col]}


class NoModel:
    """Predicts nothing."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The same."""
        return batch


def peak_mib() -> float:
    """Most memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Paper, reading, stages, or simulation."""
    commands = {"paper": on_paper, "read": read, "stages": stages, "simulate": simulate}
    tyro.extras.subcommand_cli_from_dict(commands)


if __name__ == "__main__":
    main()
