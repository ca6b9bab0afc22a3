"""Who makes the parts of the products of a region."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.runtime.mapper import Mapper, here

WORTH_PX = 50_000_000
"""Pixels of a region from which on its products are handed out: on one CPU they take longer than a
cluster and its workers take to start."""

MapperOf = Callable[[RegionGrid], AbstractContextManager[Mapper]]
"""Gives who makes the parts of a region's products, for as long as the context is open."""


def is_worth_handing_out(grid: RegionGrid) -> bool:
    """True for a region whose products a cluster makes sooner than this process."""
    return grid.region.height * grid.region.width >= WORTH_PX


def one_process(grid: RegionGrid) -> AbstractContextManager[Mapper]:
    """A `MapperOf`: this process, whatever the size of the region."""
    return nullcontext(here)
