"""Cloud-optimised GeoTIFFs of a mosaic, and of other arrays on its grid."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray
from rasterio.io import MemoryFile

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import NO_DECISION, Mosaic
from noise2map_core.products.cog_parts import (
    BLOCK_PX,
    PackedRaster,
    Packing,
    packed_window,
    parts_of,
)
from noise2map_core.products.styles.attribute_table import SIDE_CAR, attribute_table
from noise2map_core.products.styles.legend import Legend, class_legend
from noise2map_core.products.styles.raster_qml import raster_style
from noise2map_core.products.styles.sld import raster_sld
from noise2map_core.report.images import Rgba
from noise2map_core.runtime.atomic import whole_file, write_atomically
from noise2map_core.runtime.mapper import Mapper, here
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.storage import PARTIAL, is_local

QML, SLD = ".qml", ".sld"
"""End the names of the styles, in place of the raster's own ending."""

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


def write_cog(mosaic: Mosaic, spec: RasterSpec, folder: Path, mapper: Mapper = here) -> None:
    """Write `spec.file` of an array of the mosaic, as it is stored there."""
    write_raster(mosaic.grid, spec, partial(_stored, mosaic, spec), folder, mapper)


def _stored(mosaic: Mosaic, spec: RasterSpec, window: Window) -> NDArray[Any]:
    return mosaic.read(spec.array, window).astype(spec.dtype, casting="safe")


def write_raster(
    grid: RegionGrid, spec: RasterSpec, read: Read, folder: Path, mapper: Mapper = here
) -> None:
    """Write `spec.file`, with overviews, statistics and colours; beside it, what its values mean,
    and styles by which other programs draw them.

    Parts of the region are packed and written by `mapper`, with their overviews, and only laid out
    here: the same bytes whoever packs them. `read` must be picklable where other processes do.
    """
    region = grid.region
    with (
        TemporaryDirectory(
            dir=folder if is_local(folder) else None, prefix=f".cog{PARTIAL}."
        ) as scratch,
        whole_file(folder / spec.file) as unfinished,
        progress(len(parts_of(region)), spec.file, "part") as bar,
    ):
        packing = Packing(spec.dtype, spec.nodata, _predictor(spec), spec.overviews)
        packed = PackedRaster(packing, Path(scratch), mapper)
        packed.add(partial(packed_window, read, packing), region, bar.update)
        packed.write(unfinished, _template(grid, spec, packed))
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


def _template(grid: RegionGrid, spec: RasterSpec, packed: PackedRaster) -> bytes:
    """A GeoTIFF of one block whose tags are those of the raster, as GDAL writes them."""
    with MemoryFile() as memory:
        with memory.open(
            height=BLOCK_PX, width=BLOCK_PX, crs=grid.crs, transform=grid.transform(grid.region),
            **packed.packing.options(),
        ) as file:  # fmt: skip
            file.set_band_description(1, spec.title)
            file.update_tags(**spec.tags)
            file.update_tags(1, **packed.sums.tags(grid.region.height * grid.region.width))
            file.scales, file.units = [spec.scale], [spec.tags.get("units", "")]
            if spec.colors:
                file.write_colormap(1, spec.colors)
        return bytes(memory.getbuffer())
