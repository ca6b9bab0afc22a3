"""Map one area of interest, from a STAC catalogue and a checkpoint: change, or classes."""

from __future__ import annotations

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("infer-region")  # settings first: what is imported below takes seconds

import os
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noise2map_core.inference.tile_work import MAX_SHOWN, TileWork
from noise2map_core.runtime.errors import (
    ConfigError,
    IncompleteRegionError,
    OutputError,
    OutputMismatchError,
)
from noise2map_core.settings.network import Task
from noise2map_core.workflows.infer_region import InferRegionConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from noise2map_core.catalog.scene import Scene
    from noise2map_core.geo.aoi import AreaOfInterest
    from noise2map_core.geo.grid import RegionGrid
    from noise2map_core.imagery.pair_plan import PairPlan
    from noise2map_core.inference.comparison import Comparison
    from noise2map_core.inference.estimate import RegionEstimate
    from noise2map_core.inference.region import RegionJob
    from noise2map_core.mapping.ledger import TileRecord
    from noise2map_core.mapping.mosaic import Mosaic
    from noise2map_core.models.spec import CheckpointSpec
    from noise2map_core.products.bundle import MapFigures
    from noise2map_core.runtime.stopwatch import Stopwatch


@dataclass(frozen=True)
class InferRegionResult:
    """What a run did."""

    output: Path
    tiles: int
    """Tiles of the region."""
    predicted: int
    """Tiles that this run predicted."""
    figures: MapFigures | None
    """None: the products were current already."""
    map_file: str
    """Name of the map in `output`."""
    warnings: tuple[str, ...] = ()
    """What does not look right."""

    def summary(self) -> list[str]:
        """Lines for people."""
        kept = self.tiles - self.predicted
        done = [
            f"{self.predicted} of {self.tiles} tiles predicted, {kept} kept from earlier runs",
            *self.warnings,
        ]
        if self.figures is None:
            return [*done, f"nothing new: {self.output} is complete and current"]
        area = f"{self.figures.changed_m2 / 1e4:,.1f} ha"
        return [
            *done,
            f"{area} in {self.figures.polygons:,} polygons",
            f"map       {self.output / self.map_file}",
            f"polygons  {self.output / 'polygons.parquet'}",
            f"picture   {self.output / 'quicklook.png'}",
            f"report    {self.output / 'report.html'}",
        ]


@dataclass
class RegionRun:
    """What one run set out to do, and what became of it."""

    config: InferRegionConfig
    job: RegionJob
    aoi: AreaOfInterest
    comparison: Comparison
    watch: Stopwatch
    work: TileWork = field(default_factory=TileWork)
    pair: PairPlan | None = None
    """None: nothing was to be predicted, so the dates were not compared."""
    recheck: bool = False
    """Whether what is kept is read and compared with its digests."""

    @property
    def products_key(self) -> str:
        """Digest of everything that the products depend on."""
        from noise2map_core.runtime.digest import digest_of

        holes = sorted((record.row, record.col) for record in self.work.failed)
        products = self.config.products.model_dump(mode="json")
        return digest_of({"tiles": self.comparison.digest, "holes": holes, **products})

    def facts(self, mosaic: Mosaic) -> dict[str, Any]:
        """What the manifest says of the run."""
        from noise2map_core.inference.provenance import job_facts
        from noise2map_core.runtime.digest import digest_of

        settings = self.config.model_dump(mode="json")
        return {
            "config": settings,
            "config_digest": digest_of(settings),
            **job_facts(self.job, self.comparison, self.work.failed),
            "pixels": self.job.recipe.key(),
            "mosaic_metadata_sha256": mosaic.metadata_digest(),
            **self._speed(),
            "seconds": self.watch.seconds,
        }

    def _speed(self) -> dict[str, Any]:
        """How the pair compares and how fast tiles were made; of the last run that made any."""
        from noise2map_core.products.manifest import read_manifest

        if not self.comparison.missing:
            earlier = read_manifest(self.config.output)
            return {name: earlier.get(name, {}) for name in ("pair_quality", "throughput")}
        quality = self.pair.quality if self.pair else None
        predictors = min(self.config.resources.predictors, self.comparison.missing)
        throughput = self.work.throughput.facts(
            self.job.grid.tile_px, self.job.grid.ground_m, self.watch.seconds["predict"],
            predictors,
        )  # fmt: skip
        return {"pair_quality": quality.as_dict() if quality else None, "throughput": throughput}


@dataclass(frozen=True)
class InferRegionPlan:
    """What a run would do."""

    estimate: RegionEstimate
    price_per_hour: float | None

    def summary(self) -> list[str]:
        """Lines for people."""
        return self.estimate.lines(self.price_per_hour)


