"""What the stages of a map take, as `infra/scale.py stages` wants them, and whether it is right.

Invented scenes of several sizes, mapped by `infer-region` in this process, by the code of driver
and workers: CPU seconds of each stage, those apart that may be handed out to workers. Costs are
lines through the runs of `sizes`; the run of `check` is not in them, and stands beside what they
say of it. `--real` maps that size by the command, too, with Ray, and tells its seconds.

    python tests/benchmarks/stage_costs.py [--sizes 1024 2048] [--check 4096] [--output FILE]
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # neither is installed

from infra.stage_model import PREDICT, Cluster, Costs, Run, cpu_seconds, stage_times
from noise2map_core.distributed.prediction import PredictingWorker, _read_row, writer_of
from noise2map_core.inference.estimate import START_S
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import TileRecord
from noise2map_core.runtime.mapper import Made
from noise2map_core.runtime.stopwatch import Stopwatch
from noise2map_core.settings.reading import build_config, read_settings
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines import infer_region
from tests.large_region import CHECKOUT, Change, infer_command, train_checkpoint, write_scenes
from tests.measure import measured
from tests.region_in_process import in_process

DISTRIBUTED = "noise2map_core.distributed"


def main(
    sizes: tuple[int, ...] = (1024, 2048),
    check: int = 4096,
    tile_px: int = 512,
    preset: str = "cheap",
    real: bool = False,
    output: Path | None = None,
) -> None:
    """Print the costs, and the largest run beside what they say of it.

    Args:
        preset: Of the network; "cheap" computes almost nothing, so that the rest is measured.
        output: Where the costs go, as JSON.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        train_checkpoint(root / "network", Change(), preset)
        runs = [_run(root, size, tile_px) for size in (*sizes, check)]
        costs = Costs.fitted(tile_px, runs[:-1])
        print(costs.dump())
        if output is not None:
            output.write_text(costs.dump())
        _compare(costs, runs[-1])
        if real:
            _tell_real(root, check, tile_px, costs, runs[-1].tiles)


def _run(root: Path, size: int, tile_px: int) -> Run:
    """One region in this process."""
    config, clock = _config(root, size, tile_px, "here"), Clock()
    with in_process(), clock.counting():
        infer_region.run(config)
    manifest = json.loads((config.output / "manifest.json").read_text())
    run = clock.run(manifest)
    print(f"{size}²: {run.tiles} tiles, {run.seconds:.1f} CPU s", flush=True)
    return run


def _config(root: Path, size: int, tile_px: int, name: str) -> InferRegionConfig:
    folder, output = root / f"scenes{size}", root / f"{name}{size}"
    if not folder.exists():
        write_scenes(folder, size, Change())
    settings = {"grid": {"tile_px": tile_px}, "resources": {"num_cpus": 2, "predictor_gpus": 0}}
    *_, path = infer_command(folder, root / "network", output, settings)
    config = build_config(InferRegionConfig, read_settings(Path(path)), {})
    assert isinstance(config, InferRegionConfig)
    return config


class Clock:
    """CPU seconds of what workers would do, in a run in this process."""

    def __init__(self) -> None:
        self._stage, self._start_s = "", 0.0
        self._tile_s, self._handed_s = Counter[str](), Counter[str]()
        """Of tiles by what is done with them, of parts of products by stage."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        """While this is open, they are counted."""
        stage = Stopwatch.stage

        def noted(watch: Stopwatch, name: str) -> AbstractContextManager[None]:
            self._stage = name
            return stage(watch, name)

        with (
            patch.object(Stopwatch, "stage", noted),
            patch(f"{DISTRIBUTED}.region.predict_tiles", self._predicted),
            patch(f"{DISTRIBUTED}.tasks.mapper_for", lambda *_: nullcontext(self._mapped)),
        ):
            yield

    def _mapped(self, make: Callable[[Any], Made], parts: Iterable[Any], /) -> Iterator[Made]:
        """As a cluster's `Mapper`, whose work is not the driver's."""
        for part in parts:
            begun = time.process_time()
            made = make(part)
            self._handed_s[self._stage] += time.process_time() - begun
            yield made

    def _predicted(self, job: RegionJob, tiles: Any, _: object) -> Iterator[TileRecord]:
        begun = time.process_time()
        predict, write = PredictingWorker(job), writer_of(job)
        self._start_s = time.process_time() - begun  # of a worker
        for row, col in tiles.tolist():
            with self._timed("read"):
                read = _read_row(job, "nobody", row, col)
            with self._timed("predict"):
                made = predict({name: np.array(values) for name, values in read.items()})
            with self._timed("write"):
                told = write({name: np.asarray(values) for name, values in made.items()})
            names = [field.name for field in fields(TileRecord)]
            yield TileRecord(**{name: told[name][0] for name in names})

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self._tile_s[name] += time.process_time() - begun

    def run(self, manifest: dict[str, Any]) -> Run:
        """What was counted, and what the run says of itself."""
        driver = manifest["driver_cpu_s"] | {"start Ray": START_S}
        driver[PREDICT] -= sum(self._tile_s.values()) + self._start_s
        for name, seconds in self._handed_s.items():
            driver[name] -= seconds
        chips, tiles = manifest["throughput"]["chips"], manifest["tiles"]["predicted"]
        return Run(tiles, chips, driver, dict(self._handed_s), dict(self._tile_s))


def _compare(costs: Costs, run: Run) -> None:
    """Print what the costs say of a run that is not in them, beside what was measured."""
    said = {name: cost.fixed_s + run.tiles * cost.driver_s for name, cost in costs.stages.items()}
    print(f"{run.tiles} tiles of {costs.tile_px}²; CPU seconds: model, measured")
    for name, cost in costs.stages.items():
        of_all = said[name] + run.tiles * cost.work_s
        print(f"  {name:20} {of_all:8.2f} {run.driver_s[name] + run.work_s.get(name, 0.0):8.2f}")
    for name, seconds in costs.tile_s.items():
        print(f"  {name:20} {run.tiles * seconds:8.2f} {run.tile_s[name]:8.2f}")
    whole = cpu_seconds(costs, run.tiles)
    print(f"  {'all':20} {whole:8.2f} {run.seconds:8.2f}   ratio {whole / run.seconds:.2f}")


def _tell_real(root: Path, size: int, tile_px: int, costs: Costs, tiles: int) -> None:
    """Print the seconds of the command on two CPUs, beside what the costs say of it."""
    config = _config(root, size, tile_px, "real")
    script = str(CHECKOUT / "pipelines" / "infer_region.py")
    found = measured([sys.executable, script, str(config.output.with_suffix(".yaml"))])
    said = sum(stage.seconds for stage in stage_times(costs, tiles, Cluster(1, 1)))
    told = json.loads((config.output / "manifest.json").read_text())["seconds"]
    print(f"the command: {found.seconds:.0f} s, {sum(told.values()):.0f} s in stages: {told}")
    print(f"the model: {said:.0f} s in stages")


if __name__ == "__main__":
    tyro.cli(main)
