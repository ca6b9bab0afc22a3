"""Map one area of interest: change between two dates, from a STAC catalogue and a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.application import application
from noise2map_core.catalog.config import SearchConfig
from noise2map_core.distributed.config import ResourcesConfig
from noise2map_core.errors import IncompleteRegionError, OutputMismatchError
from noise2map_core.geo.config import GridConfig
from noise2map_core.inference.config import InferenceConfig
from noise2map_core.mapping.config import ProductsConfig

if TYPE_CHECKING:
    from noise2map_core.geo.aoi import AreaOfInterest
    from noise2map_core.inference.region import RegionDiff, RegionJob
    from noise2map_core.mapping.ledger import TileRecord
    from noise2map_core.mapping.mosaic import Mosaic
    from noise2map_core.mapping.products import MapFigures
    from noise2map_core.models.spec import CheckpointSpec
    from noise2map_core.stopwatch import Stopwatch

MAX_SHOWN = 5
"""Failed tiles that an error line lists; the ledger has them all."""


class InferRegionConfig(BaseModel):
    """Map one area of interest: scenes, tiles, predictions, mosaic, products."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    aoi: Path
    """Area of interest: GeoJSON in EPSG:4326."""

    search: SearchConfig
    """Where the imagery is."""

    before: str
    """First date or date range, "2000-03-01/2000-03-31"."""

    after: str
    """Second date or date range."""

    checkpoint: Path
    """Directory that finetune-maps wrote."""

    output: Path
    """Directory of the bundle; a rerun continues it."""

    overwrite: bool = False
    """Replace an output of another grid, class table or format."""

    grid: GridConfig = Field(default_factory=GridConfig)
    """The grid of the map."""

    inference: InferenceConfig = Field(default_factory=InferenceConfig)
    """How the network is run."""

    products: ProductsConfig = Field(default_factory=ProductsConfig)
    """What is made from the mosaic."""

    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    """Workers and what each takes."""


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
        area = f"{self.figures.changed_m2 / 1e4:,.1f} ha changed"
        return [
            *done,
            f"{area} in {self.figures.polygons:,} polygons",
            f"map       {self.output / 'change.tif'}",
            f"polygons  {self.output / 'polygons.parquet'}",
            f"picture   {self.output / 'quicklook.png'}",
            f"report    {self.output / 'report.html'}",
        ]


@dataclass
class StrangeTiles:
    """Tiles with numbers that the model does not expect: how many, and the worst of them."""

    tiles: int = 0
    px: int = 0
    worst: list[TileRecord] = field(default_factory=list)
    """At most `MAX_SHOWN`: the driver's memory must not grow with the region."""

    def add(self, record: TileRecord) -> None:
        """Count a tile."""
        if record.strange_px:
            self.tiles, self.px = self.tiles + 1, self.px + record.strange_px
            ranked = sorted([*self.worst, record], key=lambda r: (-r.strange_px, r.row, r.col))
            self.worst = ranked[:MAX_SHOWN]

    def lines(self, value_range: tuple[float, float]) -> tuple[str, ...]:
        """Warnings for people, the worst tiles by name; none if there is nothing to say."""
        if not self.tiles:
            return ()
        low, high = value_range
        return (
            f"warning: {self.px:,} pixels in {self.tiles} tiles lie outside the numbers that the "
            f"checkpoint expects ({low:g} to {high:g}); is the product level or scaling another?",
            *(f"  {record.tile}: {record.strange_px:,} pixels" for record in self.worst),
        )


def run(config: InferRegionConfig) -> InferRegionResult:
    """Search the scenes, predict the tiles that the ledger lacks, write mosaic and products."""
    from noise2map_core.geo.aoi import read_aoi
    from noise2map_core.inference.provenance import class_table
    from noise2map_core.inference.region import compare_ledger
    from noise2map_core.mapping.lease import hold_lease
    from noise2map_core.mapping.ledger import Ledger
    from noise2map_core.mapping.mosaic import Mosaic
    from noise2map_core.models.spec import read_spec, read_weights
    from noise2map_core.stopwatch import Stopwatch

    watch = Stopwatch()
    spec = read_spec(config.checkpoint)
    read_weights(config.checkpoint, spec)  # refused here, before the workers would find out
    aoi = read_aoi(config.aoi)
    with watch.stage("search"):
        job = _plan(config, spec, aoi)
    _require_output(config, job)
    with hold_lease(config.output) as fence:
        mosaic = Mosaic.create(config.output / "mosaic.zarr", job.grid, class_table(job.task))
        mosaic.sweep()
        with watch.stage("compare"):
            diff = compare_ledger(job, Ledger(config.output))
        strange = StrangeTiles()
        if len(diff.todo):
            with watch.stage("predict"):
                strange = _predict(replace(job, fence=fence), diff, config.resources)
        figures = _update_products(config, job, aoi, diff, mosaic, watch)
    return InferRegionResult(
        config.output, diff.tiles, len(diff.todo), figures, strange.lines(spec.value_range)
    )


