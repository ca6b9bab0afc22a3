"""Map one area of interest, from a STAC catalogue and a checkpoint: change, or classes."""

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("infer-region")  # settings first: what is imported below takes seconds

from dataclasses import replace

from noise2map_core.distributed.cluster.gpus import with_gpus
from noise2map_core.distributed.region import predict_missing
from noise2map_core.distributed.tasks import write_products_of
from noise2map_core.geo.aoi import AreaOfInterest, read_aoi
from noise2map_core.imagery.best_day import choose_dates, with_chosen
from noise2map_core.inference.comparison import Comparison
from noise2map_core.inference.model import read_model
from noise2map_core.inference.planning import plan_job
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.region_output import open_mosaic, require_output
from noise2map_core.inference.region_products import are_current, disputed_chip
from noise2map_core.inference.region_result import InferRegionResult, result_of
from noise2map_core.inference.region_run import RegionRun
from noise2map_core.mapping.ledger import Ledger
from noise2map_core.products.bundle import MapFigures
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.runtime.stopwatch import Stopwatch
from noise2map_core.workflows.infer_region import InferRegionConfig


def run(config: InferRegionConfig, *, recheck: bool = False) -> InferRegionResult:
    """Search the scenes, predict the tiles that are not there, write mosaic and products.

    `recheck`: what is kept is read, and what differs from its record's digest made again. Raises
    IncompleteRegionError if tiles failed; with `allow_incomplete`, behind the products.
    """
    watch, config = Stopwatch(), with_gpus(config)
    spec = read_model(config.checkpoint, config.search.bands, config)
    aoi = read_aoi(config.aoi)
    with watch.stage("search"):
        chosen = choose_dates(
            config.search, aoi, config.before, config.after, spec.bands, config.mask
        )
        job = plan_job(with_chosen(config, chosen), spec, aoi)
    require_output(config, job, recheck=recheck)
    with hold_lease(config.output) as fence:
        made = _begin(config, replace(job, fence=fence), aoi, watch, recheck)
        made.chosen = chosen
        predict_missing(made)
        made.mark_holes()
        figures = _update_products(made)
    made.require_complete("they are holes in the map")
    return result_of(made, figures)


def _begin(
    config: InferRegionConfig, job: RegionJob, aoi: AreaOfInterest, watch: Stopwatch, recheck: bool
) -> RegionRun:
    """The output opened, and what it has to be compared with what is wanted."""
    mosaic = open_mosaic(config, job, recheck=recheck)
    comparison = Comparison(job, Ledger(config.output), job.shards, digests=recheck)
    return RegionRun(config, job, aoi, mosaic, comparison, watch, recheck)


def _update_products(made: RegionRun) -> MapFigures | None:
    """Write the products and the manifest, unless they are current already."""
    if are_current(made):
        return None
    if path := disputed_chip(made):
        # Here and not above: torch takes seconds, which maps without evidence and reruns spare.
        from noise2map_core.evaluation.disputed_chip import draw_disputed_chip

        with made.watch.stage("figure over timesteps"):
            draw_disputed_chip(made.job, made.mosaic, path)
    return write_products_of(made)
