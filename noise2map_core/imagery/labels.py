"""Labels of change on the grid of the chips: from a raster, or from polygons.

0 unchanged, 1 changed, 255 not labelled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.config import SearchConfig
from noise2map_core.catalog.scene import BandSource, Scene
from noise2map_core.digest import file_sha256
from noise2map_core.errors import ConfigError
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.imagery.chip_store import IGNORE
from noise2map_core.imagery.config import LabelsConfig, NoLabels, PolygonLabels, RasterLabels
from noise2map_core.imagery.identity import asset_identities
from noise2map_core.imagery.reader import inspect, read_pixels

UNCHANGED, CHANGED = 0, 1
CLASSES = [{"value": UNCHANGED, "name": "unchanged"}, {"value": CHANGED, "name": "changed"}]

Labels = NDArray[np.uint8]


class LabelSource(Protocol):
    """Where labels come from. Picklable, safe to read from several processes."""

    def read(self, geobox: GeoBox) -> Labels:
        """Labels [H, W] on `geobox`; 255 where there are none."""

    def identity(self) -> list[str]:
        """What the labels depend on besides the settings: digests of files."""


@dataclass(frozen=True)
class RasterLabelSource:
    """Label rasters, the preferred one first, brought onto a grid by nearest neighbour."""

    scenes: tuple[Scene, ...]
    changed: tuple[int, ...]
    unchanged: tuple[int, ...]

    def read(self, geobox: GeoBox) -> Labels:
        """Labels [H, W] on `geobox`. Raises AssetReadError."""
        image, valid = read_pixels(self.scenes, geobox, "nearest")
        labels = np.full(geobox.shape, IGNORE, np.uint8)
        labels[valid & np.isin(image[0], self.unchanged)] = UNCHANGED
        labels[valid & np.isin(image[0], self.changed)] = CHANGED
        return labels

    def identity(self) -> list[str]:
        """Identities of the rasters, in order."""
        return list(asset_identities(list(self.scenes)).values())


@dataclass(frozen=True)
class PolygonLabelSource:
    """Polygons in the grid's CRS: a pixel is changed if its centre lies in one."""

    polygons: tuple[BaseGeometry, ...]
    digest: str

    def read(self, geobox: GeoBox) -> Labels:
        """Labels [H, W] on `geobox`; every pixel is labelled."""
        near = shapely.STRtree(self.polygons).query(geobox.extent.geom, predicate="intersects")
        labels = np.full(geobox.shape, UNCHANGED, np.uint8)
        if near.size:
            shapes = [(self.polygons[number], CHANGED) for number in sorted(near)]
            rasterize(shapes, out=labels, transform=geobox.affine)
        return labels

    def identity(self) -> list[str]:
        """SHA-256 of the file."""
        return [self.digest]


def open_labels(
    config: LabelsConfig, search: SearchConfig, aoi: AreaOfInterest, interval: str, grid: RegionGrid
) -> LabelSource | None:
    """The configured source of labels; None if labels are not asked for.

    `interval` is the time from before to after; label items must meet it. Raises CatalogError or
    ConfigError if there are no labels where the settings say.
    """
    match config:
        case NoLabels():
            return None
        case PolygonLabels():
            return PolygonLabelSource(_read_polygons(config.path, grid), file_sha256(config.path))
        case RasterLabels():
            scenes = _label_scenes(config, search, aoi, interval)
            return RasterLabelSource(tuple(scenes), config.changed, config.unchanged)


def _label_scenes(
    config: RasterLabels, search: SearchConfig, aoi: AreaOfInterest, interval: str
) -> Sequence[Scene]:
    if config.asset is not None:
        from noise2map_core.catalog.search import search_labels  # slow, and workers search nothing

        return search_labels(search, aoi, config.asset, interval)[::-1]
    assert config.path is not None
    return [_file_scene(config.path, aoi)]


def _file_scene(path: str, aoi: AreaOfInterest) -> Scene:
    """One raster as a scene. Raises AssetReadError, and ConfigError if it misses the area."""
    href = path if "://" in path else str(Path(path).expanduser().resolve())
    source = BandSource("label", href, 1, None, None)
    footprint = inspect(source).geobox.geographic_extent.geom
    if not footprint.intersects(aoi.geometry):
        raise ConfigError(f"labels {path} do not cover area {aoi.name}. Set labels.path to others.")
    now = np.datetime64(0, "s").item()
    return Scene(
        Path(path).stem, "", now, shapely.to_wkb(footprint), (source,), None, None, href, ""
    )


def _read_polygons(path: Path, grid: RegionGrid) -> tuple[BaseGeometry, ...]:
    """The polygons that meet the region, in its CRS, in the order of the file."""
    import geopandas as gpd  # slow to import, and workers do without

    if not path.is_file():
        raise ConfigError(f"labels {path} do not exist. Set labels.path to a file of polygons.")
    try:
        reader = gpd.read_parquet if path.suffix in (".parquet", ".geoparquet") else gpd.read_file
        frame = reader(path).to_crs(grid.crs)
    except (OSError, ValueError, RuntimeError, CRSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"labels {path} cannot be read as polygons: {reason}.") from error
    kinds = set(frame.geom_type.dropna()) - {"Polygon", "MultiPolygon"}
    if kinds:
        raise ConfigError(f"labels {path} hold {', '.join(sorted(kinds))}: they must be polygons.")
    shapes = frame.geometry[frame.intersects(grid.bounds_polygon(grid.region))]
    if shapes.empty:
        raise ConfigError(
            f"labels {path} hold no polygon in the region. Check its CRS, or set labels.path."
        )
    return tuple(shapes)
