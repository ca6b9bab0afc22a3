"""The output of a run: whether it may be written, and its mosaic."""

from noise2map_core.detectors.fitting import keep_detector
from noise2map_core.detectors.spec import DetectorSpec, network_of
from noise2map_core.inference.provenance import class_table
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.scene_light import keep_light
from noise2map_core.mapping.mosaic import Mosaic, is_legible, require_same_output
from noise2map_core.products.bundle import clear_output
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.runtime.storage import is_local, sweep
from noise2map_core.workflows.infer_region import InferRegionConfig

MOSAIC = "mosaic.zarr"


def require_output(config: InferRegionConfig, job: RegionJob, *, recheck: bool) -> None:
    """Refuse an output of something else; with `overwrite`, clear it.

    `recheck`: one that does not say what it is will be made to. Raises ConfigError for a collection
    that cannot list the map, OutputMismatchError, and CheckpointError if nothing is there yet and
    no worker could load the model.
    """
    _require_listable(config)
    if not (recheck and not is_legible(config.output / MOSAIC)):
        _require_same(config, job)
    if not (config.output / MOSAIC).exists():
        require_model(job)


def require_model(job: RegionJob) -> None:
    """Raise CheckpointError for weights that no worker could load."""
    network = network_of(job.spec)
    if network is None:
        return
    # Here and not above: without tiles to predict, nights and reruns need no torch.
    from noise2map_core.models.checkpoint import require_loadable

    require_loadable(job.checkpoint, network)


def open_mosaic(config: InferRegionConfig, job: RegionJob, *, recheck: bool) -> Mosaic:
    """The mosaic of an output that is held, without what interrupted writes left; made if there is
    none. `recheck`: its documents are written anew."""
    for folder in (MOSAIC, "ledger"):
        sweep(config.output / folder)
    sweep(config.output, below=False)
    create = Mosaic.renew if recheck else Mosaic.create
    path = config.output / MOSAIC
    if isinstance(job.spec, DetectorSpec):
        keep_detector(job.spec, config.output)
    if job.light is not None:
        keep_light(job.light, config.output)
    return create(path, job.grid, class_table(job.task), job.layers, job.fence)


def _require_listable(config: InferRegionConfig) -> None:
    collection = config.products.collection
    if collection and is_local(collection) != is_local(config.output):
        raise ConfigError(
            f"products.collection {collection} cannot list {config.output} by a relative link. "
            "Keep both on a disk, or both on one object storage."
        )


def _require_same(config: InferRegionConfig, job: RegionJob) -> None:
    try:
        require_same_output(config.output / MOSAIC, job.grid, class_table(job.task), job.layers)
    except OutputMismatchError:
        if not config.overwrite:
            raise
        with hold_lease(config.output):
            clear_output(config.output)
