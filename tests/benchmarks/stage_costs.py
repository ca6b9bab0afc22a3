"""What the stages of a map take, as `infra/scale.py stages` wants them, and whether it is right.

Invented scenes of several sizes, mapped by `infer-region` in this process, by the code of driver
and workers: CPU seconds of each stage, those apart that may be handed out to workers. Costs are
fitted to the runs of `sizes`, and to one of the first size with more changes; the run of `check` is
not in them, and stands beside what they say of it. `--real` maps that size by the command, too,
with Ray, and tells its seconds.

With `--sampled`, so many tiles of a region are read and predicted, whole ones first, and the others
count for as much. What is written, of all tiles, is the truth: all that follows is done of a whole
map. Only that lets a region be large where the network takes most of the time.

    python tests/benchmarks/stage_costs.py [--sizes 1024 2048] [--check 4096] [--output FILE]
"""

import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # neither is installed

from infra.stage_model import (
    DIGESTS,
    PACKAGE,
    PREDICT,
    Cluster,
    Costs,
    Run,
    cpu_seconds,
    stage_times,
)
from noise2map_core.distributed.prediction import MAP, PredictingWorker, _read_row, writer_of
from noise2map_core.geo.grid import Tile
from noise2map_core.inference.estimate import START_S
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import TileRecord
from noise2map_core.mapping.mosaic import NO_DECISION, NO_PROBABILITY, Reason, TileMap
from noise2map_core.products.bundle import MOST_IN_PACKAGE
from noise2map_core.products.manifest import stated_if_seen
from noise2map_core.runtime.mapper import Beside, Made
from noise2map_core.runtime.stopwatch import Stopwatch
from noise2map_core.settings.reading import build_config, read_settings
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines import infer_region
from tests.large_region import (
    CHANGE_PX,
    CHECKOUT,
    GROUND_PX,
    Change,
    changes,
    ground,
    infer_command,
    train_checkpoint,
    write_scenes,
)
from tests.measure import measured
from tests.region_in_process import in_process

DISTRIBUTED = "noise2map_core.distributed"
FEW, MANY = Change(), Change(blob_px=3.0, share=0.04)
"""More and smaller changes: what goes with polygons is told from what goes with pixels."""


