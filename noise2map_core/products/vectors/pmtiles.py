"""Polygons as vector tiles in one file (PMTiles), which web maps read by ranges; by GDAL."""

import json
import math
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

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
from noise2map_core.products.vectors.tile_parts import (
    UNITS,
    Archive,
    Node,
    Tiles,
    parts_of,
    shown,
    tiles_of,
)
from noise2map_core.runtime.mapper import Mapper, here
from noise2map_core.runtime.progress import progress

DRIVER = "PMTiles"
BATCH = 20_000
"""Polygons in memory at a time."""
EQUATOR_M = 40_075_016.686
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
    parquet: Path,
    path: Path,
    grid: RegionGrid,
    layer: str = LAYER,
    title: str = "",
    mapper: Mapper = here,
) -> bool:
    """Write a GeoParquet file's polygons with all their attributes; False, and no file, if there
    are none, or none that Web Mercator shows (beyond 85° of latitude).

    Tiles are made by `mapper`, some at a time, and put together here; equal polygons give equal
    bytes. At the last zoom all polygons are there, as far as a tile holds them; from afar, a tile
    of very many has the `MOST_FROM_AFAR` largest. Tiles of more than 500 kB are coarser.
    """
    low, high = zooms(grid)
    with TemporaryDirectory(prefix="noise2map-") as scratch:
        projected = Path(scratch) / "projected.arrow"
        boxes = _project(parquet, projected, LONGEST_PX * grid.resolution, mapper)
        if not len(boxes):
            return False
        parts = [part for zoom in range(low, high + 1) for part in parts_of(boxes, zoom, high)]
        with (
            pa.memory_map(str(projected)) as source,
            path.open("wb") as file,
            progress(len(parts), "vector tiles", "part") as bar,
        ):
            table = pa.ipc.open_file(source).read_all()
            handed = ((zoom, node, zoom == high, table.take(rows)) for zoom, node, rows in parts)
            archive = Archive(file, boxes, (low, high))
            for tiles in mapper(partial(_tiles, layer), handed):
                archive.add(tiles)
                bar.update()
            archive.finish(layer, title or layer)
    return True


def zooms(grid: RegionGrid) -> tuple[int, int]:
    """First and last zoom: from where the region is half a tile wide to where coordinates are finer
    than its pixels."""
    _, latitude = centre_of_grid(grid.geobox(grid.region))
    stretch = math.cos(math.radians(min(abs(latitude), NORTHERNMOST)))
    world_px = EQUATOR_M * stretch / grid.ground_m
    last = math.ceil(math.log2(world_px * UNITS_A_PIXEL / UNITS))
    first = math.floor(math.log2(world_px / max(grid.region.height, grid.region.width))) - 1
    last = min(max(last, 0), MOST_ZOOM)
    return min(max(first, 0), last), last


def _project(parquet: Path, target: Path, step: float, mapper: Mapper) -> NDArray[np.float64]:
    """Write what can be shown, in degrees, as plain columns; the bounds [polygon, 4] of all."""
    found = [np.zeros((0, 4))]
    with pq.ParquetFile(parquet) as file, ExitStack() as stack:
        names = [field.name for field in file.schema_arrow if _is_told(field)]
        batches = file.iter_batches(BATCH, columns=[*names, "geometry"])
        make, sink = partial(_projected, names, _crs_of(file), step), None
        for batch, bounds in mapper(make, batches):
            sink = sink or stack.enter_context(pa.ipc.new_file(str(target), batch.schema))
            sink.write_batch(batch)
            found.append(bounds)
    return np.concatenate(found)


def _projected(
    names: Sequence[str], crs: pyproj.CRS, step: float, batch: pa.RecordBatch
) -> tuple[pa.RecordBatch, NDArray[np.float64]]:
    """What of a batch can be shown, and its bounds, degrees."""
    shapes = shapely.from_wkb(batch["geometry"].to_numpy(zero_copy_only=False))
    shapes = in_degrees(shapes, crs, step)
    columns = {name: _plain(batch[name]) for name in names}
    columns["geometry"] = pa.array(shapely.to_wkb(shapes), pa.binary())
    there = ~shapely.is_empty(shapes)
    return pa.record_batch(columns).filter(pa.array(there)), shapely.bounds(shapes[there])


def _tiles(layer: str, part: tuple[int, Node, bool, pa.Table]) -> Tiles:
    """The tiles of a part (zoom, node, whether it is the last zoom, polygons), made by GDAL."""
    zoom, node, last, table = part
    with TemporaryDirectory(prefix="noise2map-") as scratch, warnings.catch_warnings():
        # Said of tiles that are coarser, as above.
        warnings.filterwarnings("ignore", "At least one tile exceeded", RuntimeWarning)
        path = Path(scratch) / "part.pmtiles"
        pyogrio.write_arrow(
            shown(table, node, zoom, last=last), path, driver=DRIVER, layer=layer,
            geometry_name="geometry", geometry_type="Unknown", crs="EPSG:4326",
            MINZOOM=zoom, MAXZOOM=zoom, NAME=layer,
        )  # fmt: skip
        return tiles_of(path, node)


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
