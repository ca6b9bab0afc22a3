"""One map of classes: from rasters, or from polygons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.scene import Scene
from noise2map_core.digest import digest_of
from noise2map_core.errors import ConfigError
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.chip_store import IGNORE
from noise2map_core.imagery.identity import asset_identities
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.imagery.scene_json import scene_from_json, scene_to_json
from noise2map_core.imagery.vectors import read_vectors
from noise2map_core.redact import unsigned

if TYPE_CHECKING:
    import geopandas as gpd

MAX_CLASSES = IGNORE
"""Class numbers are bytes, of which one means that nobody labelled."""


class LabelLayer(Protocol):
    """One map of classes. Picklable, safe to read from several processes."""

    def read(self, geobox: GeoBox) -> NDArray[np.uint8]:
        """Classes [H, W] on `geobox`; 255 where nothing is known."""

    def identity(self) -> list[str]:
        """What the map depends on besides the settings: digests of files."""

    def to_json(self) -> dict[str, Any]:
        """What is needed to open it again, in plain values."""


@dataclass(frozen=True)
class RasterLayer:
    """Rasters, the preferred one first, brought onto a grid by nearest neighbour."""

    scenes: tuple[Scene, ...]
    values: tuple[tuple[int, ...], ...]
    """Of every class, the values that mean it."""

    def read(self, geobox: GeoBox) -> NDArray[np.uint8]:
        """Classes [H, W] on `geobox`. Raises AssetReadError."""
        image, valid = read_pixels(self.scenes, geobox, "nearest")
        labels = np.full(geobox.shape, IGNORE, np.uint8)
        for value, meant in enumerate(self.values):
            labels[valid & np.isin(image[0], meant)] = value
        return labels

    def identity(self) -> list[str]:
        """Identities of the rasters, in order."""
        return list(asset_identities(list(self.scenes)).values())

    def to_json(self) -> dict[str, Any]:
        """The scenes and values."""
        scenes = [scene_to_json(scene) for scene in self.scenes]
        return {"kind": "raster", "scenes": scenes, "values": self.values}


@dataclass(frozen=True)
class PolygonLayer:
    """Polygons in the grid's CRS: a pixel is of a class if its centre lies in such a polygon."""

    polygons: tuple[BaseGeometry, ...]
    values: tuple[int, ...]
    """Class of each polygon, from 1; where polygons overlap, the last one counts."""
    classes: tuple[str, ...]
    """Names of classes 1, 2, …"""
    column: str | None
    files: tuple[str, ...]
    digest: str

    def read(self, geobox: GeoBox) -> NDArray[np.uint8]:
        """Classes [H, W] on `geobox`; every pixel has one, 0 outside the polygons."""
        near = shapely.STRtree(self.polygons).query(geobox.extent.geom, predicate="intersects")
        labels = np.zeros(geobox.shape, np.uint8)
        if near.size:
            shapes = [(self.polygons[number], self.values[number]) for number in sorted(near)]
            rasterize(shapes, out=labels, transform=geobox.affine)
        return labels

    def identity(self) -> list[str]:
        """SHA-256 of the files."""
        return [self.digest]

    def to_json(self) -> dict[str, Any]:
        """The files and what is read from them."""
        return {
            "kind": "polygons", "files": list(map(unsigned, self.files)), "column": self.column,
            "classes": self.classes, "digest": self.digest,
        }  # fmt: skip


def layer_from_json(found: dict[str, Any] | None, grid: RegionGrid) -> LabelLayer | None:
    """What `to_json` gave; polygons are read again. Raises ConfigError if their files changed."""
    if found is None:
        return None
    if found["kind"] == "raster":
        scenes = tuple(scene_from_json(scene) for scene in found["scenes"])
        return RasterLayer(scenes, tuple(tuple(values) for values in found["values"]))
    files, classes = tuple(found["files"]), tuple(found["classes"])
    layer = open_polygons(files, grid, found["column"], classes)
    if layer.digest != found["digest"]:
        raise ConfigError(f"labels {', '.join(files)} are not those that were ingested.")
    return layer


def open_polygons(
    files: Sequence[str], grid: RegionGrid, column: str | None, classes: tuple[str, ...]
) -> PolygonLayer:
    """The polygons of some files that meet the region, in its CRS, in the order of the files.

    Without `classes`, they are what `column` holds in any of the files, in alphabetical order.
    Raises ConfigError for files that cannot serve.
    """
    read = [read_vectors(path, grid.crs, "labels.path") for path in files]
    frames = [vectors.frame for vectors in read]
    if column is not None:
        for path, frame in zip(files, frames, strict=True):
            _require_column(path, frame, column)
        classes = classes or _classes_in(frames, column)
    if len(classes) >= MAX_CLASSES:
        raise ConfigError(
            f"labels {files[0]} have {len(classes)} classes in {column!r}; a store holds up to "
            f"{MAX_CLASSES - 1}. Set labels.classes."
        )
    region = grid.bounds_polygon(grid.region)
    number = {name: value for value, name in enumerate(classes, start=1)}
    polygons, values = [], []
    for frame in frames:
        chosen = frame[frame.intersects(region)]
        names = chosen[column].astype(str) if column is not None else [classes[0]] * len(chosen)
        for shape, name in zip(chosen.geometry, names, strict=True):
            if name in number:
                polygons.append(shape)
                values.append(number[name])
    if not polygons:
        raise ConfigError(
            f"labels {', '.join(files)} hold no polygon in the region"
            + (f" of class {', '.join(classes)}" if column else "")
            + ". Check its CRS, or set labels.path."
        )
    digest = digest_of([vectors.digest for vectors in read])
    return PolygonLayer(tuple(polygons), tuple(values), classes, column, tuple(files), digest)


def _require_column(path: str, frame: "gpd.GeoDataFrame", column: str) -> None:
    if column not in frame.columns or column == frame.geometry.name:
        names = ", ".join(str(name) for name in frame.columns if name != frame.geometry.name)
        raise ConfigError(
            f"labels {path} have no property {column!r}; they have: {names or 'none'}. "
            "Set labels.column."
        )


def _classes_in(frames: Sequence["gpd.GeoDataFrame"], column: str) -> tuple[str, ...]:
    return tuple(sorted({str(name) for frame in frames for name in frame[column].dropna()}))
