"""Say what infer-region would do and take with the same arguments: tiles, bytes, time, memory.

A few tiles are made to measure, and thrown away; nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from noise2map_core.catalog.scene import Scene
from noise2map_core.distributed.cluster.needs import predictor_needs, require_here
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.imagery.best_day import ChosenDate, choose_dates, with_chosen
from noise2map_core.inference.estimate import RegionEstimate, estimate_region
from noise2map_core.inference.model import read_model
from noise2map_core.inference.planning import plan_job
from noise2map_core.inference.region import RegionJob
from noise2map_core.workflows.tools.plan import PlanConfig

MOST_SCENES = 10
"""Of a date, that are named."""


@dataclass(frozen=True)
class RegionPlan:
    """What a run would do."""

    estimate: RegionEstimate
    job: RegionJob
    chosen: list[ChosenDate]
    price_per_hour: float | None

    def summary(self) -> list[str]:
        """Lines for people."""
        return [
            *(one.line for one in self.chosen),
            *self.estimate.lines(self.price_per_hour),
            *_scene_lines("before", self.job.before),
            *_scene_lines("after", self.job.after),
        ]


def run(config: PlanConfig) -> RegionPlan:
    """What infer-region would take; raises what it would raise before its first tile."""
    require_here(predictor_needs(config.resources), config.resources)
    spec = read_model(config.checkpoint, config.search.bands, config)
    aoi = read_aoi(config.aoi)
    chosen = choose_dates(config.search, aoi, config.before, config.after, spec.bands, config.mask)
    job = plan_job(with_chosen(config, chosen), spec, aoi)
    estimate = estimate_region(job, config.output, config.resources)
    return RegionPlan(estimate, job, chosen, config.price_per_hour)


def _scene_lines(name: str, scenes: Sequence[Scene]) -> list[str]:
    shown = [f"{name:8} {scene.id}" for scene in scenes[:MOST_SCENES]]
    more = len(scenes) - MOST_SCENES
    return [*shown, f"{name:8} … and {more} more"] if more > 0 else shown
