"""The products of a run, and what the manifest says of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from noise2map_core.detectors.compared import ComparedSpec
from noise2map_core.detectors.spec import DetectorSpec
from noise2map_core.imagery.best_day import chosen_facts
from noise2map_core.inference.decision import is_change
from noise2map_core.inference.doubts import run_doubts
from noise2map_core.inference.provenance import job_facts, map_subject
from noise2map_core.inference.region_run import RegionRun
from noise2map_core.mapping.ledger import Ledger
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.mapping.overviews import (
    STATED,
    are_as_stated,
    overviews_digest,
    write_overviews,
)
from noise2map_core.mapping.recut import RecutMosaic
from noise2map_core.products.bundle import (
    DISPUTED_CHIP,
    MapFigures,
    write_products,
)
from noise2map_core.products.manifest import products_are_current, read_manifest, write_manifest
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.mapper import Mapper, here


def are_current(run: RegionRun) -> bool:
    """True if the products are those of the mosaic. Where what is kept is checked, their bytes are
    read, and the mosaic's documents have to be those that the manifest knows."""
    output = run.config.output
    if not products_are_current(output, products_key(run), digests=run.recheck):
        return False
    manifest = read_manifest(output)
    return not run.recheck or (
        manifest.get("mosaic_metadata_sha256") == run.mosaic.metadata_digest()
        and are_as_stated(run.mosaic, manifest)
    )


def disputed_chip(run: RegionRun) -> Path | None:
    """Where the chip on which the model changes its mind most is to be drawn: again when tiles are
    new. None: nowhere; the passes of maps that are compared are of one date each, and those of
    chips that are turned are of one timestep."""
    path = run.config.output / DISPUTED_CHIP
    drawn = not run.comparison.missing and path.exists()
    over_timesteps = run.job.evidence and not any(one.turn for one in run.job.evidence)
    shown = over_timesteps and not isinstance(run.job.spec, ComparedSpec)
    return path if shown and not drawn else None


def write_map(run: RegionRun, mapper: Mapper = here) -> MapFigures:
    """Write the overviews and the products, and the manifest behind them."""
    with run.watch.stage("overviews"):
        write_overviews(run.mosaic, mapper)
        run.mosaic.finish()
        overviews = overviews_digest(run.mosaic, mapper)
    config, job, mosaic = run.config, run.job, _as_cut(run)
    subject = map_subject(job, run.aoi, config.products.threshold, len(run.work.failed))
    facts = {**run_facts(run, mosaic), STATED: overviews}
    figures = write_products(mosaic, subject, config.products, facts, run.watch, mapper)
    numbers = asdict(figures)
    stated = numbers.pop("products")
    if not figures.balance:
        del numbers["balance"]
    told = {**facts, "warnings": list(numbers.pop("warnings")), "figures": numbers}
    write_manifest(config.output, products_key(run), stated, told)
    return figures


def products_key(run: RegionRun) -> str:
    """Digest of everything that the products depend on."""
    holes = sorted((record.row, record.col) for record in run.work.failed)
    products = run.config.products.model_dump(mode="json")
    return digest_of({"tiles": run.comparison.digest, "holes": holes, **products})


def run_facts(run: RegionRun, mosaic: Mosaic) -> dict[str, Any]:
    """What the manifest says of the run; `mosaic` is what the products are made from."""
    settings = run.config.model_dump(mode="json")
    speed = _speed(run)
    return {
        "config": settings,
        "config_digest": digest_of(settings),
        **chosen_facts(run.chosen),
        **job_facts(run.job, run.comparison, run.work.failed),
        "pixels": run.job.recipe.key(),
        "mosaic_metadata_sha256": mosaic.metadata_digest(),
        "ledger": Ledger(run.config.output).file_names(),
        **speed,
        "warnings": run_doubts(run.job, speed["pair_quality"], run.work.failed),
        "seconds": run.watch.seconds,
        "driver_cpu_s": run.watch.own_cpu_s,
    }


def _as_cut(run: RegionRun) -> Mosaic:
    """The mosaic, its classes cut at the threshold that the settings name."""
    threshold = run.config.products.threshold
    if threshold is None:
        return run.mosaic
    return RecutMosaic(run.mosaic, threshold, of_winner=not is_change(run.job.task))


def _speed(run: RegionRun) -> dict[str, Any]:
    """How the pair compares and how fast tiles were made; of the last run that made any."""
    if not run.comparison.missing:
        earlier = read_manifest(run.config.output)
        return {name: earlier.get(name, {}) for name in ("pair_quality", "throughput")}
    quality = run.pair.quality if run.pair else None
    by_detector = isinstance(run.job.spec, DetectorSpec)
    predictors = min(run.config.resources.predictors, run.comparison.missing)
    throughput = run.work.throughput.facts(
        run.job.grid.tile_px, run.job.grid.ground_m, run.watch.seconds["predict"],
        None if by_detector else predictors,
    )  # fmt: skip
    return {"pair_quality": quality.as_dict() if quality else None, "throughput": throughput}
