"""Say what infer-region would do and take with the same arguments: tiles, bytes, time, memory.

A few tiles are made to measure, and thrown away; nothing is written.
"""

from dataclasses import dataclass

from noise2map_core.distributed.cluster.needs import predictor_needs, require_here
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.inference.estimate import RegionEstimate, estimate_region
from noise2map_core.inference.model import read_model
from noise2map_core.inference.planning import plan_job
from noise2map_core.workflows.tools.plan import PlanConfig


@dataclass(frozen=True)
class RegionPlan:
    """What a run would do."""

    estimate: RegionEstimate
    price_per_hour: float | None

    def summary(self) -> list[str]:
        """Lines for people."""
        return self.estimate.lines(self.price_per_hour)


def run(config: PlanConfig) -> RegionPlan:
    """What infer-region would take; raises what it would raise before its first tile."""
    require_here(predictor_needs(config.resources), config.resources)
    spec = read_model(config.checkpoint, config.search.bands, config)
    job = plan_job(config, spec, read_aoi(config.aoi))
    estimate = estimate_region(job, config.output, config.resources)
    return RegionPlan(estimate, config.price_per_hour)
