"""A run: what it set out to do, and what became of it."""

from dataclasses import dataclass, field

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.imagery.pair_plan import PairPlan
from noise2map_core.inference.comparison import Comparison
from noise2map_core.inference.doubts import MAX_SHOWN
from noise2map_core.inference.holes import mark_holes
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.throughput import Throughput
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.mapping.mosaic import Mosaic
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
        mark_holes(self.job, self.mosaic, self.work.failed)

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