def main(
    sizes: tuple[int, ...] = (1024, 2048),
    check: int = 4096,
    tile_px: int = 512,
    preset: str = "cheap",
    real: bool = False,
    sampled: int | None = None,
    output: Path | None = None,
) -> None:
    """Print the costs, and the largest run beside what they say of it.

    Args:
        preset: Of the network; "cheap" computes almost nothing, so that the rest is measured.
        sampled: Tiles of a region that are read and predicted; None: all.
        output: Where the costs go, as JSON.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        train_checkpoint(root / "network", FEW, preset, steps=1 if sampled else 80)
        plan = [(sizes[0], MANY), *((size, FEW) for size in (*sizes, check))]
        runs = [_run(root, size, tile_px, change, sampled) for size, change in plan]
        costs = Costs.fitted(tile_px, runs[:-1], MOST_IN_PACKAGE)
        print(costs.dump())
        if output is not None:
            output.write_text(costs.dump())
        _compare(costs, runs[-1])
        if real:
            _tell_real(root, check, tile_px, costs, runs[-1])


def _run(root: Path, size: int, tile_px: int, change: Change, sampled: int | None) -> Run:
    """One region in this process."""
    config, clock = _config(root, size, tile_px, "here", change), Clock(sampled, change)
    with in_process(), clock.counting():
        infer_region.run(config)
    run = clock.run(json.loads((config.output / "manifest.json").read_text()))
    print(f"{size}²: {asdict(run)}, {run.seconds:.1f} CPU s", flush=True)
    shutil.rmtree(config.output)
    return run


def _config(
    root: Path, size: int, tile_px: int, name: str, change: Change = FEW
) -> InferRegionConfig:
    folder, output = root / f"scenes{size}-{change.share}", root / f"{name}{size}-{change.share}"
    if not folder.exists():
        write_scenes(folder, size, change)
    settings = {"grid": {"tile_px": tile_px}, "resources": {"num_cpus": 2, "predictor_gpus": 0}}
    *_, path = infer_command(folder, root / "network", output, settings)
    config = build_config(InferRegionConfig, read_settings(Path(path)), {})
    assert isinstance(config, InferRegionConfig)
    return config


class Clock:
    """CPU seconds of what workers would do, in a run in this process."""

    def __init__(self, sampled: int | None, change: Change) -> None:
        self._sampled, self._change, self._stage, self._start_s = sampled, change, "", 0.0
        self._run_s = self._tiles = 0.0
        self._tile_s, self._handed_s = Counter[str](), Counter[str]()
        """Of tiles by what is done with them, of parts of products by stage …"""
        self._within_s, self._alone_s = Counter[str](), Counter[str]()
        """… the same by the stage in which they were made here, and the longest ones."""
        self._drawn_s = 0.0
        """Of the truth: no work of a run …"""
        self._saved_s = 0.0
        """… as it would have been to predict all tiles."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        """While this is open, they are counted."""
        stage, begun = Stopwatch.stage, time.process_time()

        @contextmanager
        def noted(watch: Stopwatch, name: str) -> Iterator[None]:
            outer, self._stage = self._stage, name
            with stage(watch, name):
                yield
            self._stage = outer

        with (
            patch.object(Stopwatch, "stage", noted),
            patch(f"{DISTRIBUTED}.region.predict_tiles", self._predicted),
            patch(f"{DISTRIBUTED}.tasks.mapper_for", lambda *_: nullcontext(self._mapped)),
            patch.object(Beside, "begin", lambda _, make, part: self._beside(make, part)),
        ):
            yield
        self._run_s = time.process_time() - begun

    def _mapped(self, make: Callable[[Any], Made], parts: Iterable[Any], /) -> Iterator[Made]:
        """As a cluster's `Mapper`, whose work is not the driver's."""
        stage, longest = self._stage, 0.0
        for part in parts:
            begun = time.process_time()
            made = make(part)
            longest = max(longest, self._handed(stage, begun))
            yield made
        self._alone_s[stage] += longest

    def _handed(self, stage: str, begun: float) -> float:
        """Count what was made since then as handed out by a stage."""
        spent = time.process_time() - begun
        self._handed_s[stage] += spent
        self._within_s[self._stage] += spent
        return spent

    def _beside(self, make: Callable[[Any], Made], part: Any) -> "Future[Made]":
        """As `Beside.begin`, but at once: in one process, what goes on beside others counts with
        them."""
        stage, begun = DIGESTS if make is stated_if_seen else PACKAGE, time.process_time()
        done = Future[Made]()
        done.set_result(make(part))
        # Files are hashed at once, and the largest takes longest.
        self._alone_s[stage] = max(self._alone_s[stage], self._handed(stage, begun))
        return done

    def _predicted(self, job: RegionJob, tiles: Any, _: object) -> Iterator[TileRecord]:
        begun = time.process_time()
        predict, write = PredictingWorker(job), writer_of(job)
        self._start_s = time.process_time() - begun  # of a worker
        made: dict[str, Any] = {}
        for number, tile in enumerate(self._whole_first(job, tiles)):
            if self._sampled is None or number < self._sampled:
                made = self._made(job, predict, tile)
            if self._sampled is not None:
                with self._timed("drawn"):
                    made = _drawn(job, made, tile, self._change)
            with self._timed("write"):
                told = write({name: np.asarray(values) for name, values in made.items()})
            names = [field.name for field in fields(TileRecord)]
            yield TileRecord(**{name: told[name][0] for name in names})
        self._scale(_tiles_of(job))

    def _whole_first(self, job: RegionJob, tiles: Any) -> list[Tile]:
        """The tiles, those that lie whole within the region before others if some are sampled."""
        found = [Tile(row, col) for row, col in tiles.tolist()]
        if self._sampled is None:
            return found
        return sorted(found, key=lambda tile: not _is_whole(job, tile))

    def _made(self, job: RegionJob, predict: PredictingWorker, tile: Tile) -> dict[str, Any]:
        with self._timed("read"):
            read = _read_row(job, "nobody", tile.row, tile.col)
        with self._timed("predict"):
            return predict({name: np.array(values) for name, values in read.items()})

    def _scale(self, tiles: float) -> None:
        """Count all tiles as those that were read and predicted."""
        self._tiles, self._drawn_s = tiles, self._tile_s.pop("drawn", 0.0)
        if self._sampled is None:
            return
        for name in ("read", "predict"):
            whole = self._tile_s[name] * tiles / self._sampled
            self._saved_s += whole - self._tile_s[name]
            self._tile_s[name] = whole

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self._tile_s[name] += time.process_time() - begun

    def run(self, manifest: dict[str, Any]) -> Run:
        """What was counted, and what the run says of itself; what it does outside of any stage is
        its rest."""
        driver = manifest["driver_cpu_s"]
        done = sum(self._tile_s.values()) - self._saved_s + self._drawn_s
        driver["rest"] = max(0.0, self._run_s - sum(driver.values()))
        driver[PREDICT] -= done + self._start_s
        for name, seconds in self._within_s.items():
            driver[name or "rest"] -= seconds
        driver["start Ray"] = START_S
        chips = manifest["throughput"]["chips"] / manifest["tiles"]["predicted"]
        return Run(
            self._tiles, round(chips * self._tiles),
            manifest["figures"]["polygons"], driver, dict(self._handed_s), dict(self._tile_s),
            dict(self._alone_s),
        )  # fmt: skip


def _tiles_of(job: RegionJob) -> float:
    """So many whole ones have the region's pixels: those at its edge have fewer."""
    region = job.grid.region
    return region.height * region.width / job.grid.tile_px**2


