"""Cloud-optimised GeoTIFFs of a mosaic, and of other arrays on its grid."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.shutil import copy as rasterio_copy
from rasterio.windows import Window as RasterioWindow

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_DECISION, NO_PROBABILITY, PROBABILITY_SCALE, Mosaic
from noise2map_core.report.images import Rgba
from noise2map_core.runtime.atomic import whole_file, write_atomically
from noise2map_core.runtime.storage import PARTIAL, is_local

BLOCK_PX = 512
SIDE_CAR = ".aux.xml"
"""Ends the name of the file that tells GDAL what values mean."""
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
    """Metadata of the file: units and the like."""


def write_cog(mosaic: Mosaic, spec: RasterSpec, folder: Path) -> None:
    """Write `spec.file` of an array of the mosaic, in bytes."""
    write_raster(mosaic.grid, spec, lambda at: as_bytes(mosaic.read(spec.array, at)), folder)


def write_raster(grid: RegionGrid, spec: RasterSpec, read: Read, folder: Path) -> None:
    """Write `spec.file`, with overviews, statistics and colours; beside it, what its values mean.

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
            plain, partial, driver="COG", compress="deflate", blocksize=BLOCK_PX,
            overview_resampling=spec.overviews, num_threads="all_cpus", statistics="yes",
        )  # fmt: skip
    if spec.names:
        write_atomically(path.with_name(path.name + SIDE_CAR), _attribute_table(spec))


def as_bytes(stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels of one of the mosaic's arrays as in its raster: amounts in percent, 255 none."""
    if stored.dtype == np.uint16:
        return np.asarray(_PERCENT[stored])
    return stored.astype(np.uint8)


_PERCENT = np.full(NO_PROBABILITY + 1, NO_DECISION, np.uint8)
"""Whole percents by stored number."""
_PERCENT[: PROBABILITY_SCALE + 1] = np.rint(
    np.arange(PROBABILITY_SCALE + 1) / (PROBABILITY_SCALE / 100)
)


def _write_plain(grid: RegionGrid, spec: RasterSpec, read: Read, path: Path) -> None:
    with rasterio.open(path, "w", **_profile(grid, spec)) as target:
        target.set_band_description(1, spec.title)
        target.update_tags(**spec.tags)
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


def _attribute_table(spec: RasterSpec) -> str:
    """GDAL's side-car: names of the values, which a GeoTIFF itself cannot hold."""
    root = Xml.Element("PAMDataset")
    band = Xml.SubElement(root, "PAMRasterBand", band="1")
    categories = Xml.SubElement(band, "CategoryNames")
    for value in range(max(spec.names) + 1):
        Xml.SubElement(categories, "Category").text = spec.names.get(value, "")
    table = Xml.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # Types and usages are GDAL's enumerations: integers and strings; value, name, colours.
    columns = [("Value", 0, 5), ("Class", 2, 2), ("R", 0, 6), ("G", 0, 7), ("B", 0, 8)]
    for index, (name, kind, usage) in enumerate(columns):
        column = Xml.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            Xml.SubElement(column, tag).text = str(text)
    for index, (value, name) in enumerate(spec.names.items()):
        row = Xml.SubElement(table, "Row", index=str(index))
        for cell in (value, name, *spec.colors[value][:3]):
            Xml.SubElement(row, "F").text = str(cell)
    return Xml.tostring(root, encoding="unicode") + "\n"
