"""The template of a region's Zarr: all of its metadata, and none of its pixels.

It is made whole before the work. Each tile of the grid is one shard of each array; arrays bear the
names that CF and GeoZarr give to where pixels lie.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import zarr
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.runtime.storage import publish, scratch_beside

CHUNK_PX = 256
ROOT = "zarr.json"
"""Name of the document of a group or array."""


@dataclass(frozen=True, slots=True)
class ArrayTemplate:
    """An array [y, x] over the whole tiles of a grid."""

    dtype: str
    fill: Any
    """What a pixel has that nobody has written."""
    attributes: dict[str, Any] = field(default_factory=dict)


def write_template(
    path: Path, grid: RegionGrid, about: dict[str, Any], arrays: Mapping[str, ArrayTemplate]
) -> None:
    """Make the store on a disk and move it to its place, so that it is whole or absent.

    `about`: attributes of the group, besides those that say where it lies.
    """
    scratch = scratch_beside(path)
    frame = grid.tile_frame
    group = zarr.open_group(scratch, mode="w", zarr_format=3)
    group.attrs.update({**about, **_geozarr_attributes(grid)})
    for name, template in arrays.items():
        array = group.create_array(
            name,
            shape=(frame.height, frame.width),
            dtype=template.dtype,
            fill_value=template.fill,
            chunks=(CHUNK_PX if grid.tile_px % CHUNK_PX == 0 else grid.tile_px,) * 2,
            shards=(grid.tile_px, grid.tile_px),
            compressors=[
                BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle),
                Crc32cCodec(),
            ],
            dimension_names=("y", "x"),
        )
        array.attrs.update({"grid_mapping": "spatial_ref", **template.attributes})
    _write_coordinates(group, grid)
    publish(scratch, path, last=ROOT)


def _write_coordinates(group: zarr.Group, grid: RegionGrid) -> None:
    """Pixel centres and the CF grid mapping."""
    transform = grid.transform(grid.tile_frame)
    x = transform.c + grid.resolution * (np.arange(grid.tile_frame.width) + 0.5)
    y = transform.f - grid.resolution * (np.arange(grid.tile_frame.height) + 0.5)
    for name, values in (("x", x), ("y", y)):
        array = group.create_array(
            name, data=values, chunks=values.shape, dimension_names=(name,), compressors=None
        )
        array.attrs.update({"units": "metre", "standard_name": f"projection_{name}_coordinate"})
    mapping = group.create_array("spatial_ref", data=np.array(0, np.int64), dimension_names=())
    crs = pyproj.CRS.from_user_input(grid.crs)
    mapping.attrs.update(
        {
            **crs.to_cf(),
            "GeoTransform": " ".join(f"{value:.17g}" for value in transform.to_gdal()),
        }
    )


def _geozarr_attributes(grid: RegionGrid) -> dict[str, Any]:
    frame = grid.tile_frame
    transform = grid.transform(frame)
    return {
        "proj:code": grid.crs,
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [frame.height, frame.width],
        "spatial:transform": list(transform)[:6],
    }
