"""Say what infer-region would do and take with the same arguments: tiles, bytes, time, memory.

A few tiles are made to measure, and thrown away; nothing is written but, with --previews, a sheet
of pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.distributed.cluster.gpus import with_gpus
from noise2map_core.geo.aoi import AreaOfInterest, read_aoi
from noise2map_core.imagery.best_day import ChosenDate, choose_dates, with_chosen
from noise2map_core.imagery.days import CoarseArea, Day, days_of
from noise2map_core.imagery.preview import write_days
from noise2map_core.inference.estimate import RegionEstimate, estimate_region
from noise2map_core.inference.model import read_model
from noise2map_core.inference.planning import plan_job
from noise2map_core.inference.region import RegionJob
from noise2map_core.settings.imagery import MaskConfig
from noise2map_core.workflows.tools.plan import PlanConfig

MOST_SCENES = 10
"""Of a date, that are named."""
RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class RegionPlan:
    """What a run would do."""

    estimate: RegionEstimate
    job: RegionJob
    chosen: list[ChosenDate]
    price_per_hour: float | None
    previews: Path | None = None
    """Pictures of the days, if they were asked for."""

    def summary(self) -> list[str]:
        """Lines for people."""
        return [
            *(one.line for one in self.chosen),
            *self.estimate.lines(self.price_per_hour),
            *_scene_lines("before", self.job.before),
            *_scene_lines("after", self.job.after),
            *([f"pictures {self.previews}"] if self.previews else []),
        ]


def run(config: PlanConfig) -> RegionPlan:
    """What infer-region would take; raises what it would raise before its first tile."""
    config = with_gpus(config)
    spec = read_model(config.checkpoint, config.search.bands, config)
    aoi = read_aoi(config.aoi)
    chosen = choose_dates(config.search, aoi, config.before, config.after, spec.bands, config.mask)
    job = plan_job(with_chosen(config, chosen), spec, aoi)
    if config.previews is not None:
        _draw(config.previews, job, aoi, config.mask)
    estimate = estimate_region(job, config.output, config.resources)
    return RegionPlan(estimate, job, chosen, config.price_per_hour, config.previews)


def _draw(path: Path, job: RegionJob, aoi: AreaOfInterest, mask: MaskConfig) -> None:
    """Small pictures of the days of both dates, of red, green and blue where there are such."""
    coarse, days = CoarseArea.of(aoi), list[tuple[str, Day]]()
    for name, scenes in (("before", job.before), ("after", job.after)):
        shown = [replace(scene, bands=_as_seen(scene.bands)) for scene in scenes]
        days += [(f"{name} {day.day}", day) for day in days_of(shown, aoi, mask, coarse)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_days(path, days, coarse, aoi.name)


def _as_seen(bands: tuple[BandSource, ...]) -> tuple[BandSource, ...]:
    found = {band.name: band for band in bands}
    return tuple(found[name] for name in RGB) if found.keys() >= set(RGB) else bands


def _scene_lines(name: str, scenes: Sequence[Scene]) -> list[str]:
    shown = [f"{name:8} {scene.id}" for scene in scenes[:MOST_SCENES]]
    more = len(scenes) - MOST_SCENES
    return [*shown, f"{name:8} … and {more} more"] if more > 0 else shown