def run(config: InferRegionConfig, *, recheck: bool = False) -> InferRegionResult | InferRegionPlan:
    """Search the scenes, predict the tiles that are not there, write mosaic and products.

    With `plan`, only say what that would take. `recheck`: what is kept is read and compared with
    the digests of its records, and what is damaged made again. Raises IncompleteRegionError if
    tiles failed; with `allow_incomplete`, behind the products.
    """
    from noise2map_core.distributed.cluster.needs import predictor_needs, require_here
    from noise2map_core.geo.aoi import read_aoi
    from noise2map_core.inference.comparison import Comparison
    from noise2map_core.inference.holes import mark_holes
    from noise2map_core.inference.provenance import class_table
    from noise2map_core.mapping.ledger import Ledger
    from noise2map_core.mapping.mosaic import Mosaic
    from noise2map_core.models.spec import read_spec, read_weights
    from noise2map_core.products.bundle import CLASS_FILES
    from noise2map_core.runtime.lease import hold_lease
    from noise2map_core.runtime.stopwatch import Stopwatch
    from noise2map_core.runtime.storage import sweep

    watch = Stopwatch()
    require_here(predictor_needs(config.resources), config.resources)
    spec = read_spec(config.checkpoint)
    read_weights(config.checkpoint, spec)  # refused here, before the workers would find out
    aoi = read_aoi(config.aoi)
    with watch.stage("search"):
        job = plan_job(config, spec, aoi)
    if config.plan:
        return _estimate(config, job)
    _require_output(config, job, recheck=recheck)
    if not (config.output / "mosaic.zarr").exists():
        _require_model(job)
    with hold_lease(config.output) as fence:
        path = config.output / "mosaic.zarr"
        for folder in (path, config.output / "ledger"):
            sweep(folder)
        sweep(config.output, below=False)
        create = Mosaic.renew if recheck else Mosaic.create
        mosaic = create(path, job.grid, class_table(job.task), job.layers, fence)
        comparison = Comparison(job, Ledger(config.output), job.shards, digests=recheck)
        made = RegionRun(config, replace(job, fence=fence), aoi, comparison, watch, recheck=recheck)
        _predict(made)
        failed = made.work.failed
        if failed and not config.allow_incomplete:
            raise IncompleteRegionError(_failure_text(job.output, failed, "no map was made"))
        mark_holes(job, mosaic, failed)
        figures = _update_products(made, mosaic)
    if failed:
        raise IncompleteRegionError(_failure_text(job.output, failed, "they are holes in the map"))
    return InferRegionResult(
        config.output, comparison.tiles, comparison.missing, figures, CLASS_FILES[job.task_name],
        (*made.work.strange.lines(spec.value_range), *(made.pair.warnings if made.pair else ()),
         *_lost(comparison), *_undecided(figures, mosaic)),
    )  # fmt: skip


def plan_job(config: InferRegionConfig, spec: CheckpointSpec, aoi: AreaOfInterest) -> RegionJob:
    """Find the scenes and lay the grid; raises on any misfit, before anything is written."""
    from noise2map_core.imagery.pair_plan import require_used
    from noise2map_core.imagery.region import plan_grid
    from noise2map_core.imagery.usable import usable_scenes
    from noise2map_core.inference.planning import plan_region, require_bands, require_threshold
    from noise2map_core.rasters.identity import pin_scenes

    task = config.task or ("change" if "change" in spec.tasks else spec.task_name())
    require_used(config.pair_quality, config.radiometry, 1 if task == "segment" else 2)
    require_threshold(config.products.threshold, spec.task(task))
    require_bands(config.search.bands, spec, config.checkpoint)
    masks = config.mask.use != "off"
    found = usable_scenes(_search(config, task, aoi, spec), aoi)
    before, after = (pin_scenes(scenes, masks=masks) for scenes in found)
    grid = plan_grid(aoi, config.grid, [*before, *after])
    return plan_region(
        grid, _plan_pair(config, before, after, grid), spec, config.checkpoint, config.inference,
        config.output, gpus=config.resources.predictor_gpus, task=task,
    )  # fmt: skip


def _plan_pair(
    config: InferRegionConfig,
    before: Sequence[Scene],
    after: Sequence[Scene],
    grid: RegionGrid,
    report: bool = False,
) -> PairPlan:
    """How the pixels are read. What is only to be reported is measured if `report`: a run with
    nothing to do reads no imagery."""
    from noise2map_core.imagery.pair_plan import plan_pair

    quality = config.pair_quality
    if quality.action == "report" and not report:
        quality = quality.model_copy(update={"action": "off"})
    return plan_pair(before, after, grid, config.composite, config.mask, quality, config.radiometry)


