"""Cloud-optimised GeoTIFFs of a mosaic, and of other arrays on its grid."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rasterio
from numpy.typing import NDArray
from rasterio.shutil import copy as rasterio_copy
from rasterio.windows import Window as RasterioWindow

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_DECISION, Mosaic
from noise2map_core.products.styles.attribute_table import SIDE_CAR, attribute_table
from noise2map_core.products.styles.legend import Legend, class_legend
from noise2map_core.products.styles.raster_qml import raster_style
from noise2map_core.products.styles.sld import raster_sld
from noise2map_core.report.images import Rgba
from noise2map_core.runtime.atomic import whole_file, write_atomically
from noise2map_core.runtime.storage import PARTIAL, is_local

BLOCK_PX = 512
QML, SLD = ".qml", ".sld"
"""End the names of the styles, in place of the raster's own ending."""
GDAL_CACHE_MIB = 64

Read = Callable[[Window], NDArray[Any]]
"""Gives the pixels [H, W] of a window of the grid, as they are to be in the raster."""


@dataclass(frozen=True, slots=True)
class RasterSpec:
    """How one array becomes a raster, of bytes unless `dtype` says otherwise."""

    array: str
    file: str
    title: str
    overviews: str
    """Resampling of the overviews: "mode" for classes, "average" for amounts."""
    nodata: int | None = NO_DECISION
    names: dict[int, str] = field(default_factory=dict)
    """What the values mean."""
    colors: dict[int, Rgba] = field(default_factory=dict)
    dtype: str = "uint8"
    tags: dict[str, str] = field(default_factory=dict)
    """Metadata of the file; "units" is that of the values, too."""
    scale: float = 1.0
    """What is stored times it is the value."""
    ramp: Legend | None = None
    """Of numbers that are no classes: how they are drawn."""

    @property
    def legend(self) -> Legend | None:
        """Names and colours; None: other programs have their own for it."""
        return class_legend(self.names, self.colors) if self.names else self.ramp

    @property
    def side_cars(self) -> dict[str, str]:
        """What lies beside the raster for other programs, by the names of the files."""
        stem, found = Path(self.file).stem, {}
        if self.names:
            found[self.file + SIDE_CAR] = f"Names of the values of {self.file}, for GDAL"
        if self.legend:
            found[stem + QML] = f"Style of {self.file} for QGIS"
            found[stem + SLD] = f"Style of {self.file} for GeoServer and others, SLD"
        return found


def write_cog(mosaic: Mosaic, spec: RasterSpec, folder: Path) -> None:
    """Write `spec.file` of an array of the mosaic, as it is stored there."""

    def read(window: Window) -> NDArray[Any]:
        return mosaic.read(spec.array, window).astype(spec.dtype, casting="safe")

    write_raster(mosaic.grid, spec, read, folder)


def write_raster(grid: RegionGrid, spec: RasterSpec, read: Read, folder: Path) -> None:
    """Write `spec.file`, with overviews, statistics and colours; beside it, what its values mean,
    and styles by which other programs draw them.

    Streams the region by tiles to a tiled GeoTIFF, then GDAL's COG driver orders it.
    """
    path = folder / spec.file
    with (
        rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_MIB),
        TemporaryDirectory(
            dir=folder if is_local(folder) else None, prefix=f".cog{PARTIAL}."
        ) as scratch,
        whole_file(path) as partial,
    ):
        plain = Path(scratch) / "plain.tif"
        _write_plain(grid, spec, read, plain)
        rasterio_copy(
            plain, partial, driver="COG", compress="deflate", predictor=_predictor(spec),
            blocksize=BLOCK_PX, overview_resampling=spec.overviews,
            num_threads="all_cpus", statistics="yes",
        )  # fmt: skip
    _write_side_cars(spec, folder)


def _write_side_cars(spec: RasterSpec, folder: Path) -> None:
    if spec.names:
        write_atomically(folder / (spec.file + SIDE_CAR), attribute_table(spec.names, spec.colors))
    if spec.legend:
        stem = Path(spec.file).stem
        write_atomically(folder / (stem + QML), raster_style(spec.legend) + "\n")
        write_atomically(folder / (stem + SLD), raster_sld(stem, spec.legend) + "\n")


def _predictor(spec: RasterSpec) -> str:
    """Neighbouring amounts differ little, and pack better as differences; classes do not."""
    return "no" if spec.names else "standard"


def _write_plain(grid: RegionGrid, spec: RasterSpec, read: Read, path: Path) -> None:
    with rasterio.open(path, "w", **_profile(grid, spec)) as target:
        target.set_band_description(1, spec.title)
        target.update_tags(**spec.tags)
        target.scales, target.units = [spec.scale], [spec.tags.get("units", "")]
        if spec.colors:
            target.write_colormap(1, spec.colors)
        for window in region_tiles(grid):
            target.write(read(window), 1, window=_relative(window, grid.region))


def _profile(grid: RegionGrid, spec: RasterSpec) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "dtype": spec.dtype,
        "count": 1,
        "height": grid.region.height,
        "width": grid.region.width,
        "crs": grid.crs,
        "transform": grid.transform(grid.region),
        "nodata": spec.nodata,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "compress": "zstd",
        "zstd_level": 1,
        "bigtiff": "if_safer",
    }


def region_tiles(grid: RegionGrid) -> Iterator[Window]:
    """Windows of the region by whole tiles, so that each shard is read once."""
    rows, cols = grid.shape_tiles
    for index in range(rows * cols):
        window = grid.window(grid.tile_at(index)).intersect(grid.region)
        if not window.is_empty:
            yield window


def _relative(window: Window, frame: Window) -> RasterioWindow:
    return RasterioWindow(
        window.col - frame.col, window.row - frame.row, window.width, window.height
    )
