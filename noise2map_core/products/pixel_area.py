"""Geodesic areas of pixels."""

import numpy as np
import pyproj
from numpy.typing import NDArray

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window

SPACING_PX = 64
"""The area of a pixel is worked out this far apart and is linear in between."""


def pixel_areas(grid: RegionGrid, window: Window) -> NDArray[np.float64]:
    """Area of each pixel [H, W] on the WGS 84 ellipsoid, m². Right to 1e-7 of itself at 30 m."""
    rows, cols = _nodes(window.height), _nodes(window.width)
    transform = grid.transform(window)
    x = transform.c + cols * grid.resolution
    y = transform.f - rows * grid.resolution
    scale = _true_areas(*np.meshgrid(x, y), grid)
    return _weights(rows, window.height) @ scale @ _weights(cols, window.width).T


def _nodes(length: int) -> NDArray[np.float64]:
    return np.linspace(0, length, max(2, -(-length // SPACING_PX) + 1))


def _weights(nodes: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """[pixel, node]: linear interpolation at the pixels' centres."""
    place = (np.arange(length) + 0.5) / (nodes[1] - nodes[0])
    return np.clip(1 - np.abs(place[:, None] - np.arange(len(nodes))), 0, 1)


def _true_areas(
    x: NDArray[np.float64], y: NDArray[np.float64], grid: RegionGrid
) -> NDArray[np.float64]:
    """Area of one pixel around each point, by the derivatives of longitude and latitude."""
    step = SPACING_PX / 4 * grid.resolution
    to_lon_lat = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    east, west, north, south = (
        np.radians(to_lon_lat.transform(x + dx, y + dy))
        for dx, dy in ((step, 0), (-step, 0), (0, step), (0, -step))
    )
    (lon_x, lat_x), (lon_y, lat_y) = east - west, north - south
    # Across the antimeridian longitudes jump.
    lon_x, lon_y = (np.angle(np.exp(1j * lon)) for lon in (lon_x, lon_y))
    latitude = np.radians(to_lon_lat.transform(x, y)[1])
    determinant = (lon_x * lat_y - lon_y * lat_x) / (2 * SPACING_PX / 4) ** 2
    return np.abs(determinant) * _square_radian(latitude)


def _square_radian(latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area per radian of longitude and radian of latitude: M N cos φ."""
    ellipsoid = pyproj.Geod(ellps="WGS84")
    square = 1 - ellipsoid.es * np.sin(latitude) ** 2
    return ellipsoid.a**2 * (1 - ellipsoid.es) * np.cos(latitude) / square**2
