"""Who makes the parts of what is made of a region, without Ray where it would not be worth it."""

from contextlib import AbstractContextManager

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.products.parts import MapperOf, is_worth_handing_out, one_process
from noise2map_core.runtime.mapper import Mapper
from noise2map_core.settings.resources import ClusterConfig


def mapper_of(resources: ClusterConfig) -> MapperOf:
    """Gives this process for a region, or, for a large one, tasks of the cluster."""

    def of_region(grid: RegionGrid) -> AbstractContextManager[Mapper]:
        if not is_worth_handing_out(grid):
            return one_process(grid)
        # Here and not above: Ray takes seconds, which small regions are spared.
        from noise2map_core.distributed.tasks import mapper_for

        return mapper_for(grid, resources)

    return of_region
