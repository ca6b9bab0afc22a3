"""The template of a region's Zarr: all of its metadata, and none of its pixels.

It is made whole before the work. Each tile of the grid is one shard of each array; arrays bear the
names that CF and the conventions of Zarr give to where pixels lie.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import zarr
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.mapping.conventions import place, pyramid
from noise2map_core.mapping.levels import Level, full
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
    path: Path,
    grid: RegionGrid,
    about: dict[str, Any],
    arrays: Mapping[str, ArrayTemplate],
    coarser: Sequence[Level] = (),
) -> None:
    """Make the store on a disk and move it to its place, so that it is whole or absent.

    `about`: attributes of the group, besides those that say where it lies. `coarser`: overviews,
    each a group of the same arrays.
    """
    scratch = scratch_beside(path)
    make_template(scratch, grid, about, arrays, coarser)
    publish(scratch, path, last=ROOT)


def make_template(
    folder: Path,
    grid: RegionGrid,
    about: dict[str, Any],
    arrays: Mapping[str, ArrayTemplate],
    coarser: Sequence[Level] = (),
) -> None:
    """As `write_template`, right where a folder of a disk is to be: for nobody else to see."""
    finest = full(grid)
    placed = pyramid(grid.crs, [finest, *coarser]) if coarser else place(grid.crs, finest)
    group = zarr.create_group(folder, zarr_format=3, attributes={**about, **placed})
    _write_level(group, finest, grid, arrays)
    for level in coarser:
        here = group.create_group(level.path, attributes=place(grid.crs, level))
        _write_level(here, level, grid, arrays)


def _write_level(
    group: zarr.Group, level: Level, grid: RegionGrid, arrays: Mapping[str, ArrayTemplate]
) -> None:
    placed = {"grid_mapping": "spatial_ref", **place(grid.crs, level)}
    for name, template in arrays.items():
        group.create_array(
            name,
            shape=(level.height, level.width),
            dtype=template.dtype,
            fill_value=template.fill,
            chunks=(CHUNK_PX if grid.tile_px % CHUNK_PX == 0 else grid.tile_px,) * 2,
            shards=(grid.tile_px, grid.tile_px),
            compressors=[
                BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle),
                Crc32cCodec(),
            ],
            dimension_names=("y", "x"),
            attributes={**placed, **template.attributes},
        )
    _write_coordinates(group, level, grid.crs)


def _write_coordinates(group: zarr.Group, level: Level, crs: str) -> None:
    """Pixel centres and the CF grid mapping."""
    transform = level.transform
    x = transform.c + transform.a * (np.arange(level.width) + 0.5)
    y = transform.f + transform.e * (np.arange(level.height) + 0.5)
    for name, values in (("x", x), ("y", y)):
        group.create_array(
            name, data=values, chunks=values.shape, dimension_names=(name,), compressors=None,
            attributes={"units": "metre", "standard_name": f"projection_{name}_coordinate"},
        )  # fmt: skip
    group.create_array(
        "spatial_ref", data=np.array(0, np.int64), dimension_names=(),
        attributes={
            **_grid_mapping(crs),
            "GeoTransform": " ".join(f"{value:.17g}" for value in transform.to_gdal()),
        },
    )  # fmt: skip


@lru_cache(maxsize=16)
def _grid_mapping(crs: str) -> dict[str, Any]:
    return dict(pyproj.CRS.from_user_input(crs).to_cf())


def documents_of(folder: Path) -> dict[str, bytes]:
    """The documents of all nodes of a store on a disk, by path; the group itself is ""."""
    found = sorted(folder.rglob(ROOT))
    names = (file.parent.relative_to(folder).as_posix() for file in found)
    return {
        "" if name == "." else name: file.read_bytes()
        for name, file in zip(names, found, strict=True)
    }
