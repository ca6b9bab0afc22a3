"""Map one area of interest: change between two dates, from a STAC catalogue and a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.application import application
from noise2map_core.catalog.config import SearchConfig
from noise2map_core.distributed.config import ResourcesConfig
from noise2map_core.errors import (
    CheckpointError,
    ConfigError,
    IncompleteRegionError,
    OutputMismatchError,
)
from noise2map_core.geo.config import GridConfig
from noise2map_core.inference.config import InferenceConfig
from noise2map_core.mapping.config import ProductsConfig

if TYPE_CHECKING:
    from noise2map_core.catalog.scene import Scene
    from noise2map_core.geo.aoi import AreaOfInterest
    from noise2map_core.inference.region import RegionDiff, RegionJob
    from noise2map_core.mapping.ledger import TileRecord
    from noise2map_core.mapping.mosaic import Mosaic
    from noise2map_core.mapping.products import MapFigures
    from noise2map_core.mapping.subject import MapSubject
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

    def summary(self) -> list[str]:
        """Lines for people."""
        kept = self.tiles - self.predicted
        done = [f"{self.predicted} of {self.tiles} tiles predicted, {kept} kept from earlier runs"]
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


def run(config: InferRegionConfig) -> InferRegionResult:
    """Search the scenes, predict the tiles that the ledger lacks, write mosaic and products."""
    from noise2map_core.geo.aoi import read_aoi
    from noise2map_core.inference.region import compare_ledger
    from noise2map_core.mapping.ledger import Ledger
    from noise2map_core.mapping.lease import hold_lease
    from noise2map_core.mapping.mosaic import Mosaic
    from noise2map_core.models.spec import read_spec
    from noise2map_core.stopwatch import Stopwatch

    watch = Stopwatch()
    spec = read_spec(config.checkpoint)
    aoi = read_aoi(config.aoi)
    with watch.stage("search"):
        job = _plan(config, spec, aoi)
    _require_output(config, job)
    with hold_lease(config.output) as fence:
        mosaic = Mosaic.create(config.output / "mosaic.zarr", job.grid, _classes(spec))
        mosaic.sweep()
        with watch.stage("compare"):
            diff = compare_ledger(job, Ledger(config.output))
        if len(diff.todo):
            with watch.stage("predict"):
                _predict(replace(job, fence=fence), diff, config.resources)
        figures = _update_products(config, job, aoi, diff, mosaic, watch)
    return InferRegionResult(config.output, diff.tiles, len(diff.todo), figures)


def _plan(config: InferRegionConfig, spec: CheckpointSpec, aoi: AreaOfInterest) -> RegionJob:
    """Everything that is decided before the first pixel is read; raises on any misfit."""
    from noise2map_core.catalog.pairing import search_pair
    from noise2map_core.geo.grid import ChipLattice
    from noise2map_core.imagery.identity import asset_identities
    from noise2map_core.imagery.reader import inspect
    from noise2map_core.imagery.region import plan_grid
    from noise2map_core.inference.numeric_path import resolve_numeric_path
    from noise2map_core.inference.region import RegionJob

    _require_settings(config, spec)
    before, after = search_pair(config.search, aoi, config.before, config.after, spec.bands)
    grid = plan_grid(aoi, config.grid, [*before, *after])
    _require_gsd(config, spec, grid.resolution)
    return RegionJob(
        output=config.output,
        grid=grid,
        spec=spec,
        checkpoint=config.checkpoint,
        lattice=ChipLattice(spec.chip_px, config.inference.stride_px or spec.stride_px),
        timesteps=config.inference.timesteps or spec.inference_timesteps,
        path=resolve_numeric_path(config.inference, config.resources.predictor_gpus),
        before=tuple(before),
        after=tuple(after),
        identities=asset_identities([*before, *after]),
        dtype=str(inspect(before[0].bands[0]).dtype),
        fence=0,
    )


def _require_settings(config: InferRegionConfig, spec: CheckpointSpec) -> None:
    """An inference config cannot contradict the checkpoint."""
    bands, wanted = spec.bands, config.search.bands
    if wanted and wanted != bands:
        raise ConfigError(
            f"checkpoint {config.checkpoint} expects bands ({', '.join(bands)}); search.bands is "
            f"({', '.join(wanted)}). Leave search.bands out."
        )
    stride, chip = config.inference.stride_px, spec.chip_px
    if stride and stride > chip:
        raise ConfigError(
            f"inference.stride_px {stride} leaves gaps between chips of {chip} px. Set at most {chip}."
        )
    last = spec.schedule.num_timesteps - 1
    if any(not 0 <= timestep <= last for timestep in config.inference.timesteps or ()):
        raise ConfigError(f"inference.timesteps must lie in 0 … {last} for {config.checkpoint}.")


def _require_gsd(config: InferRegionConfig, spec: CheckpointSpec, resolution: float) -> None:
    low, high = spec.gsd_range
    if not low <= resolution <= high:
        raise CheckpointError(
            f"checkpoint {config.checkpoint} was trained at {spec.gsd:g} m and accepts {low:g} to "
            f"{high:g} m a pixel; this map would have {resolution:g} m. Set grid.resolution within "
            "that range, or use another checkpoint."
        )


def _require_output(config: InferRegionConfig, job: RegionJob) -> None:
    """Refuse an output of something else; with --overwrite, clear it."""
    from noise2map_core.mapping.lease import hold_lease
    from noise2map_core.mapping.mosaic import require_same_output
    from noise2map_core.mapping.products import clear_output

    try:
        require_same_output(config.output / "mosaic.zarr", job.grid, _classes(job.spec))
    except OutputMismatchError:
        if not config.overwrite:
            raise
        with hold_lease(config.output):
            clear_output(config.output)


def _predict(job: RegionJob, diff: RegionDiff, resources: ResourcesConfig) -> None:
    """Predict the missing tiles; raises IncompleteRegionError if any failed for good."""
    from noise2map_core.distributed.prediction import predict_tiles
    from noise2map_core.distributed.session import ray_session
    from noise2map_core.progress import progress

    failed = []
    with ray_session(resources), progress(len(diff.todo), "predict", "tile") as bar:
        for record in predict_tiles(job, diff.todo, resources):
            bar.update()
            if record.status == "failed":
                failed.append(record)
    if failed:
        raise IncompleteRegionError(_failure_text(job.output, failed))


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
    from noise2map_core.mapping.manifest import products_are_current, write_manifest
    from noise2map_core.mapping.products import PRODUCT_FILES, write_products

    key = digest_of({"tiles": diff.digest, **config.products.model_dump(mode="json")})
    if products_are_current(config.output, key):
        return None
    with watch.stage("products"):
        figures = write_products(mosaic, _subject(job, aoi), config.products)
    facts = _manifest_facts(config, job, diff, figures, watch)
    write_manifest(config.output, key, PRODUCT_FILES, facts)
    return figures


def _classes(spec: CheckpointSpec) -> list[dict[str, Any]]:
    return [entry.model_dump() for entry in spec.classes]


def _subject(job: RegionJob, aoi: AreaOfInterest) -> MapSubject:
    from noise2map_core.mapping.subject import MapSubject

    model = {
        "checkpoint": job.checkpoint.name,
        "digest": job.spec.digest,
        "preset": job.spec.preset,
        "bands": ", ".join(job.spec.bands),
        "trained at": f"{job.spec.gsd:g} m a pixel",
        "decision threshold": f"{job.spec.threshold['changed']:.4f}",
    }
    return MapSubject(aoi, job.before, job.after, job.spec.bands, _classes(job.spec), model)


def _manifest_facts(
    config: InferRegionConfig,
    job: RegionJob,
    diff: RegionDiff,
    figures: MapFigures,
    watch: Stopwatch,
) -> dict[str, Any]:
    from noise2map_core.digest import digest_of

    settings = config.model_dump(mode="json")
    return {
        "config": settings,
        "config_digest": digest_of(settings),
        "model_digest": job.spec.digest,
        "numeric_path": job.path.as_dict(),
        "grid": {
            "crs": job.grid.crs,
            "resolution": job.grid.resolution,
            "shape": [job.grid.region.height, job.grid.region.width],
            "transform": list(job.grid.transform(job.grid.region))[:6],
            "tile_px": job.grid.tile_px,
        },
        "source_items": {"before": _items(job, job.before), "after": _items(job, job.after)},
        "tiles": {
            "total": diff.tiles,
            "predicted": len(diff.todo),
            "kept": diff.tiles - len(diff.todo),
            "failed": 0,
        },
        "figures": asdict(figures),
        "seconds": watch.seconds,
    }


def _items(job: RegionJob, scenes: tuple[Scene, ...]) -> list[dict[str, Any]]:
    return [
        {
            "id": scene.id,
            "collection": scene.collection,
            "datetime": scene.datetime.isoformat(),
            "href": scene.href,
            "attribution": scene.attribution,
            "assets": {
                band.name: {"href": band.href, "identity": job.identities[band.href]}
                for band in scene.bands
            },
        }
        for scene in scenes
    ]


if __name__ == "__main__":
    application(InferRegionConfig, run)
