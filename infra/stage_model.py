"""What waits for what while a region is mapped: from measured costs of its stages to any cluster.

A stage takes a fixed time, CPU time of the driver for every tile, and CPU time of workers for every
tile, where it hands work out. Costs come out of runs of two sizes and more, as
`tests/benchmarks/stage_costs.py` makes them: CPU seconds, which other load moves least.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

PREDICT = "predict"
"""The stage in which tiles are read, predicted and written, all at once."""


@dataclass(frozen=True)
class Run:
    """CPU seconds of one run."""

    tiles: int
    chips: int
    driver_s: dict[str, float]
    """Of the driver, by stage."""
    work_s: dict[str, float]
    """Of what may be handed out to workers, by stage; those of PREDICT are in `tile_s`."""
    tile_s: dict[str, float]
    """Of tiles: reading, predicting, writing."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(sum(part.values()) for part in (self.driver_s, self.work_s, self.tile_s))


@dataclass(frozen=True)
class StageCost:
    """What a stage takes."""

    fixed_s: float
    driver_s: float
    """CPU seconds of the driver, a tile."""
    work_s: float = 0.0
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

        def mean(part: str, name: str) -> float:
            return float(sum(getattr(run, part).get(name, 0.0) for run in runs) / tiles)

        return cls(
            tile_px,
            sum(run.chips for run in runs) / tiles,
            {
                name: StageCost(*_line(runs, name), mean("work_s", name))
                for name in runs[-1].driver_s
            },
            {name: mean("tile_s", name) for name in runs[-1].tile_s},
        )

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Costs":
        """From JSON."""
        given = json.loads(path.read_text())
        stages = {name: StageCost(**one) for name, one in given.pop("stages").items()}
        return cls(**given, stages=stages)


def _line(runs: Sequence[Run], name: str) -> tuple[float, float]:
    """Seconds of the driver without a tile, and for each; neither is negative."""
    tiles = np.asarray([run.tiles for run in runs], float)
    seconds = np.asarray([run.driver_s.get(name, 0.0) for run in runs])
    if len(runs) == 1:
        return 0.0, float(seconds[0] / tiles[0])
    slope, fixed = np.polyfit(tiles, seconds, 1)
    if fixed < 0:
        return 0.0, float(np.sum(tiles * seconds) / np.sum(tiles**2))
    return (float(fixed), float(slope)) if slope > 0 else (float(np.mean(seconds)), 0.0)


@dataclass(frozen=True)
class Cluster:
    """Where a region is mapped."""

    cpus: int
    """That read and write while others predict, and make products."""
    predictors: int
    """GPUs; without `gpu_chips_s`, further CPUs."""
    gpu_chips_s: float | None = None
    """Chips a second of one GPU."""


@dataclass(frozen=True)
class StageTime:
    """What a stage takes somewhere."""

    name: str
    seconds: float
    serial_s: float
    """Of these, those that further workers do not make less."""
    waits_for: str


def stage_times(costs: Costs, tiles: float, cluster: Cluster) -> list[StageTime]:
    """Every stage, one after the other. The driver and its workers work at the same time."""
    return [_time(name, cost, costs, tiles, cluster) for name, cost in costs.stages.items()]


def _time(name: str, cost: StageCost, costs: Costs, tiles: float, cluster: Cluster) -> StageTime:
    """Of what goes on at once, the slowest decides."""
    each = {"the driver": cost.driver_s, "workers": cost.work_s / cluster.cpus}
    if name == PREDICT:
        rate, tile = cluster.gpu_chips_s, costs.tile_s
        predict = costs.chips_a_tile / rate if rate else tile["predict"]
        each["predicting"] = predict / cluster.predictors
        each["reading, writing"] = (sum(tile.values()) - tile["predict"]) / cluster.cpus
    slowest = max(each, key=each.__getitem__)
    serial = cost.fixed_s + tiles * cost.driver_s
    return StageTime(name, cost.fixed_s + tiles * each[slowest], serial, slowest)


def cpu_seconds(costs: Costs, tiles: float) -> float:
    """CPU seconds of everything, driver and workers together."""
    each = sum(cost.driver_s + cost.work_s for cost in costs.stages.values())
    fixed = sum(cost.fixed_s for cost in costs.stages.values())
    return fixed + tiles * (each + sum(costs.tile_s.values()))
