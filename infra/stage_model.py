"""What waits for what while a region is mapped: from measured costs of its stages to any cluster.

A stage takes a fixed time, CPU time of the driver for every tile and every polygon, and CPU time of
workers for these, where it hands work out; and no stage ends before its longest part, which one
worker makes alone. Costs come out of runs of several sizes, and of more and
fewer polygons, as `tests/benchmarks/stage_costs.py` makes them: CPU seconds, which other load moves
least.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

PREDICT = "predict"
"""The stage in which tiles are read, predicted and written, all at once."""
BOUNDED = frozenset({"search", "compare dates", "start Ray", "report"})
"""Stages that look at a picture of at most so many pixels, or at so many windows, whatever the
region, or at scenes: their work is one number, and no part of it goes with tiles."""
PACKAGE, DIGESTS = "GeoPackage", "digests"
"""A file that is not begun beyond a number of polygons, and files that are read from end to end."""
BESIDE = {
    PACKAGE: ("vector tiles", "survey"),
    DIGESTS: ("polygons", "vector tiles", "survey", "report"),
}
"""What one worker does alone while these stages go on, and is waited for behind them."""
GROWING = frozenset({PACKAGE, DIGESTS})
"""Stages whose longest part grows with the region; of others it is a tile, a block of a raster, or
a square of vector tiles, of at most so many pixels or polygons."""


@dataclass(frozen=True)
class Run:
    """CPU seconds of one run."""

    tiles: float
    """Whole ones that have as many pixels as the region."""
    chips: int
    polygons: int
    driver_s: dict[str, float]
    """Of the driver, by stage."""
    work_s: dict[str, float]
    """Of what may be handed out to workers, by stage; those of PREDICT are in `tile_s`."""
    tile_s: dict[str, float]
    """Of tiles: reading, predicting, writing."""
    alone_s: dict[str, float] = field(default_factory=dict)
    """Of `work_s`, the longest part of each piece of work, which no more workers make shorter."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(sum(part.values()) for part in (self.driver_s, self.work_s, self.tile_s))


@dataclass(frozen=True)
class Amount:
    """CPU seconds of one kind of process."""

    fixed_s: float = 0.0
    tile_s: float = 0.0
    """For a tile …"""
    polygon_s: float = 0.0
    """… and for a polygon."""

    @classmethod
    def fitted(cls, runs: Sequence[Run], seconds: Sequence[float]) -> "Amount":
        """By least squares of what is missed in shares; nothing takes less than no time."""
        known = np.array([[1.0, run.tiles, run.polygons] for run in runs])
        wanted = np.asarray(seconds, float)
        weight = 1 / np.maximum(wanted, 0.01)[:, None]
        found: NDArray[np.float64] = nnls(known * weight, (wanted[:, None] * weight)[:, 0])[0]
        return cls(*found.tolist())

    def seconds(self, tiles: float, polygons: float) -> float:
        """Of a region."""
        return self.fixed_s + tiles * self.tile_s + polygons * self.polygon_s


@dataclass(frozen=True)
class StageCost:
    """What a stage takes."""

    driver: Amount
    work: Amount
    """Of workers."""
    most_polygons: float | None = None
    """Beyond so many there is nothing to be done; None: however many there are."""
    alone: Amount = Amount()
    """Of workers, what one of them does."""

    @classmethod
    def fitted(cls, name: str, runs: Sequence[Run], most_packed: float) -> "StageCost":
        """Of a stage in several runs."""
        driver = [run.driver_s.get(name, 0.0) for run in runs]
        work = [run.work_s.get(name, 0.0) for run in runs]
        longest = [run.alone_s.get(name, 0.0) for run in runs]
        most = most_packed if name == PACKAGE else None
        alone = Amount.fitted(runs, longest) if name in GROWING else Amount(max(longest))
        if name in BOUNDED:
            return cls(Amount(float(np.mean(driver))), Amount(float(np.mean(work))), most, alone)
        return cls(Amount.fitted(runs, driver), Amount.fitted(runs, work), most, alone)

    def seconds(self, tiles: float, polygons: float) -> tuple[float, float]:
        """CPU seconds of the driver and of workers."""
        if self.is_left_out(polygons):
            return 0.0, 0.0
        return self.driver.seconds(tiles, polygons), self.work.seconds(tiles, polygons)

    def alone_seconds(self, tiles: float, polygons: float) -> float:
        """Of these of workers, those of one of them."""
        return 0.0 if self.is_left_out(polygons) else self.alone.seconds(tiles, polygons)

    def is_left_out(self, polygons: float) -> bool:
        """Whether there are more polygons than this is made of."""
        return self.most_polygons is not None and polygons > self.most_polygons


