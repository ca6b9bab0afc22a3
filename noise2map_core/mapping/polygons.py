"""Changed areas as polygons, dissolved across tiles."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import shape

from noise2map_core.atomic import whole_file
from noise2map_core.geo.grid import RegionGrid, Tile
from noise2map_core.mapping.mosaic import NO_PROBABILITY, PROBABILITY_SCALE, Mosaic

COLUMNS = [
    "polygon_id", "class", "class_name", "area_m2", "pixels", "probability", "before", "after",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dates:
    """Between which times a change was seen, UTC."""

    before: datetime
    after: datetime


def trace_polygons(
    mosaic: Mosaic, value: int, name: str, dates: Dates, min_area_m2: float = 0.0
) -> gpd.GeoDataFrame:
    """The connected areas (by pixel edges) of class `value`, in the grid's CRS, by `polygon_id`.

    One tile is in memory at a time. Parts that meet at a tile edge become one polygon, the same as
    if the region had been traced whole. Areas are geodesic, on WGS 84.
    """
    parts, joins = _trace_tiles(mosaic, value)
    table = pd.DataFrame(
        parts, columns=["geometry", "first_row", "first_col", "pixels", "probability_sum"]
    )
    group = _groups(len(parts), joins)
    polygons = _dissolve(table, group, mosaic.grid.crs)
    polygons["area_m2"] = _geodesic_areas(polygons.geometry)
    polygons["polygon_id"] = [
        f"{value}:{row}:{col}"
        for row, col in zip(polygons["first_row"], polygons["first_col"], strict=True)
    ]
    polygons["probability"] = polygons["probability_sum"] / polygons["pixels"]
    polygons = polygons.assign(
        **{"class": value, "class_name": name, "before": dates.before, "after": dates.after}
    )
    large = polygons[polygons["area_m2"] >= min_area_m2]
    return large.sort_values(["first_row", "first_col"])[[*COLUMNS, "geometry"]].reset_index(
        drop=True
    )


def write_polygons(polygons: gpd.GeoDataFrame, path: Path) -> None:
    """GeoParquet 1.1 with covering boxes."""
    with whole_file(path) as partial:
        polygons.to_parquet(partial, write_covering_bbox=True, schema_version="1.1.0", index=False)


Part = tuple[Any, int, int, int, float]
Edges = NDArray[np.int64]


def _trace_tiles(mosaic: Mosaic, value: int) -> tuple[list[Part], Edges]:
    """All parts, numbered from 1 in order, and the pairs of numbers that touch across tiles."""
    parts: list[Part] = []
    joins: list[Edges] = []
    above: dict[Tile, NDArray[np.int64]] = {}
    left: tuple[Tile, NDArray[np.int64]] | None = None
    for tile in mosaic.grid.tiles():
        labels = _trace_tile(mosaic, tile, value, parts)
        if left is not None and left[0] == Tile(tile.row, tile.col - 1):
            joins.append(_touching(left[1], labels[:, 0]))
        if (upper := above.pop(Tile(tile.row - 1, tile.col), None)) is not None:
            joins.append(_touching(upper, labels[0]))
        left = tile, labels[:, -1]
        above[tile] = labels[-1]
    return parts, np.concatenate([np.zeros((0, 2), np.int64), *joins])


def _trace_tile(mosaic: Mosaic, tile: Tile, value: int, parts: list[Part]) -> NDArray[np.int64]:
    """Append the tile's parts; returns their numbers [tile_px, tile_px], 0 elsewhere."""
    window = mosaic.grid.window(tile)
    local, count = ndimage.label(mosaic.read("class", window) == value)
    if count == 0:
        return np.zeros(local.shape, np.int64)
    offset = len(parts)
    rows, cols = np.divmod(_first_pixels(local), local.shape[1])
    stored = mosaic.read("probability", window)
    probability = np.where(stored == NO_PROBABILITY, 0, stored) / PROBABILITY_SCALE
    numbers = np.arange(1, count + 1)
    pixels = ndimage.sum_labels(np.ones_like(local), local, numbers)
    sums = ndimage.sum_labels(probability, local, numbers)
    geometries = _outlines(mosaic.grid, tile, local)
    for i in range(count):
        first = window.row + int(rows[i]), window.col + int(cols[i])
        parts.append((geometries[i + 1], *first, int(pixels[i]), float(sums[i])))
    return np.where(local > 0, local.astype(np.int64) + offset, 0)


def _first_pixels(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Flat index of the first pixel, by rows, of each label from 1 on."""
    numbers, first = np.unique(labels, return_index=True)
    return np.asarray(first[numbers > 0])


def _outlines(grid: RegionGrid, tile: Tile, labels: NDArray[np.int32]) -> dict[int, Any]:
    transform = grid.transform(grid.window(tile))
    traced = shapes(labels.astype(np.int32), mask=labels > 0, connectivity=4, transform=transform)
    return {int(number): shape(geometry) for geometry, number in traced}


def _touching(one: NDArray[np.int64], other: NDArray[np.int64]) -> Edges:
    """Pairs of part numbers that lie side by side along two neighbouring edges."""
    both = (one > 0) & (other > 0)
    return np.unique(np.stack([one[both], other[both]], axis=1), axis=0)


def _groups(count: int, joins: Edges) -> NDArray[np.int32]:
    """For each part, the number of the polygon that it belongs to."""
    if count == 0:
        return np.zeros(0, np.int32)
    one, other = (joins - 1).T
    graph = coo_array((np.ones(len(joins), np.int8), (one, other)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def _dissolve(table: pd.DataFrame, group: NDArray[np.int32], crs: str) -> gpd.GeoDataFrame:
    """One row a polygon: the union of its parts, its first pixel, its sums."""
    rows = []
    ordered = table.assign(group=group).sort_values(["first_row", "first_col"])
    for _, parts in ordered.groupby("group", sort=False):
        rows.append(
            {
                "geometry": _union(list(parts["geometry"])),
                "first_row": parts["first_row"].iloc[0],
                "first_col": parts["first_col"].iloc[0],
                "pixels": parts["pixels"].sum(),
                "probability_sum": parts["probability_sum"].sum(),
            }
        )
    columns = ["geometry", "first_row", "first_col", "pixels", "probability_sum"]
    return gpd.GeoDataFrame(pd.DataFrame(rows, columns=columns), geometry="geometry", crs=crs)


def _union(parts: list[Any]) -> Any:
    """The parts as one polygon, without the vertices that the tile edges left on straight lines."""
    if len(parts) == 1:
        return parts[0].normalize()
    return shapely.simplify(shapely.union_all(parts), 0).normalize()


def _geodesic_areas(geometries: gpd.GeoSeries) -> list[float]:
    geod = pyproj.Geod(ellps="WGS84")
    lon_lat = geometries.to_crs("EPSG:4326")
    return [abs(geod.geometry_area_perimeter(geometry)[0]) for geometry in lon_lat]
