"""One map of classes: from rasters, or from polygons."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.scene import Scene
from noise2map_core.catalog.scene_json import scene_from_json, scene_to_json
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.labels import IGNORE
from noise2map_core.labels.vectors import read_vectors
from noise2map_core.rasters.identity import asset_identities
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.redact import unsigned
from noise2map_core.settings.labels import class_name

if TYPE_CHECKING:
    import geopandas as gpd

MAX_CLASSES = IGNORE
"""Class numbers are bytes, of which one means that nobody labelled."""


OUTSIDE = 0
"""Class of what no polygon shows, if nothing else is said."""


class LabelLayer(Protocol):
    """One map of classes. Picklable, safe to read from several processes."""

    def read(self, geobox: GeoBox) -> NDArray[np.uint8]:
        """Classes [H, W] on `geobox`; 255 where nothing is known."""

    def unnamed(self, geobox: GeoBox) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values [H, W] as they are stored, and where they are there but mean nothing."""

    def identity(self) -> list[str]:
        """What the map depends on besides the settings: digests of files."""

    def to_json(self) -> dict[str, Any]:
        """What is needed to open it again, in plain values."""


@dataclass(frozen=True)
class RasterLayer:
    """Rasters, the preferred one first, brought onto a grid by nearest neighbour."""

    scenes: tuple[Scene, ...]
    values: tuple[tuple[int, ...], ...]
    """Of every class, the values that mean it; also where a raster calls them nodata."""
    ignored: tuple[int, ...] = ()
    """Values that are known to mean nothing."""

    def read(self, geobox: GeoBox) -> NDArray[np.uint8]:
        """Classes [H, W] on `geobox`. Raises AssetReadError."""
        image, valid = self._pixels(geobox)
        labels = np.full(geobox.shape, IGNORE, np.uint8)
        for value, meant in enumerate(self.values):
            labels[valid & np.isin(image, meant)] = value
        return labels

    def unnamed(self, geobox: GeoBox) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values [H, W], and where one is there that no setting names. Raises AssetReadError."""
        image, valid = self._pixels(geobox)
        named = [value for meant in (*self.values, self.ignored) for value in meant]
        return image, valid & ~np.isin(image, named)

    def _pixels(self, geobox: GeoBox) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values [H, W], and where there is one: what has a meaning is no nodata."""
        meant = tuple(value for values in self.values for value in values)
        scenes = [
            replace(scene, bands=(replace(scene.bands[0], data_values=meant),))
            for scene in self.scenes
        ]
        image, valid = read_pixels(scenes, geobox, "nearest")
        return image[0], valid

    def identity(self) -> list[str]:
        """Identities of the rasters, in order."""
        return list(asset_identities(list(self.scenes)).values())

    def to_json(self) -> dict[str, Any]:
        """The scenes and values."""
        scenes = [scene_to_json(scene) for scene in self.scenes]
        return {
            "kind": "raster", "scenes": scenes, "values": self.values, "ignored": self.ignored,
        }  # fmt: skip


