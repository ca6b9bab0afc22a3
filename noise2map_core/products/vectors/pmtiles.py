"""Polygons as vector tiles in one file (PMTiles), which web maps read by ranges; by GDAL."""

import json
import math
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.turns import HALF_TURN, centre_of_grid, wrapped
from noise2map_core.products.vectors.polygon_files import LAYER

DRIVER = "PMTiles"
BATCH = 20_000
"""Polygons in memory at a time."""
EQUATOR_M = 40_075_016.686
TILE_UNITS = 4_096
"""Of a tile's side: coordinates are whole numbers of them."""
UNITS_A_PIXEL = 2
"""At the last zoom, at least; closer, viewers enlarge it."""
MOST_ZOOM = 22
NORTHERNMOST = 85.0511
"""Degrees of latitude at which Web Mercator ends, and with it the tiles."""
MERCATOR = shapely.box(-HALF_TURN, -NORTHERNMOST, HALF_TURN, NORTHERNMOST)
LONGEST_PX = 64
"""Of a straight edge, pixels: longer ones bend in Web Mercator."""
SECONDS = "%Y-%m-%dT%H:%M:%SZ"
"""Times as text: vector tiles have none."""


NO_TILES = (
    "no PMTiles are made, for the GDAL that pyogrio was built with cannot write them. Install "
    "pyogrio's own wheel (pip install --force-reinstall pyogrio); all other files are complete."
)


def can_write_tiles() -> bool:
    """False where pyogrio was built with a GDAL that has no PMTiles."""
    return DRIVER in pyogrio.list_drivers(write=True)


def write_tiles(
    parquet: Path, path: Path, grid: RegionGrid, layer: str = LAYER, title: str = ""
) -> bool:
    """Write a GeoParquet file's polygons with all their attributes; False, and no file, if there
    are none, or none that Web Mercator shows (beyond 85° of latitude).

    The file is read batch by batch. Equal polygons give equal bytes. From afar, tiles of very many
    polygons are coarser, and leave out the smallest: 500 kB or 200,000 of them a tile.
    """
    batches = _batches(parquet, LONGEST_PX * grid.resolution)
    first = next(batches, None)
    if first is None:
        return False
    low, high = zooms(grid)
    with warnings.catch_warnings():
        # Said of tiles that are coarser, as above.
        warnings.filterwarnings("ignore", "At least one tile exceeded", RuntimeWarning)
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(first.schema, chain([first], batches)),
            path, driver=DRIVER, layer=layer, geometry_name="geometry", geometry_type="Unknown",
            crs="EPSG:4326", MINZOOM=low, MAXZOOM=high, NAME=layer, DESCRIPTION=title or layer,
        )  # fmt: skip
    return True


def zooms(grid: RegionGrid) -> tuple[int, int]:
    """First and last zoom: from where the region is half a tile wide to where coordinates are finer
    than its pixels."""
    _, latitude = centre_of_grid(grid.geobox(grid.region))
    stretch = math.cos(math.radians(min(abs(latitude), NORTHERNMOST)))
    world_px = EQUATOR_M * stretch / grid.ground_m
    last = math.ceil(math.log2(world_px * UNITS_A_PIXEL / TILE_UNITS))
    first = math.floor(math.log2(world_px / max(grid.region.height, grid.region.width))) - 1
    last = min(max(last, 0), MOST_ZOOM)
    return min(max(first, 0), last), last


def _batches(parquet: Path, step: float) -> Iterator[pa.RecordBatch]:
    """What can be shown, in degrees, as plain columns; no batch is empty."""
    with pq.ParquetFile(parquet) as file:
        crs = _crs_of(file)
        names = [field.name for field in file.schema_arrow if _is_told(field)]
        for batch in file.iter_batches(BATCH, columns=[*names, "geometry"]):
            shapes = shapely.from_wkb(batch["geometry"].to_numpy(zero_copy_only=False))
            shapes = in_degrees(shapes, crs, step)
            columns = {name: _plain(batch[name]) for name in names}
            columns["geometry"] = pa.array(shapely.to_wkb(shapes), pa.binary())
            shown = pa.record_batch(columns).filter(pa.array(~shapely.is_empty(shapes)))
            if len(shown):
                yield shown


def _is_told(field: pa.Field) -> bool:
    """Boxes and binary columns are none of what tiles say."""
    return not (pa.types.is_struct(field.type) or pa.types.is_binary(field.type))


def _crs_of(file: pq.ParquetFile) -> pyproj.CRS:
    geo = json.loads(file.metadata.metadata[b"geo"])
    return pyproj.CRS.from_json_dict(geo["columns"]["geometry"]["crs"])


def _plain(column: pa.Array) -> pa.Array:
    """Times and days as text, numbers of a byte as GDAL's integers."""
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column.cast(pa.timestamp("s", column.type.tz)), SECONDS)
    if pa.types.is_date(column.type):
        return column.cast(pa.string())
    return column.cast(pa.int32()) if column.type == pa.uint8() else column


def in_degrees(polygons: NDArray[np.object_], crs: pyproj.CRS, step: float) -> NDArray[np.object_]:
    """Polygons in EPSG:4326, cut at the antimeridian and where Web Mercator ends, empty beyond.

    `step`: of longer edges, points so far apart are projected, units of `crs`.
    """
    there = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    placed: NDArray[np.object_] = shapely.transform(
        shapely.segmentize(polygons, step),
        lambda xy: np.column_stack(there.transform(xy[:, 0], xy[:, 1])),
    )
    west, south, east, north = shapely.bounds(placed).T
    for number in np.flatnonzero(east - west > HALF_TURN):
        placed[number] = wrapped(shapely.transform(placed[number], _unrolled))
    beyond = (south < -NORTHERNMOST) | (north > NORTHERNMOST)
    placed[beyond] = shapely.intersection(placed[beyond], MERCATOR)
    return placed


def _unrolled(lon_lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes from 0 to 360: what crosses the antimeridian is in one piece."""
    return np.column_stack([lon_lat[:, 0] % (2 * HALF_TURN), lon_lat[:, 1]])
