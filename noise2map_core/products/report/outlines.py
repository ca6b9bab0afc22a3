"""Polygons as the page draws them."""

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.products.report.page import Area

MOST_CHARACTERS = 1_000_000
"""Of all outlines together."""
TOLERANCES_PX = (0.4, 0.8, 1.6, 3.2, 6.4)
"""How far outlines may move, in pixels of the preview: the first that keeps to the limit."""


def areas_of(
    polygons: gpd.GeoDataFrame | None, colors: dict[int, str], grid: RegionGrid, step: int
) -> list[Area]:
    """The polygons (those of `PolygonTally.largest`) on a preview thinned `step` times."""
    if polygons is None or polygons.empty:
        return []
    placed = _on_preview(polygons.geometry.to_numpy(), grid, step)
    centres = shapely.get_coordinates(polygons.geometry.representative_point().to_crs("EPSG:4326"))
    rows = zip(
        polygons.itertuples(index=False), polygons["class"], _paths(placed),
        shapely.bounds(placed).round(1), centres, strict=True,
    )  # fmt: skip
    return [
        Area(
            id=row.polygon_id,
            class_name=row.class_name,
            color=colors[int(value)],
            area_m2=round(row.area_m2, 1),
            pixels=row.pixels,
            probability=round(row.probability, 4),
            centre=f"{lat:.5f}, {lon:.5f}",
            box=tuple(box.tolist()),
            path=path,
        )
        for row, value, path, box, (lon, lat) in rows
    ]


def _on_preview(
    geometries: NDArray[np.object_], grid: RegionGrid, step: int
) -> NDArray[np.object_]:
    frame, pixel = grid.transform(grid.region), grid.resolution * step
    origin, scale = np.array([frame.c, frame.f]), np.array([pixel, -pixel])
    placed: NDArray[np.object_] = shapely.transform(geometries, lambda xy: (xy - origin) / scale)
    return placed


def _paths(geometries: NDArray[np.object_]) -> list[str]:
    """SVG path data; the larger ones coarser if all together would be too long."""
    for tolerance in TOLERANCES_PX:
        paths = [_path(polygon) for polygon in shapely.simplify(geometries, tolerance)]
        if sum(map(len, paths)) <= MOST_CHARACTERS:
            return paths
    boxes = shapely.bounds(geometries)
    return [_path(polygon) for polygon in shapely.box(*boxes.T)]


def _path(polygon: shapely.Polygon) -> str:
    return "".join(_ring(ring) for ring in (polygon.exterior, *polygon.interiors))


def _ring(ring: shapely.LinearRing) -> str:
    points = shapely.get_coordinates(ring)[:-1].round(1)
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points.tolist()) + "Z"