@dataclass(frozen=True)
class PolygonLayer:
    """Polygons in the grid's CRS: a pixel is of a class if its centre lies in such a polygon."""

    polygons: tuple[BaseGeometry, ...]
    values: tuple[int, ...]
    """Class of each polygon, from 1, 255 without one; where polygons overlap, the last one
    counts."""
    names: "PolygonNames"
    files: tuple[str, ...]
    digest: str
    passed_over: tuple[str, ...] = ()
    """What other polygons in the region are called."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of classes 1, 2, …"""
        return self.names.classes

    def read(self, geobox: GeoBox) -> NDArray[np.uint8]:
        """Classes [H, W] on `geobox`; what lies outside the polygons is 0 or, where some are
        named as that, 255."""
        near = shapely.STRtree(self.polygons).query(geobox.extent.geom, predicate="intersects")
        labels = np.full(geobox.shape, self.names.outside, np.uint8)
        if near.size:
            shapes = [(self.polygons[number], self.values[number]) for number in sorted(near)]
            rasterize(shapes, out=labels, transform=geobox.affine)
        return labels

    def unnamed(self, geobox: GeoBox) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Nothing: polygons have names, and those without a meaning are `passed_over`."""
        return np.zeros(geobox.shape, np.uint8), np.zeros(geobox.shape, np.bool_)

    def identity(self) -> list[str]:
        """SHA-256 of the files."""
        return [self.digest]

    def to_json(self) -> dict[str, Any]:
        """The files and what is read from them."""
        return {
            "kind": "polygons", "files": list(map(unsigned, self.files)), **self.names.to_json(),
            "digest": self.digest,
        }  # fmt: skip


@dataclass(frozen=True)
class PolygonNames:
    """Where a polygon's class stands, and what it means."""

    column: str | None
    """None: all polygons are of the first class."""
    classes: tuple[str, ...]
    """Names of classes 1, 2, …; empty: all that `column` holds, in alphabetical order."""
    unchanged: tuple[str, ...] = ()
    """Names of class 0."""
    layer: str | None = None
    """Of a GeoPackage."""
    merged: bool = False
    """True: all `classes` are class 1, changed."""

    @property
    def outside(self) -> int:
        """Class of what lies outside all polygons: 0, unless there are polygons to say that."""
        return IGNORE if self.unchanged else OUTSIDE

    @property
    def numbers(self) -> dict[str, int]:
        """Class by name."""
        meant = {
            name: 1 if self.merged else value for value, name in enumerate(self.classes, start=1)
        }
        return meant | dict.fromkeys(self.unchanged, OUTSIDE)

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not set is left out."""
        named: dict[str, Any] = {"unchanged": self.unchanged, "layer": self.layer}
        if len(self.classes) > 1:
            named["merged"] = self.merged
        found = {"column": self.column, "classes": self.classes}
        return found | {name: value for name, value in named.items() if value}


def layer_from_json(found: dict[str, Any] | None, grid: RegionGrid) -> LabelLayer | None:
    """What `to_json` gave; polygons are read again. Raises ConfigError if their files changed."""
    if found is None:
        return None
    if found["kind"] == "raster":
        scenes = tuple(scene_from_json(scene) for scene in found["scenes"])
        values = tuple(tuple(values) for values in found["values"])
        return RasterLayer(scenes, values, tuple(found.get("ignored", ())))
    files = tuple(found["files"])
    names = PolygonNames(
        found["column"], tuple(found["classes"]), tuple(found.get("unchanged", ())),
        found.get("layer"), found.get("merged", False),
    )  # fmt: skip
    layer = open_polygons(files, grid, names)
    if layer.digest != found["digest"]:
        raise ConfigError(f"labels {', '.join(files)} are not those that were ingested.")
    return layer


def open_polygons(files: Sequence[str], grid: RegionGrid, names: PolygonNames) -> PolygonLayer:
    """The polygons of some files that meet the region, in its CRS, in the order of the files.

    Raises ConfigError for files that cannot serve.
    """
    read = [read_vectors(path, grid.crs, "labels.path", names.layer) for path in files]
    called = [_called(path, one.frame, names) for path, one in zip(files, read, strict=True)]
    if not names.classes:
        found = {name for of_file in called for name in of_file if name is not None}
        names = replace(names, classes=tuple(sorted(found)))
    if len(names.classes) >= MAX_CLASSES:
        raise ConfigError(
            f"labels {files[0]} have {len(names.classes)} classes in {names.column!r}; a store "
            f"holds up to {MAX_CLASSES - 1}. Set labels.classes."
        )
    near = [
        (shape, name)
        for one, of_file in zip(read, called, strict=True)
        for shape, name in _meeting(one.frame, of_file, grid.bounds_polygon(grid.region))
    ]
    numbers: dict[str | None, int] = {None: IGNORE}
    numbers.update(names.numbers)
    shown = [(shape, numbers[name]) for shape, name in near if name in numbers]
    if all(value == IGNORE for _, value in shown):
        raise ConfigError(
            f"labels {', '.join(files)} hold no polygon in the region"
            + (f" of class {', '.join(names.numbers)}" if names.column else "")
            + ". Check its CRS, or set labels.path."
        )
    return PolygonLayer(
        tuple(shape for shape, _ in shown), tuple(value for _, value in shown), names,
        tuple(files), digest_of([one.digest for one in read]),
        tuple(sorted({name for _, name in near if name is not None and name not in numbers})),
    )  # fmt: skip


def _meeting(
    frame: "gpd.GeoDataFrame", called: Sequence[str | None], region: BaseGeometry
) -> Iterator[tuple[BaseGeometry, str | None]]:
    meets = frame.intersects(region)
    for shape, name, near in zip(frame.geometry, called, meets, strict=True):
        if near:
            yield shape, name


def _called(path: str, frame: "gpd.GeoDataFrame", names: PolygonNames) -> list[str | None]:
    """The class of each polygon by name; None where there is none."""
    if names.column is None:
        return [names.classes[0]] * len(frame)
    _require_column(path, frame, names.column)
    column = frame[names.column]
    return [
        None if missing else class_name(value)
        for value, missing in zip(column, column.isna(), strict=True)
    ]


def _require_column(path: str, frame: "gpd.GeoDataFrame", column: str) -> None:
    if column not in frame.columns or column == frame.geometry.name:
        names = ", ".join(str(name) for name in frame.columns if name != frame.geometry.name)
        raise ConfigError(
            f"labels {path} have no property {column!r}; they have: {names or 'none'}. "
            "Set labels.column."
        )