@dataclass(frozen=True)
class Costs:
    """Of all stages, for tiles of one size."""

    tile_px: int
    chips_a_tile: float
    polygons_a_tile: float
    stages: dict[str, StageCost]
    tile_s: dict[str, float]
    """Of a tile in the stage `predict`, by what is done with it; each keeps one worker busy."""

    @classmethod
    def fitted(cls, tile_px: int, runs: Sequence[Run], most_packed: float) -> "Costs":
        """Of several runs, the last of which is as regions are; `most_packed` is how many polygons
        a GeoPackage has at most."""
        tiles, last = sum(run.tiles for run in runs), runs[-1]
        names = dict.fromkeys([*last.driver_s, *last.work_s])
        return cls(
            tile_px,
            sum(run.chips for run in runs) / tiles,
            last.polygons / last.tiles,
            {name: StageCost.fitted(name, runs, most_packed) for name in names},
            {name: sum(run.tile_s[name] for run in runs) / tiles for name in last.tile_s},
        )

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Costs":
        """From JSON."""
        given = json.loads(path.read_text())
        stages = {
            name: StageCost(
                Amount(**one["driver"]), Amount(**one["work"]), one["most_polygons"],
                Amount(**one["alone"]),
            )
            for name, one in given.pop("stages").items()
        }  # fmt: skip
        return cls(**given, stages=stages)


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
    """Until the next one; of what goes on beside others, what is still to be waited for."""
    serial_s: float
    """Those that further workers do not make less: of the driver, and of one worker alone."""
    waits_for: str


def stage_times(
    costs: Costs, tiles: float, cluster: Cluster, polygons: float | None = None
) -> list[StageTime]:
    """Every stage, one after the other. The driver and its workers work at the same time.

    `polygons`: None: as many for a tile as where the costs were measured.
    """
    count = tiles * costs.polygons_a_tile if polygons is None else polygons
    times = [_time(name, costs, tiles, count, cluster) for name in costs.stages]
    taken = {stage.name: stage.seconds for stage in times}
    return [_less(stage, sum(taken.get(one, 0.0) for one in BESIDE.get(stage.name, ())))
            for stage in times]  # fmt: skip


def _less(stage: StageTime, beside_s: float) -> StageTime:
    """A stage that has gone on beside others for so long when it is waited for."""
    return replace(stage, seconds=max(0.0, stage.seconds - beside_s))


def _time(name: str, costs: Costs, tiles: float, polygons: float, cluster: Cluster) -> StageTime:
    """Of what goes on at once, the slowest decides."""
    cost = costs.stages[name]
    driver, work = cost.seconds(tiles, polygons)
    fixed = min(driver, cost.driver.fixed_s)
    alone = cost.alone_seconds(tiles, polygons)
    each = {"the driver": driver - fixed, "workers": work / cluster.cpus, "one worker": alone}
    if name == PREDICT:
        rate, tile = cluster.gpu_chips_s, costs.tile_s
        predict = costs.chips_a_tile / rate if rate else tile["predict"]
        each["predicting"] = tiles * predict / cluster.predictors
        writing = sum(tile.values()) - tile["predict"]
        each["reading, writing"] = tiles * writing / cluster.cpus
    slowest = max(each, key=each.__getitem__)
    return StageTime(name, fixed + each[slowest], fixed + max(driver - fixed, alone), slowest)


def cpu_seconds(costs: Costs, tiles: float, polygons: float) -> float:
    """CPU seconds of everything, driver and workers together."""
    stages = sum(sum(cost.seconds(tiles, polygons)) for cost in costs.stages.values())
    return stages + tiles * sum(costs.tile_s.values())
