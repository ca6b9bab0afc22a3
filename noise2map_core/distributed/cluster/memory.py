"""Memory that tasks and actors ask Ray for, so that no more of them start than fit.

Ray knows of a worker's memory only what it is told. The figures are estimates from measured
processes; where a cluster has less, they are cut so that one of each can always start: Ray would
wait for ever for what it has not.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from noise2map_core.chips.store import CHIPS_PER_SHARD
from noise2map_core.detectors.compared import ComparedTask
from noise2map_core.detectors.spec import DetectorSpec
from noise2map_core.geo.grid import Tile
from noise2map_core.models.spec import WEIGHTS_NAME
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.resources import ClusterConfig, MemorySetting, ResourcesConfig

if TYPE_CHECKING:
    from noise2map_core.chips.pixels import ChipJob
    from noise2map_core.inference.region import RegionJob

MB = 10**6
GB = 10**9
READER_BYTES = 350 * MB
"""Of a reading process before its first tile: libraries, GDAL's caches."""
PREDICTOR_BYTES = 650 * MB
"""Of a predicting process before its first batch."""
CUDA_BYTES = 2500 * MB
"""Of main memory, besides, where it computes on a GPU: CUDA and its libraries."""
COPIES = 3
"""Times that the pixels of a tile are there while they are read, handed on or blended."""
DETECTOR_COPIES = 8
"""Numbers of a pixel that a detector holds besides those of the bands."""
WEIGHT_COPIES = 4
"""Times that the weights are there while they are loaded and written out for a timestep."""
PART_BYTES = 48
"""Of a pixel of a tile whose products are made: what the mosaic says of it, and of components and
their outlines four numbers of eight bytes."""
BATCH_BYTES = 1024
"""Of activations, a pixel of a batch on a CPU."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Bytes that one worker of each kind asks for; None: nothing is said of it."""

    reader: int | None
    predictor: int | None = None

    def of(self, kind: str) -> dict[str, Any]:
        """The argument for Ray."""
        asked = getattr(self, kind)
        return {} if asked is None else {"memory": asked}


def shares_of_region(job: "RegionJob", tile_bytes: int, resources: ResourcesConfig) -> Shares:
    """Of the readers and predictors of a map. Raises ConfigError for what no node has."""
    reader = READER_BYTES + COPIES * tile_bytes + stack_bytes(job, tile_bytes)
    predictor = _predictor_bytes(job, tile_bytes)
    return _fitted(resources, reader, predictor, resources.predictors)


def shares_of_shards(job: "ChipJob", resources: ClusterConfig) -> Shares:
    """Of the tasks of an ingest. Raises ConfigError for what no node has."""
    header, dates = job.header, len(job.ingests[-1].dates)
    of_pixel = dates * (len(header.bands) * np.dtype(header.dtype).itemsize + 2) + 2
    shard = CHIPS_PER_SHARD * header.chip_px**2 * of_pixel
    return _fitted(resources, READER_BYTES + COPIES * shard)


def shares_of_stream(chip_bytes: int, shards: int, resources: ClusterConfig) -> Shares:
    """Of the tasks that read a stream, each of which mixes `shards` and hands on copies."""
    held = (shards + 1) * CHIPS_PER_SHARD * chip_bytes
    return _fitted(resources, READER_BYTES + 2 * held)


def shares_of_parts(tile_px: int, resources: ClusterConfig) -> Shares:
    """Of the tasks that make a map's products, tile by tile."""
    return _fitted(resources, READER_BYTES + PART_BYTES * tile_px**2)


def _predictor_bytes(job: "RegionJob", tile_bytes: int) -> int:
    cover = job.cover(Tile(0, 0))
    classes, passes = _classes_held(job), 1 + len(job.evidence)
    blends = COPIES * passes * (classes + 1) * cover.height * cover.width * np.float32().nbytes
    if isinstance(job.spec, DetectorSpec):
        numbers = 2 * len(job.spec.bands) + DETECTOR_COPIES
        own = cover.height * cover.width * numbers * np.float64().nbytes
        own += stack_bytes(job, tile_bytes)  # its tasks read, too
    else:
        own = _network_bytes(job)
    return PREDICTOR_BYTES + own + blends + COPIES * tile_bytes


