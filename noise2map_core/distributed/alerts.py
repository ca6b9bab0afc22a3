"""Looks taken into the states of many tiles, as tasks of a cluster."""

from collections.abc import Sequence

import ray

from noise2map_core.alerts.tiles import FoldJob, fold_tile
from noise2map_core.distributed.cluster.needs import reader_needs
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.work import task_sizes
from noise2map_core.geo.grid import Tile
from noise2map_core.settings.resources import ClusterConfig


def fold_on_cluster(job: FoldJob, tiles: Sequence[Tile], resources: ClusterConfig) -> None:
    """Take a look into tiles on a cluster, which sees the files; Ray is started for it if there is
    none. Raises OutputError if a state is damaged."""
    with ray_session(resources, reader_needs(resources)):
        cpus = resources.reader_cpus
        workers = max(1, int(ray.cluster_resources().get("CPU", 1) / cpus))
        task, shared = ray.remote(num_cpus=cpus)(_fold), ray.put(job)
        start, waiting = 0, []
        for size in task_sizes(len(tiles), workers):
            waiting.append(task.remote(shared, list(tiles[start : start + size])))
            start += size
        for one in waiting:
            _done(one)


def _fold(job: FoldJob, tiles: list[Tile]) -> None:
    for tile in tiles:
        fold_tile(job, tile)


def _done(task: "ray.ObjectRef[None]") -> None:
    try:
        ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
