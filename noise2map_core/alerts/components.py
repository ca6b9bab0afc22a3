"""Pixels of a state that are alerts and hang together, measured: what objects are made of."""

from functools import partial
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from noise2map_core.alerts.state import Status
from noise2map_core.alerts.store import StateStore
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.measures import Measure, Pixels, Sizes
from noise2map_core.products.vectors.area_blocks import iter_areas
from noise2map_core.products.vectors.areas import Areas
from noise2map_core.products.vectors.outlines import Corners, polygons_of
from noise2map_core.products.vectors.polygons import on_the_map

ACTIVE = 1
"""The class of pixels that are provisional or confirmed alerts."""
PLACE_BITS = 47
"""Of a seed, for the pixel's place in the frame: 11 million pixels squared."""
DAY_BITS = 16


class ActiveMap:
    """A state as a map of one class, which `iter_areas` takes."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    @property
    def grid(self) -> RegionGrid:
        """The state's."""
        return self._store.grid

    def read(self, name: str, window: Window) -> NDArray[Any]:
        """The class, 1 where there is an alert. No probability: other numbers are measured."""
        if name != "class":
            return np.zeros((window.height, window.width), np.uint16)
        status = self._store.read_array("status", window)
        return ((status == Status.PROVISIONAL) | (status == Status.CONFIRMED)).astype(np.uint8)

    def measured(self, window: Window) -> Pixels:
        """What objects say of their pixels; see `_table` for the order."""
        names = ("first", "prior", "last", "seen", "looks", "hits", "p_max", "p_sum", "status")
        of = {name: self._store.read_array(name, window) for name in names}
        first = of["first"].astype(np.int64)
        bracket = ((1 << DAY_BITS) - 1 - first << DAY_BITS) | of["prior"]
        highest = [-(first << PLACE_BITS | self._places(window)), bracket]
        highest += [of[name] for name in ("last", "seen", "looks", "hits", "p_max")]
        sums = [of[name] for name in ("looks", "hits", "p_sum")]
        return Pixels(sums, highest, [of["status"] == Status.CONFIRMED])

    def _places(self, window: Window) -> NDArray[np.int64]:
        """Number of each pixel in the frame of tiles, by rows."""
        frame = self.grid.tile_frame
        rows = np.arange(window.row, window.row_stop, dtype=np.int64) - frame.row
        cols = np.arange(window.col, window.col_stop, dtype=np.int64) - frame.col
        return rows[:, None] * frame.width + cols


def find_components(
    store: StateStore, minimum_m2: float, known: NDArray[np.object_]
) -> gpd.GeoDataFrame:
    """The components of alert pixels, those that hang together by pixel edges, by first pixel.

    Smaller ones than `minimum_m2` only where they may meet a shape of `known`. Columns: row and col
    (first pixel on the anchored grid), area_m2, area_confirmed_m2, days as numbers (first, prior,
    last, seen), seed_row, seed_col (the pixel with the smallest `first`, row and column), looks,
    hits, p_max (highest of a pixel), sum_looks, sum_hits, sum_p, geometry in the grid's CRS.
    """
    active = ActiveMap(store)
    measure = Measure(Sizes(3, 7, 1), active.measured)
    large = partial(_large, active, minimum_m2, shapely.STRtree(known))
    tables = [_table(areas, store.grid) for areas in iter_areas(active, [ACTIVE], large, measure)]
    return _ordered(pd.concat(tables), store.grid)


def _ordered(table: pd.DataFrame, grid: RegionGrid) -> gpd.GeoDataFrame:
    ordered = table.sort_values(["row", "col"]).reset_index(drop=True)
    return gpd.GeoDataFrame(ordered, geometry="geometry", crs=grid.crs)


def _large(active: ActiveMap, minimum_m2: float, known: shapely.STRtree, areas: Areas) -> Areas:
    """Those of a size, and those that may meet a known shape."""
    near = np.zeros(len(areas), np.bool_)
    near[known.query(_boxes(areas.corners, active.grid), "intersects")[0]] = True
    return areas.of((areas.area_m2 >= minimum_m2) | near)


def _boxes(corners: Corners, grid: RegionGrid) -> NDArray[np.object_]:
    """The box of each area in the grid's CRS."""
    if not len(corners):
        return np.zeros(0, np.object_)
    first = np.flatnonzero(np.diff(corners.area, prepend=-1))
    (top, left), (bottom, right) = (
        [extreme.reduceat(line, first) for line in (corners.row, corners.col)]
        for extreme in (np.minimum, np.maximum)
    )
    side = grid.resolution
    boxes: NDArray[np.object_] = shapely.box(
        grid.x_origin + left * side, grid.y_origin - bottom * side,
        grid.x_origin + right * side, grid.y_origin - top * side,
    )  # fmt: skip
    return boxes


def _table(areas: Areas, grid: RegionGrid) -> pd.DataFrame:
    seed, bracket, last, seen, looks, hits, p_max = areas.more.highest.T
    sum_looks, sum_hits, sum_p = areas.more.sums.T
    place = -seed & ((1 << PLACE_BITS) - 1)
    width = grid.tile_frame.width
    return pd.DataFrame(
        {
            "row": areas.first_row, "col": areas.first_col, "area_m2": areas.area_m2,
            "area_confirmed_m2": areas.more.marked_m2[:, 0],
            "first": -seed >> PLACE_BITS, "prior": bracket & ((1 << DAY_BITS) - 1),
            "last": last, "seen": seen,
            "seed_row": place // width + grid.tile_frame.row,
            "seed_col": place % width + grid.tile_frame.col,
            "looks": looks, "hits": hits, "p_max": p_max,
            "sum_looks": sum_looks, "sum_hits": sum_hits, "sum_p": sum_p,
            "geometry": on_the_map(polygons_of(areas.corners), grid),
        }
    )  # fmt: skip