def _search(
    config: InferRegionConfig, task: Task, aoi: AreaOfInterest, spec: CheckpointSpec
) -> tuple[list[Scene], list[Scene]]:
    """Scenes of both dates; of segmentation, none and those of its date."""
    from noise2map_core.catalog.pairing import search_pair
    from noise2map_core.catalog.search import search_scenes

    if task == "segment":
        if config.before is not None:
            raise ConfigError("segmentation maps one date. Leave --before out; --after is the one.")
        return [], search_scenes(config.search, aoi, config.after, spec.bands)[::-1]
    if config.before is None:
        raise ConfigError("change needs two dates. Set --before to the earlier one.")
    return search_pair(config.search, aoi, config.before, config.after, spec.bands)


def _require_output(config: InferRegionConfig, job: RegionJob, *, recheck: bool) -> None:
    """Refuse an output of something else; with --overwrite, clear it. `recheck`: one that does not
    say what it is will be made to."""
    from noise2map_core.inference.provenance import class_table
    from noise2map_core.mapping.mosaic import is_legible, require_same_output
    from noise2map_core.products.bundle import clear_output
    from noise2map_core.runtime.lease import hold_lease
    from noise2map_core.runtime.storage import is_local

    collection = config.products.collection
    if collection and is_local(collection) != is_local(config.output):
        raise ConfigError(
            f"products.collection {collection} cannot list {config.output} by a relative link. "
            "Keep both on a disk, or both on one object storage."
        )
    path = config.output / "mosaic.zarr"
    if recheck and not is_legible(path):
        return
    try:
        require_same_output(path, job.grid, class_table(job.task), job.layers)
    except OutputMismatchError:
        if not config.overwrite:
            raise
        with hold_lease(config.output):
            clear_output(config.output)


def _estimate(config: InferRegionConfig, job: RegionJob) -> InferRegionPlan:
    """What a run would take on the cluster that the settings describe."""
    from noise2map_core.inference.comparison import Comparison
    from noise2map_core.inference.estimate import estimate_region
    from noise2map_core.mapping.ledger import Ledger

    comparison = Comparison(job, Ledger(config.output), job.shards)
    resources = config.resources
    left = (resources.num_cpus or os.cpu_count() or 1) - (
        resources.predictors * resources.predictor_cpus
    )
    # A reading task keeps one CPU busy, whatever share of it Ray reserves.
    readers = max(1.0, min(left / resources.reader_cpus, left))
    estimate = estimate_region(job, comparison, resources.predictors, readers)
    return InferRegionPlan(estimate, config.price_per_hour)


def _predict(run: RegionRun) -> None:
    """Predict the tiles that the ledger lacks; without any, neither imagery is read nor Ray
    started."""
    from noise2map_core.products.manifest import forget_products

    with ExitStack() as stack:
        for tiles in run.watch.each("compare", run.comparison.waves()):
            if run.pair is None:
                _begin(run, stack, len(tiles))
            if run.comparison.lost:
                forget_products(run.config.output)
            with run.watch.stage("predict"):
                _predict_wave(run, tiles)
        if run.pair is not None:
            _count_kept(run)
            _predict_lost(run)


def _predict_lost(run: RegionRun) -> None:
    """See that the pixels of every tile are still there, and make again those that are not: no
    product is made of a mosaic that lost some while the run was at work."""
    from noise2map_core.inference.comparison import Comparison
    from noise2map_core.mapping.ledger import Ledger

    for again in (True, False):
        tiles = Comparison(run.job, Ledger(run.config.output), run.job.shards).lost_tiles()
        if not len(tiles):
            return
        if again:
            with run.watch.stage("predict"):
                _predict_wave(run, tiles)
    raise OutputError(
        f"{len(tiles)} tiles of {run.config.output} are gone again as soon as they are written: "
        "something else deletes or changes them. Stop it, and run the same command again."
    )


def _count_kept(run: RegionRun) -> None:
    from noise2map_core.distributed.metrics import count_kept

    count_kept(run.config.output, run.comparison.tiles - run.comparison.missing)


def _require_model(job: RegionJob) -> None:
    """Refuse weights that no worker could load. Takes torch, which a rerun without work spares."""
    from noise2map_core.models.checkpoint import require_loadable

    require_loadable(job.checkpoint, job.spec)


