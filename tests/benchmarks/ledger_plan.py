"""Planning ten million tiles against a ledger of ten million records, and a rerun with nothing new.

The ledger is written as runs leave it, folded: segments sorted by tile. One tile in a thousand is
missing. What is measured is a process of its own: seconds to the first tile that is to be made,
seconds to the last, peak of memory.

    python tests/benchmarks/ledger_plan.py [--tiles 10000000] [--rerun 10000]
"""

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
import tyro
from odc.geo.geom import Geometry

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.geo.grid import ChipLattice, RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.inference.comparison import Comparison
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import GROUP_ROWS, SCHEMA, SEGMENT_ROWS, Ledger, TileRecord
from tests.factories import checkpoint_spec
from tests.raster_factories import CRS, ORIGIN

CHECKOUT = Path(__file__).resolve().parents[2]

TILE_PX = 2048
NUM_SCENES = 2_000
"""Of each date, spread over the region."""


def main(tiles: int = 10_000_000, rerun: int = 10_000, plan: Path | None = None) -> None:
    """Print the figures of both.

    Args:
        rerun: Tiles of the rerun; 0: none.
        plan: For the process that is measured.
    """
    if plan:
        print(json.dumps(_plan(plan, tiles)))
        return
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        _write_ledger(Path(folder), tiles)
        print(f"ledger of {tiles:,} records written in {time.perf_counter() - started:.0f} s")
        command = [sys.executable, __file__, "--plan", folder, "--tiles", str(tiles)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{found['tiles']:,} tiles planned, {found['missing']:,} to be made: the first after "
            f"{found['first_s']:.1f} s, the last after {found['all_s']:.0f} s; peak "
            f"{found['mib']:,.0f} MiB",
            flush=True,
        )
    if rerun:
        _rerun(rerun)


def _job(output: Path, tiles: int) -> RegionJob:
    """A square region of about so many tiles, covered by scenes of two dates."""
    side = math.isqrt(tiles)
    region = Window(0, 0, side * TILE_PX, side * TILE_PX)
    # A hundredth of a metre a pixel: a region of so many tiles would not fit the zone otherwise.
    step = 0.01
    x, y = ORIGIN[0], ORIGIN[1]
    outline = shapely.box(x, y - side * TILE_PX * step, x + side * TILE_PX * step, y)
    grid = RegionGrid(CRS, step, x, y, TILE_PX, region, outline)
    across = math.isqrt(NUM_SCENES)
    size = side * TILE_PX * step / across

    def scenes(name: str) -> tuple[Scene, ...]:
        found = []
        for number in range(across * across):
            west, north = x + number % across * size, y - number // across * size
            box = shapely.box(west - 9, north - size - 9, west + size + 9, north + 9)
            footprint = shapely.to_wkb(Geometry(box, CRS).to_crs("EPSG:4326").geom)
            bands = (BandSource("red", f"/{name}{number}.tif", 1, 0.0, None),)
            when = datetime(2020, 1, 1, tzinfo=UTC)
            found.append(Scene(f"{name}{number}", "c", when, footprint, bands, CRS, 10.0, "/x", ""))
        return tuple(found)

    before, after = scenes("before"), scenes("after")
    identities = {one.bands[0].href: f"1220{one.id}" for one in (*before, *after)}
    path = NumericPath("cpu", "any", "float32", batch=16, threads=1, torch="any")
    return RegionJob(
        output, grid, checkpoint_spec(bands=("red",)), Path("c"), ChipLattice(64, 32), (999,), path,
        before, after, identities, "uint16", 1,
    )  # fmt: skip


def _write_ledger(output: Path, tiles: int) -> None:
    """Segments of 200,000 records each; one tile in a thousand has another key."""
    folder = output / "ledger" / "segments"
    folder.mkdir(parents=True)
    job, waiting, number = _job(output, tiles), [], 0
    for rows in job.grid.bands():
        places = job.grid.tiles_in(rows)
        keys = job.keys(places)
        for at in range(0, len(keys), 1000):
            keys[at] = "stale"
        count = len(keys)
        columns = {
            "fence": np.ones(count, np.int64), "row": places[:, 0], "col": places[:, 1],
            "key": keys, "status": ["done"] * count, "digest": keys,
        }  # fmt: skip
        empty = {field.name: [""] * count if field.type == pa.string() else np.zeros(count)
                 for field in SCHEMA}  # fmt: skip
        waiting.append(pa.table({**empty, **columns}).select(SCHEMA.names).cast(SCHEMA))
        if sum(map(len, waiting)) >= SEGMENT_ROWS:
            pq.write_table(
                pa.concat_tables(waiting), folder / f"{number:016x}.parquet",
                compression="zstd", row_group_size=GROUP_ROWS,
            )  # fmt: skip
            waiting, number = [], number + 1
    if waiting:
        pq.write_table(pa.concat_tables(waiting), folder / f"{number:016x}.parquet")


def _plan(output: Path, tiles: int) -> dict[str, float]:
    job, first = _job(output, tiles), None
    started = time.perf_counter()
    comparison = Comparison(job, Ledger(output))
    for _ in comparison.waves():
        first = first or time.perf_counter() - started
    return {
        "tiles": comparison.tiles, "missing": comparison.missing, "first_s": first or math.nan,
        "all_s": time.perf_counter() - started,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def _rerun(tiles: int) -> None:
    """The whole application on an output whose ledger says that all is done."""
    # Not at the top: the planning is measured without them.
    from noise2map_core.testing.scenes import write_catalog
    from tests.benchmarks.driver_memory import region_settings, write_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        catalog = write_catalog(root / "catalog", size_px=256)
        write_checkpoint(root / "checkpoint", catalog)
        settings = region_settings(root, catalog, tiles)
        config = root / "config.yaml"
        config.write_text(json.dumps(settings))  # JSON is YAML
        _mark_done(settings)
        command = [sys.executable, str(CHECKOUT / "pipelines" / "infer_region.py"), str(config)]
        for run in ("products alone", "nothing new"):
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            said = done.stdout.splitlines()[0]
            seconds = time.perf_counter() - started
            print(f"{run}: {seconds:.1f} s, Python's start included: {said}", flush=True)
        assert "Ray" not in done.stderr and "predict" not in done.stderr


def _mark_done(settings: dict[str, object]) -> None:
    """An output of an empty mosaic whose records say that every tile was made."""
    # As above.
    from noise2map_core.geo.aoi import read_aoi
    from noise2map_core.inference.planning import plan_job
    from noise2map_core.inference.provenance import class_table
    from noise2map_core.mapping.mosaic import Mosaic
    from noise2map_core.models.spec import read_spec
    from noise2map_core.workflows.infer_region import InferRegionConfig

    config = InferRegionConfig.model_validate(settings)
    job = plan_job(config, read_spec(config.checkpoint), read_aoi(config.aoi))
    mosaic = Mosaic.create(job.output / "mosaic.zarr", job.grid, class_table(job.task), job.layers)
    records = [
        TileRecord(t.row, t.col, job.key(t), "done", digest=mosaic.digest(t))
        for t in job.grid.tiles()
    ]
    ledger = Ledger(job.output)
    for at in range(0, len(records), 4):
        ledger.append(records[at : at + 4], fence=1)


if __name__ == "__main__":
    tyro.cli(main)