def _plan(config: InferRegionConfig, spec: CheckpointSpec, aoi: AreaOfInterest) -> RegionJob:
    """Find the scenes and lay the grid; raises on any misfit, before anything is written."""
    from noise2map_core.catalog.pairing import search_pair
    from noise2map_core.imagery.region import plan_grid
    from noise2map_core.inference.planning import plan_region, require_bands

    require_bands(config.search.bands, spec, config.checkpoint)
    before, after = search_pair(config.search, aoi, config.before, config.after, spec.bands)
    grid = plan_grid(aoi, config.grid, [*before, *after])
    return plan_region(
        grid, before, after, spec, config.checkpoint, config.inference, config.output,
        gpus=config.resources.predictor_gpus,
    )  # fmt: skip


def _require_output(config: InferRegionConfig, job: RegionJob) -> None:
    """Refuse an output of something else; with --overwrite, clear it."""
    from noise2map_core.inference.provenance import class_table
    from noise2map_core.mapping.lease import hold_lease
    from noise2map_core.mapping.mosaic import require_same_output
    from noise2map_core.mapping.products import clear_output

    try:
        require_same_output(config.output / "mosaic.zarr", job.grid, class_table(job.task))
    except OutputMismatchError:
        if not config.overwrite:
            raise
        with hold_lease(config.output):
            clear_output(config.output)


def _predict(job: RegionJob, diff: RegionDiff, resources: ResourcesConfig) -> StrangeTiles:
    """Predict the missing tiles; returns those with numbers that the model does not expect.

    Raises IncompleteRegionError if any failed for good.
    """
    from noise2map_core.distributed.prediction import predict_tiles
    from noise2map_core.distributed.session import ray_session
    from noise2map_core.progress import progress

    failed, strange = [], StrangeTiles()
    with ray_session(resources), progress(len(diff.todo), "predict", "tile") as bar:
        for record in predict_tiles(job, diff.todo, resources):
            bar.update()
            if record.status == "failed":
                failed.append(record)
            strange.add(record)
    if failed:
        raise IncompleteRegionError(_failure_text(job.output, failed))
    return strange


def _failure_text(output: Path, failed: list[TileRecord]) -> str:
    """One line: how many failed, why, and what to do."""
    shown = "; ".join(f"{record.tile}: {record.reason}" for record in failed[:MAX_SHOWN])
    more = f" … and {len(failed) - MAX_SHOWN} more" if len(failed) > MAX_SHOWN else ""
    return (
        f"{len(failed)} tiles of {output} failed: {shown}{more}. What is done is kept and no map "
        "was made; repair the sources and run the same command again."
    )


def _update_products(
    config: InferRegionConfig,
    job: RegionJob,
    aoi: AreaOfInterest,
    diff: RegionDiff,
    mosaic: Mosaic,
    watch: Stopwatch,
) -> MapFigures | None:
    """Write the products and the manifest, unless they are current already."""
    from noise2map_core.digest import digest_of
    from noise2map_core.inference.provenance import job_facts, map_subject
    from noise2map_core.mapping.manifest import products_are_current, write_manifest
    from noise2map_core.mapping.products import product_files, write_products

    key = digest_of({"tiles": diff.digest, **config.products.model_dump(mode="json")})
    if products_are_current(config.output, key):
        return None
    settings, subject = config.model_dump(mode="json"), map_subject(job, aoi)
    facts = {
        "config": settings,
        "config_digest": digest_of(settings),
        **job_facts(job, diff),
        "seconds": watch.seconds,
    }
    with watch.stage("products"):
        figures = write_products(mosaic, subject, config.products, facts)
    names = product_files(mosaic, subject, config.products)
    write_manifest(config.output, key, names, {**facts, "figures": asdict(figures)})
    return figures


if __name__ == "__main__":
    application(InferRegionConfig, run)