def _begin(run: RegionRun, stack: ExitStack, tiles: int) -> None:
    """Compare the dates, and start Ray for as long as `stack` is open."""
    from noise2map_core.distributed.cluster.needs import predictor_needs, require_here
    from noise2map_core.distributed.cluster.session import ray_session

    job, resources = run.job, run.config.resources
    needs = predictor_needs(resources, tiles)
    require_here(needs, resources)
    _require_model(job)
    with run.watch.stage("compare dates"):
        run.pair = _plan_pair(run.config, job.before, job.after, job.grid, report=True)
    with run.watch.stage("start Ray"):
        stack.enter_context(ray_session(resources, needs))


def _predict_wave(run: RegionRun, tiles: NDArray[np.int32]) -> None:
    """Predict some tiles, and add up what became of them."""
    from noise2map_core.distributed.prediction import predict_tiles
    from noise2map_core.mapping.ledger import MIN_FOLDED, Ledger
    from noise2map_core.runtime.progress import progress

    ledger, begun = Ledger(run.config.output), time.perf_counter()
    with progress(len(tiles), "predict", "tile") as bar:
        for record in predict_tiles(run.job, tiles, run.config.resources):
            bar.update()
            run.work.add(record, time.perf_counter() - begun)
            if bar.done % MIN_FOLDED == 0:
                ledger.fold()


def _failure_text(output: Path, failed: list[TileRecord], outcome: str) -> str:
    """One line: how many failed, why, and what to do."""
    shown = "; ".join(f"{record.tile}: {record.reason}" for record in failed[:MAX_SHOWN])
    more = f" … and {len(failed) - MAX_SHOWN} more" if len(failed) > MAX_SHOWN else ""
    return (
        f"{len(failed)} tiles of {output} failed: {shown}{more}. What is done is kept and "
        f"{outcome}; repair the sources and run the same command again."
    )


def _lost(comparison: Comparison) -> list[str]:
    """A warning where pixels were gone that the ledger has."""
    if not comparison.lost:
        return []
    tiles = "1 tile" if comparison.lost == 1 else f"{comparison.lost:,} tiles"
    return [f"warning: the pixels of {tiles} were missing or damaged, and were made again"]


def _undecided(figures: MapFigures | None, mosaic: Mosaic) -> list[str]:
    """A warning where the map says nothing at all, with the reasons."""
    from noise2map_core.products.bundle import NOT_DECIDED
    from noise2map_core.products.verification import count_reasons

    if figures is None or any(n for name, n in figures.pixels.items() if name != NOT_DECIDED):
        return []
    counts = sorted(count_reasons(mosaic).items(), key=lambda entry: -entry[1])
    said = ", ".join(f"{name.replace('_', ' ')} {count:,} pixels" for name, count in counts)
    return [f"warning: no pixel of the area has a decision: {said}. Set other dates or masks."]


def _update_products(run: RegionRun, mosaic: Mosaic) -> MapFigures | None:
    """Write the products and the manifest, unless they are current already."""
    from noise2map_core.inference.decision import is_change
    from noise2map_core.inference.provenance import map_subject
    from noise2map_core.mapping.recut import RecutMosaic
    from noise2map_core.products.bundle import product_files, write_products
    from noise2map_core.products.manifest import products_are_current, write_manifest

    config, job, key = run.config, run.job, run.products_key
    if products_are_current(config.output, key, digests=run.recheck) and not (
        run.recheck and _is_renewed(config.output, mosaic)
    ):
        return None
    _draw_disagreement(run, mosaic)
    threshold, holes = config.products.threshold, len(run.work.failed)
    if threshold is not None:
        mosaic = RecutMosaic(mosaic, threshold, of_winner=not is_change(job.task))
    subject, facts = map_subject(job, run.aoi, threshold, holes), run.facts(mosaic)
    figures = write_products(mosaic, subject, config.products, facts, run.watch)
    names = product_files(mosaic, subject, config.products)
    write_manifest(config.output, key, names, {**facts, "figures": asdict(figures)})
    return figures


def _is_renewed(output: Path, mosaic: Mosaic) -> bool:
    """True if the mosaic's documents are others than the manifest knows."""
    from noise2map_core.products.manifest import read_manifest

    return read_manifest(output).get("mosaic_metadata_sha256") != mosaic.metadata_digest()


def _draw_disagreement(run: RegionRun, mosaic: Mosaic) -> None:
    """The chip on which the model changes its mind most; drawn again when tiles are new."""
    from noise2map_core.products.bundle import DISPUTED_CHIP

    path = run.config.output / DISPUTED_CHIP
    if run.job.evidence and (run.comparison.missing or not path.exists()):
        from noise2map_core.evaluation.disputed_chip import draw_disputed_chip

        with run.watch.stage("figure over timesteps"):
            draw_disputed_chip(run.job, mosaic, path)
