"""Footprints of scenes on a grid."""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.turns import outline_of

EDGE_PARTS = 32
"""Parts of a footprint's edge that are straight in any CRS: off by decimetres for 100 km."""

MARGIN_PX = 4096
"""Pixels around the tiles of a region of which a footprint may still matter, to halos."""

MAX_DEGREES = 20.0
"""Larger footprints are cut: far from its middle a projection has no coordinates."""

EVERYWHERE = shapely.box(-1e9, -1e9, 1e9, 1e9)
"""In metres."""


def footprints_on(grid: RegionGrid, scenes: Sequence[Scene]) -> NDArray[np.object_]:
    """Footprints in the grid's CRS, as far as they are near it; all at once, since there may be
    thousands. One that the CRS cannot hold is taken to be everywhere."""
    footprints = shapely.from_wkb([scene.footprint_wkb for scene in scenes])
    if not len(footprints):
        return np.asarray(footprints)
    near = outline_of(grid.geobox(grid.tile_frame.grow(MARGIN_PX)))
    west, south, east, north = shapely.bounds(footprints).T
    large = np.maximum(east - west, north - south) > MAX_DEGREES
    footprints[large] = shapely.intersection(footprints[large], near)
    west, south, east, north = shapely.bounds(footprints).T
    side = np.maximum(east - west, north - south)
    dense = shapely.segmentize(footprints, np.where(side > 0, side, 1.0) / EDGE_PARTS)
    to_grid = CRS("EPSG:4326").transformer_to_crs(CRS(grid.crs))
    found = shapely.transform(dense, lambda xy: np.stack(to_grid(*xy.T), axis=1))
    broken = ~np.isfinite(shapely.bounds(found)).all(axis=1) & ~shapely.is_empty(dense)
    found[broken] = EVERYWHERE
    return np.asarray(found)
