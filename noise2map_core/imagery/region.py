"""Choosing the grid of a region from the scenes that show it."""

import math
from collections.abc import Sequence

from affine import Affine
from odc.geo.crs import CRS, CRSError

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.ground import ground_side, pixel_sides, true_side
from noise2map_core.geo.turns import outline_of
from noise2map_core.geo.zone import centre_of, local_crs
from noise2map_core.rasters.files import SourceInfo, inspect
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.grid import GridConfig

SIGNIFICANT_DIGITS = 3
"""Of a resolution that had to be converted to metres."""

SAME_RESOLUTION = 1e-6
"""Relative difference under which two resolutions are one."""

SAME_SIZE = 0.01
"""Relative difference of sizes on the ground that a projection may make."""

TRUE_TO_SCALE = 0.05
"""By which part a metre of the scenes' own CRS may differ from one on the ground. Web Mercator is
off by a half at 60 degrees."""

MAX_UPSAMPLING = 2.0
"""Pixels of the grid along one of the source: more are invented."""


def plan_grid(aoi: AreaOfInterest, grid: GridConfig, scenes: Sequence[Scene]) -> RegionGrid:
    """The anchored grid over `aoi`, on the scenes' own pixels wherever the settings allow it.

    Opens all files: they are trusted over the items. Raises ConfigError for a CRS that is unknown
    or not projected in metres, and for pixels much finer than those of the scenes.
    """
    sources = _over(aoi, _sources(scenes))
    crs = _own_crs(sources, aoi) if grid.crs == "auto" else _metric_crs(grid.crs)
    resolution = grid.resolution
    if resolution == "auto":
        resolution = _own_resolution(sources, crs, aoi)
    elif not grid.allow_upsampling:
        _require_own_detail(resolution, crs, sources, aoi)
    x_origin, y_origin = grid.origin or _own_origin(sources, crs, resolution)
    tile_px = None if grid.tile_px == "auto" else grid.tile_px
    return RegionGrid.covering(aoi, str(crs), resolution, x_origin, y_origin, tile_px)


def finest_on_ground(scenes: Sequence[Scene], longitude: float, latitude: float) -> float:
    """Side of the finest of the scenes' pixels, metres on the ground at a place."""
    sizes = {(source.crs, _linear(source.transform)) for source in _sources(scenes)}
    return min(
        true_side(min(pixel_sides(linear)), ground_side(crs, linear, longitude, latitude))
        for crs, linear in sizes
    )


def _sources(scenes: Sequence[Scene]) -> list[SourceInfo]:
    """The files of all bands, each grid once."""
    return list(dict.fromkeys(inspect(source) for scene in scenes for source in scene.bands))


def _linear(transform: Affine) -> Affine:
    """Size and turn of pixels, wherever they lie."""
    return Affine(transform.a, transform.b, 0.0, transform.d, transform.e, 0.0)


def _over(aoi: AreaOfInterest, sources: Sequence[SourceInfo]) -> Sequence[SourceInfo]:
    """The files that show the area; all, if none does."""
    found = [one for one in sources if outline_of(one.geobox).intersects(aoi.geometry)]
    return found or sources


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
        metre = ground_side(str(crs), Affine.identity(), *centre_of(aoi.geometry))
        if abs(metre - 1) <= TRUE_TO_SCALE:
            return crs
    return local_crs(aoi.geometry)


def _own_resolution(sources: Sequence[SourceInfo], crs: CRS, aoi: AreaOfInterest) -> float:
    return min(_resolution_in(source, crs, aoi) for source in sources)


def _resolution_in(source: SourceInfo, crs: CRS, aoi: AreaOfInterest) -> float:
    """Side of a source pixel in units of `crs`; rounded if that needs a conversion."""
    if crs == source.crs:
        return _free_of_noise(min(pixel_sides(source.transform)))
    place = centre_of(aoi.geometry)
    metre = ground_side(str(crs), Affine.identity(), *place)
    side = ground_side(source.crs, source.transform, *place) / metre
    if math.isnan(side):
        raise ConfigError(
            f"the scenes' CRS, {source.crs[:60]}, or {crs} does not reach area {aoi.name}. Set "
            "grid.crs and grid.resolution."
        )
    return float(f"{side:.{SIGNIFICANT_DIGITS}g}")


def _free_of_noise(side: float) -> float:
    """The side of a rotated pixel comes from a sine and a cosine."""
    whole = float(f"{side:.12g}")
    return whole if math.isclose(whole, side, rel_tol=1e-12) else side


def _require_own_detail(
    resolution: float, crs: CRS, sources: Sequence[SourceInfo], aoi: AreaOfInterest
) -> None:
    """Raise ConfigError if pixels are more than MAX_UPSAMPLING times finer than all sources'."""
    place = centre_of(aoi.geometry)
    side = ground_side(str(crs), Affine.scale(resolution), *place)
    finest = min(ground_side(one.crs, one.transform, *place) for one in sources)
    if side * MAX_UPSAMPLING * (1 + SAME_SIZE) < finest:
        raise ConfigError(
            f"grid.resolution {resolution:g} makes pixels of {side:.3g} m, and the scenes have "
            f"{finest:.3g} m: what lies between theirs would be invented. Leave grid.resolution "
            "out, or choose finer imagery. (grid.allow_upsampling makes them nonetheless.)"
        )


def _own_origin(sources: Sequence[SourceInfo], crs: CRS, resolution: float) -> tuple[float, float]:
    """Offset of the source grid from the CRS's own lattice; (0, 0) where the grids differ."""
    for source in sources:
        if crs == source.crs and _is_lattice(source.transform, resolution):
            return _offset(source.transform.c, resolution), _offset(source.transform.f, resolution)
    return 0.0, 0.0


def _is_lattice(transform: Affine, resolution: float) -> bool:
    """True for square pixels of that side along the axes, whichever way their rows run."""
    across, along = abs(transform.a) + abs(transform.d), abs(transform.b) + abs(transform.e)
    straight = min(abs(transform.a), abs(transform.d)) < SAME_RESOLUTION * resolution
    square = all(math.isclose(s, resolution, rel_tol=SAME_RESOLUTION) for s in (across, along))
    return straight and square


def _offset(coordinate: float, resolution: float) -> float:
    """Rest of `coordinate` modulo `resolution`, in [0, resolution), free of rounding noise."""
    rest = round(coordinate % resolution, 9)
    return 0.0 if math.isclose(rest, resolution, rel_tol=1e-9) else rest
