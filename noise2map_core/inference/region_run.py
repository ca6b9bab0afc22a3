"""A run: what it set out to do, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import Tile
from noise2map_core.imagery.best_day import ChosenDate
from noise2map_core.imagery.pair_plan import PairPlan
from noise2map_core.inference.comparison import Comparison
from noise2map_core.inference.doubts import MAX_SHOWN
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.mapping.mosaic import NO_DECISION, NO_PROBABILITY, Mosaic, Reason, TileMap
from noise2map_core.mapping.throughput import Throughput
from noise2map_core.runtime.errors import IncompleteRegionError
from noise2map_core.runtime.stopwatch import Stopwatch
from noise2map_core.workflows.infer_region import InferRegionConfig


@dataclass
class TileWork:
    """What became of the tiles of a run; the driver's memory does not grow with them."""

    throughput: Throughput = field(default_factory=Throughput)
    failed: list[TileRecord] = field(default_factory=list)

    def add(self, record: TileRecord, at_s: float) -> None:
        """Count a tile that was there `at_s` seconds after the start of the work."""
        if record.status == "failed":
            self.failed.append(record)
        else:
            self.throughput.add(record, at_s)


@dataclass
class RegionRun:
    """One run on an output that it holds."""

    config: InferRegionConfig
    job: RegionJob
    aoi: AreaOfInterest
    mosaic: Mosaic
    comparison: Comparison
    watch: Stopwatch
    recheck: bool = False
    """Whether what is kept is read and compared with its digests."""
    chosen: Sequence[ChosenDate] = ()
    """Dates that were left to the imagery."""
    work: TileWork = field(default_factory=TileWork)
    pair: PairPlan | None = None
    """None: nothing was to be predicted, so the dates were not compared."""

    def compare_again(self) -> Comparison:
        """The region against its ledger and its mosaic as they are now."""
        return Comparison(self.job, Ledger(self.config.output), self.job.shards)

    def mark_holes(self) -> None:
        """Mark what failed as holes in the map. Raises IncompleteRegionError unless they are
        allowed."""
        if not self.config.allow_incomplete:
            self.require_complete("no map was made")
        for record in self.work.failed:
            self.mosaic.write(record.tile, hole(self.job, record.tile))

    def require_complete(self, outcome: str) -> None:
        """Raise IncompleteRegionError if tiles failed: how many, why, the outcome, what to do."""
        failed = self.work.failed
        if not failed:
            return
        shown = "; ".join(f"{record.tile}: {record.reason}" for record in failed[:MAX_SHOWN])
        more = f" … and {len(failed) - MAX_SHOWN} more" if len(failed) > MAX_SHOWN else ""
        raise IncompleteRegionError(
            f"{len(failed)} tiles of {self.job.output} failed: {shown}{more}. What is done is kept "
            f"and {outcome}; repair the sources and run the same command again."
        )


def hole(job: RegionJob, tile: Tile) -> TileMap:
    """A tile that could not be made: no decision, and the reason READ_FAILED."""
    inside = job.inside(tile)
    nothing = np.full(inside.shape, NO_PROBABILITY, np.uint16)
    return TileMap(
        classes=np.full(inside.shape, NO_DECISION, np.uint8),
        probability=nothing,
        valid=np.zeros(inside.shape, np.bool_),
        reason=np.where(inside, Reason.READ_FAILED, Reason.OUTSIDE).astype(np.uint8),
        disagreement=nothing if "disagreement" in job.layers else None,
        direction=np.full(inside.shape, NO_DECISION, np.uint8)
        if "direction" in job.layers
        else None,
    )
