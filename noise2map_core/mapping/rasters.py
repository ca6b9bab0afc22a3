"""Cloud-optimised GeoTIFFs of a mosaic."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.shutil import copy as rasterio_copy
from rasterio.windows import Window as RasterioWindow

from noise2map_core.atomic import whole_file
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_DECISION, NO_PROBABILITY, PROBABILITY_SCALE, Mosaic

BLOCK_PX = 512
GDAL_CACHE_MIB = 64

ColorTable = dict[int, tuple[int, int, int, int]]
"""Red, green, blue, alpha (0–255) by value."""


def write_change_cog(
    mosaic: Mosaic, path: Path, colors: dict[int, tuple[int, int, int, int]]
) -> None:
    """`change.tif`: 0 unchanged, 1 changed, 255 no decision, with a colour table."""
    _write_cog(mosaic, "class", path, lambda values: values, "mode", colors)


def write_probability_cog(mosaic: Mosaic, path: Path) -> None:
    """`probability.tif`: percent of the changed class, 255 none."""
    _write_cog(mosaic, "probability", path, _percent, "average", None)


def _percent(stored: NDArray[np.uint16]) -> NDArray[np.uint8]:
    percent = np.rint(stored / (PROBABILITY_SCALE / 100))
    return np.where(stored == NO_PROBABILITY, NO_DECISION, percent).astype(np.uint8)


def _write_cog(
    mosaic: Mosaic,
    name: str,
    path: Path,
    convert: Callable[[NDArray[Any]], NDArray[np.uint8]],
    resampling: str,
    colors: ColorTable | None,
) -> None:
    """Stream the region's pixels to a tiled GeoTIFF, then let GDAL's COG driver order them."""
    grid = mosaic.grid
    with (
        rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_MIB, GDAL_NUM_THREADS=1),
        TemporaryDirectory(dir=path.parent, prefix=".cog.") as folder,
        whole_file(path) as partial,
    ):
        plain = Path(folder) / "plain.tif"
        with rasterio.open(plain, "w", **_profile(grid)) as target:
            for window in _strips(grid):
                target.write(
                    convert(mosaic.read(name, window)), 1, window=_relative(window, grid.region)
                )
            if colors:
                target.write_colormap(1, colors)
        rasterio_copy(
            plain, partial, driver="COG", compress="deflate", blocksize=BLOCK_PX,
            overview_resampling=resampling, num_threads=1,
        )  # fmt: skip


def _profile(grid: RegionGrid) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": grid.region.height,
        "width": grid.region.width,
        "crs": grid.crs,
        "transform": grid.transform(grid.region),
        "nodata": NO_DECISION,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "compress": "zstd",
        "bigtiff": "if_safer",
    }


def _strips(grid: RegionGrid) -> Iterator[Window]:
    """The region by whole tiles, so that each shard is read once."""
    rows, cols = grid.shape_tiles
    for index in range(rows * cols):
        window = grid.window(grid.tile_at(index)).intersect(grid.region)
        if not window.is_empty:
            yield window


def _relative(window: Window, frame: Window) -> RasterioWindow:
    return RasterioWindow(
        window.col - frame.col, window.row - frame.row, window.width, window.height
    )
