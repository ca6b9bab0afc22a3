"""A small mosaic, tiles for it, and runs that took its lease and left."""

from pathlib import Path

import numpy as np
import shapely

from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import Mosaic, TileMap
from noise2map_core.runtime.lease import hold_lease

GRID = RegionGrid(
    "EPSG:32633", 10.0, 0.0, 0.0, 64, Window(0, 0, 128, 64), shapely.box(-1e9, -1e9, 1e9, 1e9)
)
CLASSES = [{"value": 0, "name": "same"}, {"value": 1, "name": "changed"}]
TILE = Tile(1, 0)


def tile_of(value: int) -> TileMap:
    rng = np.random.default_rng(value)
    return TileMap(
        rng.integers(0, 2, (64, 64)).astype(np.uint8),
        rng.integers(0, 10_000, (64, 64)).astype(np.uint16),
        np.ones((64, 64), np.bool_), np.zeros((64, 64), np.uint8),
    )  # fmt: skip


def mosaic_of(fence: int, output: Path) -> Mosaic:
    return Mosaic.create(output / "mosaic.zarr", GRID, CLASSES, (), fence)


def abandoned(output: Path) -> int:
    """The number of a run that took the lease and is no more at work."""
    with hold_lease(output) as fence:
        return fence