def _is_whole(job: RegionJob, tile: Tile) -> bool:
    window = job.grid.window(tile)
    return window.intersect(job.grid.region) == window


def _drawn(job: RegionJob, made: dict[str, Any], tile: Tile, change: Change) -> dict[str, Any]:
    """What was made of some tile as the truth of another one; nothing is decided beyond the
    region."""
    window, region = job.grid.window(tile), job.grid.region
    rows, cols = (
        np.arange(start - first, start - first + job.grid.tile_px)
        for start, first in ((window.row, region.row), (window.col, region.col))
    )
    there = changes(change)[np.ix_(rows % CHANGE_PX, cols % CHANGE_PX)]
    likely = 2000 + 4000 * there + 10 * ground()[0][np.ix_(rows % GROUND_PX, cols % GROUND_PX)]
    inside = np.zeros(there.shape, np.bool_)
    inside[window.intersect(region).slices_in(window)] = True
    drawn = TileMap(
        np.where(inside, there, NO_DECISION).astype(np.uint8),
        np.where(inside, likely, NO_PROBABILITY).astype(np.uint16),
        inside,
        np.where(inside, Reason.DECIDED, Reason.OUTSIDE).astype(np.uint8),
    )
    pixels = {f"{MAP}{name}": values[None] for name, values in drawn.arrays().items()}
    return {**made, **pixels, "row": [tile.row], "col": [tile.col], "key": [job.key(tile)]}


def _compare(costs: Costs, run: Run) -> None:
    """Print what the costs say of a run that is not in them, beside what was measured."""
    print(f"{run.tiles:,.0f} tiles of {costs.tile_px}², {run.polygons:,} polygons")
    print("CPU seconds of the driver and of workers: model, measured")
    for name, cost in costs.stages.items():
        driver, work = cost.seconds(run.tiles, run.polygons)
        measured_s = run.driver_s.get(name, 0.0), run.work_s.get(name, 0.0)
        print(f"  {name:14} {driver:8.2f} {measured_s[0]:8.2f}   {work:8.2f} {measured_s[1]:8.2f}")
    print("and of one worker alone")
    for name, cost in costs.stages.items():
        alone = cost.alone_seconds(run.tiles, run.polygons)
        print(f"  {name:14} {alone:8.2f} {run.alone_s.get(name, 0.0):8.2f}")
    print("and of tiles")
    for name, seconds in costs.tile_s.items():
        print(f"  {name:14} {'':19} {run.tiles * seconds:8.2f} {run.tile_s[name]:8.2f}")
    whole = cpu_seconds(costs, run.tiles, run.polygons)
    print(f"  {'all':14} {whole:8.2f} {run.seconds:8.2f}   ratio {whole / run.seconds:.2f}")


def _tell_real(root: Path, size: int, tile_px: int, costs: Costs, run: Run) -> None:
    """Print the seconds of the command on two CPUs, beside what the costs say of it."""
    config = _config(root, size, tile_px, "real")
    script = str(CHECKOUT / "pipelines" / "infer_region.py")
    found = measured([sys.executable, script, str(config.output.with_suffix(".yaml"))])
    times = stage_times(costs, run.tiles, Cluster(1, 1), run.polygons)
    told = json.loads((config.output / "manifest.json").read_text())["seconds"]
    print(f"the command: {found.seconds:.0f} s, {sum(told.values()):.0f} s in stages: {told}")
    print(f"the model: {sum(stage.seconds for stage in times):.0f} s in stages")


if __name__ == "__main__":
    tyro.cli(main)
