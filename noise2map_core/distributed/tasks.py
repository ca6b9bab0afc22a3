"""Parts of a map as tasks of a cluster: products and checks, which are made without Ray as well."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from itertools import islice, repeat
from typing import Any

import ray

from noise2map_core.distributed.cluster.memory import shares_of_parts
from noise2map_core.distributed.cluster.needs import reader_needs
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.distributed.work import task_sizes
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.inference.region_products import write_map
from noise2map_core.inference.region_run import RegionRun
from noise2map_core.products.bundle import MapFigures
from noise2map_core.products.parts import is_worth_handing_out
from noise2map_core.runtime.mapper import Made, Mapper, here
from noise2map_core.settings.resources import ClusterConfig

AHEAD = 2
"""Tasks of a worker that are begun and not fetched yet: what is made waits for the slowest part."""


@contextmanager
def mapper_for(grid: RegionGrid, resources: ClusterConfig) -> Iterator[Mapper]:
    """Who makes the parts of a region's products: a cluster, or of a small region this process."""
    if not is_worth_handing_out(grid):
        yield here
        return
    with ray_session(resources, reader_needs(resources)):
        yield TaskMapper(shares_of_parts(grid.tile_px, resources).of("reader"))


def write_products_of(run: RegionRun) -> MapFigures:
    """Write the overviews, the products and the manifest of a run."""
    with mapper_for(run.job.grid, run.config.resources) as mapper:
        return write_map(run, mapper)


class TaskMapper:
    """A `Mapper` whose parts are tasks of the connected cluster; a lost one is begun anew by Ray.

    A driver holds what few tasks have made, whatever the number of parts.
    """

    def __init__(self, memory: dict[str, Any] | None = None) -> None:
        """`memory` is what each task asks Ray for besides its CPU."""
        self._memory = memory or {}
        self._workers = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def __call__(self, make: Callable[[Any], Made], parts: Iterable[Any], /) -> Iterator[Made]:
        """See `Mapper`."""
        task: Any = ray.remote(num_cpus=1, **self._memory)(_made)
        shared = ray.put(make)
        waiting: deque[ray.ObjectRef[list[Made]]] = deque()
        for some in self._bundles(parts):
            waiting.append(task.remote(shared, some))
            if len(waiting) > AHEAD * self._workers:
                yield from _fetched(waiting.popleft())
        while waiting:
            yield from _fetched(waiting.popleft())

    def _bundles(self, parts: Iterable[Any]) -> Iterator[list[Any]]:
        """Parts of one task each: several where they are many, one by one where nobody knows."""
        sizes: Iterable[int] = (
            task_sizes(len(parts), self._workers) if isinstance(parts, Sized) else repeat(1)
        )
        rest = iter(parts)
        for size in sizes:
            if not (some := list(islice(rest, size))):
                return
            yield some


def _made(make: Callable[[Any], Made], parts: list[Any]) -> list[Made]:
    return [make(part) for part in parts]


def _fetched(task: "ray.ObjectRef[list[Made]]") -> list[Made]:
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