def stack_bytes(job: "RegionJob", tile_bytes: int) -> int:
    """Of the scenes of a date that is a median of them: all are there at once. As many as touch the
    tile in the middle."""
    rows, cols = job.grid.shape_tiles
    *earlier, last = job.scenes(job.grid.tile_at(rows * cols // 2))
    composite = job.recipe.composite
    stacks = [len(scenes) for scenes in earlier if composite.of(last=False) == "median"]
    stacks += [len(last)] if composite.of(last=True) == "median" else []
    return max(stacks, default=0) * tile_bytes // (len(earlier) + 1)


def _classes_held(job: "RegionJob") -> int:
    """Of two maps that are compared, those of both."""
    task = job.task
    return 2 * len(task.of.classes) if isinstance(task, ComparedTask) else len(task.classes)


def _network_bytes(job: "RegionJob") -> int:
    weights = (job.checkpoint / WEIGHTS_NAME).stat().st_size
    on_gpu = job.path.device == "cuda"
    batch = 0 if on_gpu else job.path.batch * job.lattice.chip_px**2 * BATCH_BYTES
    return CUDA_BYTES * on_gpu + WEIGHT_COPIES * weights + batch


def _fitted(
    resources: ClusterConfig, reader: int, predictor: int | None = None, predictors: int = 0
) -> Shares:
    """What is set, and estimates in what that leaves of a node: one reader and its predictors."""
    nodes = [node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["Alive"]]
    nodes = [memory for memory in nodes if memory]
    if not nodes:
        return Shares(None)
    workers = {"reader": (1, reader)}
    if predictor is not None:
        workers["predictor"] = (-(-predictors // len(nodes)), predictor)
    found = {kind: _set(kind, resources, max(nodes)) for kind in workers}
    estimated = [kind for kind in workers if found[kind] is None]
    left = min(nodes) - sum(workers[kind][0] * (asked or 0) for kind, asked in found.items())
    most = int(left) // max(sum(workers[kind][0] for kind in estimated), 1)
    for kind in estimated:
        found[kind] = max(1, min(workers[kind][1], most))
    shares = Shares(**{kind: asked or None for kind, asked in found.items()})
    if not _may_grow(resources):
        _require_room(predictors, shares, sum(nodes))
    return shares


def _may_grow(resources: ClusterConfig) -> bool:
    """True for a cluster elsewhere, which may get nodes when they are asked for."""
    return resources.address is not None or "RAY_ADDRESS" in os.environ


def _require_room(predictors: int, shares: Shares, memory: float) -> None:
    """Raise ConfigError if readers would wait for ever for what predictors hold."""
    held = predictors * (shares.predictor or 0) + (shares.reader or 0)
    if held > memory > 0:
        raise ConfigError(
            f"resources.predictors {predictors} of {(shares.predictor or 0) / GB:.1f} GB "
            f"and a reader of {(shares.reader or 0) / GB:.1f} GB do not fit into the cluster's "
            f"{memory / GB:.1f} GB. Lower resources.predictor_memory_gb or "
            "resources.reader_memory_gb, or set them to auto."
        )


def _set(kind: str, resources: ClusterConfig, largest: float) -> int | None:
    """Bytes that the settings say, 0 for none; None: they are to be estimated."""
    name = f"{kind}_memory_gb"
    setting: MemorySetting = getattr(resources, name)
    if isinstance(setting, str):
        return 0 if setting == "off" else None
    if setting * GB > largest and not _may_grow(resources):
        raise ConfigError(
            f"resources.{name} {setting:g} is more than any node of the cluster has: "
            f"{largest / GB:.1f} GB. Lower it, or set it to auto."
        )
    return int(setting * GB)
