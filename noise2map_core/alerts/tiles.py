"""A look taken into the state tile by tile: any order, any worker, the same bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from noise2map_core.alerts.fold import Rules, fold
from noise2map_core.alerts.state import look_of
from noise2map_core.alerts.store import StateStore
from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.mapping.recut import RecutMosaic


@dataclass(frozen=True)
class FoldJob:
    """All that a worker needs to take one look into any tile. Small, picklable, read-only."""

    state: Path
    """`alerts.zarr`, a copy that nobody reads yet."""
    look: Path
    """`mosaic.zarr` of the slice."""
    grid: RegionGrid
    day: int
    """Since 1970-01-01."""
    rules: Rules
    threshold: float | None = None
    """Probability from which the slice's products say changed; None: as the mosaic has it."""

    @cached_property
    def mosaic(self) -> Mosaic:
        """The look's pixels, cut as the slice's products are."""
        mosaic = Mosaic(self.look, self.grid)
        if self.threshold is None:
            return mosaic
        return RecutMosaic(mosaic, self.threshold, of_winner=False)

    @cached_property
    def store(self) -> StateStore:
        """The state."""
        return StateStore(self.state, self.grid)


FoldTiles = Callable[[FoldJob, Sequence[Tile]], None]
"""Takes a look into tiles, here or on a cluster."""


def fold_tile(job: FoldJob, tile: Tile) -> None:
    """Take a look into one tile: arrays that come to be the same are not written."""
    window = job.grid.window(tile)
    classes, probability = (job.mosaic.read(name, window) for name in ("class", "probability"))
    before = job.store.read(tile)
    job.store.write(tile, before, fold(before, look_of(classes, probability, job.day), job.rules))


def fold_here(job: FoldJob, tiles: Sequence[Tile]) -> None:
    """Take a look into tiles in this process, one after the other."""
    for tile in tiles:
        fold_tile(job, tile)
