"""What waits for what while a region is mapped: from measured costs of its stages to any cluster.

A stage takes a fixed time, CPU time of the driver for every tile, and CPU time of workers for every
tile, which are a stage's own where it hands work out. Costs come out of runs of two sizes and more,
as `tests/benchmarks/stage_costs.py` makes them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

PREDICT = "predict"
"""The stage in which tiles are read, predicted and written, all at once."""
OTHER = "start, end"
"""What no stage is: loading libraries, opening the output, ending."""


@dataclass(frozen=True)
class Run:
    """One run that was measured."""

    tiles: int
    chips: int
    cpus: int
    wall_s: float
    """From the start of the process to its end."""
    seconds: dict[str, float]
    """Wall-clock, of each stage."""
    driver_cpu_s: dict[str, float]
    """CPU seconds of the driver in it."""
    work_s: dict[str, float]
    """Of tiles, summed over workers: reading, predicting, writing, hashing."""
    start_s: float
    """Until the first tile was begun."""

    @classmethod
    def of(cls, manifest: dict[str, Any], cpus: int, wall_s: float) -> "Run":
        """Of what a run of infer-region says of itself."""
        told, seconds = manifest["throughput"], dict(manifest["seconds"])
        seconds[OTHER] = wall_s - sum(seconds.values())
        driver = {**manifest["driver_cpu_s"], OTHER: seconds[OTHER]}
        tiles = manifest["tiles"]["predicted"]
        return cls(
            tiles, told["chips"], cpus, wall_s, seconds, driver, told["work_s"], told["start_s"]
        )


@dataclass(frozen=True)
class StageCost:
    """What a stage takes."""

    fixed_s: float
    driver_s: float
    """CPU seconds of the driver, a tile."""
    work_s: float
    """CPU seconds of workers, a tile."""


@dataclass(frozen=True)
class Costs:
    """Of all stages, for tiles of one size."""

    tile_px: int
    chips_a_tile: float
    stages: dict[str, StageCost]
    tile_s: dict[str, float]
    """Of a tile in the stage `predict`, by what is done with it; each keeps one worker busy."""

    @classmethod
    def fitted(cls, tile_px: int, runs: Sequence[Run]) -> "Costs":
        """Lines through the runs, by least squares; nothing takes less than no time."""
        tiles = sum(run.tiles for run in runs)
        names = [name for name in runs[-1].seconds if name != PREDICT]
        stages = {name: _stage(name, runs) for name in names}
        starts = [run.start_s for run in runs]
        _, driver = _line(runs, [run.driver_cpu_s[PREDICT] for run in runs])
        stages[PREDICT] = StageCost(float(np.mean(starts)), driver, 0.0)
        tile_s = {name: sum(run.work_s[name] for run in runs) / tiles for name in runs[-1].work_s}
        return cls(tile_px, sum(run.chips for run in runs) / tiles, stages, tile_s)

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Costs":
        """From JSON."""
        given = json.loads(path.read_text())
        stages = {name: StageCost(**one) for name, one in given.pop("stages").items()}
        return cls(**given, stages=stages)


def _stage(name: str, runs: Sequence[Run]) -> StageCost:
    """What the driver's CPU time does not explain, workers did, on all CPUs."""
    fixed, each = _line(runs, [run.seconds.get(name, 0.0) for run in runs])
    _, driver = _line(runs, [run.driver_cpu_s.get(name, 0.0) for run in runs])
    driver = min(driver, each)
    return StageCost(fixed, driver, (each - driver) * runs[-1].cpus)


def _line(runs: Sequence[Run], seconds: Sequence[float]) -> tuple[float, float]:
    """Seconds without a tile, and for each; neither is negative."""
    tiles = np.asarray([run.tiles for run in runs], float)
    slope, fixed = np.polyfit(tiles, seconds, 1) if len(runs) > 1 else (seconds[0] / tiles[0], 0.0)
    if fixed < 0:
        return 0.0, float(np.sum(tiles * seconds) / np.sum(tiles**2))
    return (float(fixed), float(slope)) if slope > 0 else (float(np.mean(seconds)), 0.0)


@dataclass(frozen=True)
class Cluster:
    """Where a region is mapped."""

    cpus: int
    """That read and write while others predict."""
    predictors: int
    """GPUs; without `gpu_chips_s`, further CPUs."""
    gpu_chips_s: float | None = None
    """Chips a second of one GPU."""

    @property
    def all_cpus(self) -> int:
        """That make products."""
        return self.cpus + (self.predictors if self.gpu_chips_s is None else 0)


@dataclass(frozen=True)
class StageTime:
    """What a stage takes somewhere."""

    name: str
    seconds: float
    serial_s: float
    """Of these, those that further workers do not make less."""
    waits_for: str


def stage_times(costs: Costs, tiles: float, cluster: Cluster) -> list[StageTime]:
    """Every stage, one after the other."""
    rest = [
        StageTime(
            name,
            cost.fixed_s + tiles * (cost.driver_s + cost.work_s / cluster.all_cpus),
            cost.fixed_s + tiles * cost.driver_s,
            "workers" if cost.work_s / cluster.all_cpus > cost.driver_s else "the driver",
        )
        for name, cost in costs.stages.items()
        if name != PREDICT
    ]
    return [_predicting(costs, tiles, cluster), *rest]


def _predicting(costs: Costs, tiles: float, cluster: Cluster) -> StageTime:
    """Of what goes on at once, the slowest decides."""
    cost, tile = costs.stages[PREDICT], costs.tile_s
    rate = cluster.gpu_chips_s
    each = {
        "predicting": (costs.chips_a_tile / rate if rate else tile["predict"]) / cluster.predictors,
        "reading, writing": (sum(tile.values()) - tile["predict"]) / cluster.cpus,
        "the driver": cost.driver_s,
    }
    slowest = max(each, key=each.__getitem__)
    return StageTime(
        PREDICT, cost.fixed_s + tiles * each[slowest], cost.fixed_s + tiles * cost.driver_s, slowest
    )
