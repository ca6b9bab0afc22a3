"""Choosing the grid of a region from the scenes that show it."""

import math
from collections.abc import Iterator, Sequence

from odc.geo.crs import CRS, CRSError
from odc.geo.geobox import GeoBox
from odc.geo.geom import point

from noise2map_core.catalog.scene import Scene
from noise2map_core.errors import ConfigError
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.config import GridConfig
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.zone import centre_of, local_crs
from noise2map_core.imagery.files import SourceInfo, inspect

SIGNIFICANT_DIGITS = 3
"""Of a resolution that had to be converted to metres."""

SAME_RESOLUTION = 1e-6
"""Relative difference under which two resolutions are one."""


def plan_grid(aoi: AreaOfInterest, grid: GridConfig, scenes: Sequence[Scene]) -> RegionGrid:
    """The anchored grid over `aoi`, on the scenes' own pixels wherever the settings allow it.

    Opens the files of one scene of every projection: they are trusted over the items. Raises
    ConfigError for a CRS that is unknown or not projected in metres.
    """
    sources = list(_sources(scenes))
    crs = _own_crs(sources, aoi) if grid.crs == "auto" else _metric_crs(grid.crs)
    resolution = grid.resolution
    if resolution == "auto":
        resolution = _own_resolution(sources, crs, aoi)
    x_origin, y_origin = grid.origin or _own_origin(sources, crs, resolution)
    tile_px = None if grid.tile_px == "auto" else grid.tile_px
    return RegionGrid.covering(aoi, str(crs), resolution, x_origin, y_origin, tile_px)


def _sources(scenes: Sequence[Scene]) -> Iterator[SourceInfo]:
    """Every band of the first scene of each projection; of all scenes that do not state theirs."""
    seen: set[str] = set()
    for scene in scenes:
        if scene.proj_code is None or scene.proj_code not in seen:
            yield from (inspect(source) for source in scene.bands)
            seen.add(scene.proj_code or "")


def _metric_crs(name: str) -> CRS:
    try:
        crs = CRS(name)
    except CRSError:
        raise ConfigError(f"grid.crs {name!r} is unknown. Set it to auto or to EPSG:….") from None
    if not _is_metric(crs):
        raise ConfigError(
            f"grid.crs {name!r} is not projected in metres. Set it to auto or to a projected CRS, "
            "for instance the UTM zone."
        )
    return crs


def _is_metric(crs: CRS) -> bool:
    return bool(crs.projected) and all(unit in ("metre", "meter") for unit in crs.units)


def _own_crs(sources: Sequence[SourceInfo], aoi: AreaOfInterest) -> CRS:
    names = {source.crs for source in sources}
    if len(names) == 1 and _is_metric(crs := CRS(names.pop())):
        return crs
    return local_crs(aoi.geometry)


def _own_resolution(sources: Sequence[SourceInfo], crs: CRS, aoi: AreaOfInterest) -> float:
    return min(_resolution_in(source, crs, aoi) for source in sources)


def _resolution_in(source: SourceInfo, crs: CRS, aoi: AreaOfInterest) -> float:
    """Side of a source pixel in units of `crs`; rounded if that needs a conversion."""
    if crs == source.crs:
        return float(min(abs(source.transform.a), abs(source.transform.e)))
    x, y = point(*centre_of(aoi.geometry), "EPSG:4326").to_crs(source.crs).coords[0]
    pixel = source.transform.translation(x, y) @ source.transform.scale(
        source.transform.a, source.transform.e
    )
    side = math.sqrt(GeoBox((1, 1), pixel, source.crs).extent.to_crs(crs).area)
    return float(f"{side:.{SIGNIFICANT_DIGITS}g}")


def _own_origin(sources: Sequence[SourceInfo], crs: CRS, resolution: float) -> tuple[float, float]:
    """Offset of the source grid from the CRS's own lattice; (0, 0) where the grids differ."""
    for source in sources:
        same = math.isclose(source.transform.a, resolution, rel_tol=SAME_RESOLUTION)
        if same and crs == source.crs:
            return _offset(source.transform.c, resolution), _offset(source.transform.f, resolution)
    return 0.0, 0.0


def _offset(coordinate: float, resolution: float) -> float:
    """Rest of `coordinate` modulo `resolution`, in [0, resolution), free of rounding noise."""
    rest = round(coordinate % resolution, 9)
    return 0.0 if math.isclose(rest, resolution, rel_tol=1e-9) else rest
