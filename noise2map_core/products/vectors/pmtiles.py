"""Polygons as vector tiles in one file (PMTiles), which web maps read by ranges; by GDAL."""

import math
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

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
from noise2map_core.products.part_files import put_part, write_whole
from noise2map_core.products.vectors.polygon_files import LAYER, box_of, crs_of
from noise2map_core.products.vectors.tile_parts import (
    UNITS,
    Archive,
    KeptTiles,
    Node,
    Part,
    in_order,
    parts_of,
    shown,
    squares_of,
    tiles_of,
)
from noise2map_core.runtime.mapper import Mapper, here, where_seen
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.storage import PARTIAL

DRIVER = "PMTiles"
BOXES = "-boxes"
"""Ends the name of a file of bounds of polygons."""
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
    *,
    shared: bool = False,
) -> bool:
    """Write a GeoParquet file's polygons with all their attributes; False, and no file, if there
    are none, or none that Web Mercator shows (beyond 85° of latitude).

    Tiles are made by `mapper`, some at a time, and only laid out here; equal polygons give equal
    bytes. Where those who make them see the folder of `path` (it is `shared`), they read polygons
    and write tiles there; others are sent them. At the last zoom all polygons are there, as far as
    a tile holds them; from afar, a tile of very many has the `MOST_FROM_AFAR` largest. Tiles of
    more than 500 kB are coarser.
    """
    low, high = zooms(grid)
    with TemporaryDirectory(dir=path.parent, prefix=f".tiles{PARTIAL}.") as folder:
        polygons = Projected(Path(folder), shared, mapper)
        polygons.add(parquet, LONGEST_PX * grid.resolution)
        if not len(polygons):
            return False
        parts = polygons.parts(low, high)
        archive = Archive(polygons.bounds, (low, high))
        with progress(len(parts), "vector tiles", "part") as bar:
            make = partial(_tiles, layer, Path(folder), polygons.starts)
            for tiles in mapper(make, polygons.handed(parts, high)):
                polygons.put(tiles.file, tiles.body)
                archive.add(tiles)
                bar.update()
        head = archive.head(layer, title or layer)
        write_whole(path, head, archive.runs, Path(folder), mapper)
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


Handed = tuple[int, int, Node, bool, NDArray[np.int64] | pa.Table]
"""File, zoom, node, whether it is the last zoom, and polygons, or their numbers in files."""


class Projected:
    """Polygons in degrees, in a folder: a file for each row group that they come from, and one of
    their bounds."""

    def __init__(self, folder: Path, shared: bool, mapper: Mapper) -> None:
        self._folder, self._shared, self._mapper = folder, shared, mapper
        self.bounds: NDArray[np.float64] = np.zeros((0, 4))
        """Of each row group that has any, degrees …"""
        self._groups: NDArray[np.int64] = np.zeros(0, np.int64)
        """… and its file."""
        self.starts: NDArray[np.int64] = np.zeros(1, np.int64)
        """Of each file, the number of its first polygon, and behind the last one how many there
        are."""
        self._number = count()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def add(self, parquet: Path, step: float) -> None:
        """What of a GeoParquet file can be shown."""
        with pq.ParquetFile(parquet) as file:
            names = [field.name for field in file.schema_arrow if _is_told(field)]
            rows = (
                (next(self._number), parquet if self._shared else _group(file, number, names))
                for number in range(file.num_row_groups)
            )
            make = partial(_projected, names, crs_of(file), step, self._folder)
            made = [self._put_group(group) for group in self._mapper(make, rows)]
        self.bounds = np.concatenate([np.zeros((0, 4)), *(bounds for bounds, _ in made)])
        self._groups = np.flatnonzero([size for _, size in made])
        self.starts = np.cumsum([0, *(size for _, size in made)])

    def _put_group(self, group: "Group") -> tuple[NDArray[np.float64], int]:
        self.put(group.file, group.body)
        self.put(f"{group.file}{BOXES}", group.boxes)
        return group.bounds, group.size

    def put(self, name: int | str, body: bytes | None) -> None:
        """Write a part that came back."""
        if body is not None:
            put_part(self._folder, name, body)

    def parts(self, low: int, high: int) -> list[Part]:
        """Of all zooms, in the order of their tiles."""
        counts = np.diff(self.starts)[self._groups]
        squares = [
            (zoom, node, self._groups[near])
            for zoom in range(low, high + 1)
            for node, near in squares_of(self.bounds, counts, zoom)
        ]
        work, found = (
            partial(_parts_within, self._folder, self.starts, high),
            dict[int, list[Part]](),
        )
        for (zoom, _, _), parts in zip(
            squares, where_seen(self._mapper, work, squares), strict=True
        ):
            found.setdefault(zoom, []).extend(parts)
        return [part for zoom in sorted(found) for part in in_order(found[zoom])]

    def handed(self, parts: list[Part], high: int) -> Iterable[Handed]:
        """Parts, and what whoever makes them gets: polygons one part after the other, as they are
        asked for."""
        numbered = zip(self._number, parts, strict=False)
        if self._shared:
            return [(file, zoom, node, zoom == high, rows)
                    for file, (zoom, node, rows) in numbered]  # fmt: skip
        return (
            (file, zoom, node, zoom == high, taken(self._folder, self.starts, rows))
            for file, (zoom, node, rows) in numbered
        )


class Group(NamedTuple):
    """What is known of a row group that is projected."""

    file: int
    size: int
    """Of polygons that can be shown."""
    bounds: NDArray[np.float64]
    """[1, 4] Of all of them, degrees; [0, 4] of none."""
    body: bytes | None
    boxes: bytes | None
    """Polygons, and bounds of each; None: the files are there."""


def _group(file: pq.ParquetFile, number: int, names: Sequence[str]) -> pa.Table:
    return file.read_row_group(number, columns=[*names, "geometry"])


def _projected(
    names: Sequence[str],
    crs: pyproj.CRS,
    step: float,
    folder: Path,
    part: tuple[int, Path | pa.Table],
) -> Group:
    """What of a row group can be shown, in files: as plain columns, and bounds in degrees."""
    number, source = part
    if isinstance(source, pa.Table):
        table = source
    else:
        with pq.ParquetFile(source) as file:
            table = _group(file, number, names)
    geometry = table["geometry"].combine_chunks()
    geometry = geometry.storage if isinstance(geometry, pa.ExtensionArray) else geometry
    shapes = in_degrees(shapely.from_wkb(geometry.to_numpy(zero_copy_only=False)), crs, step)
    columns = {name: _plain(table[name].combine_chunks()) for name in names}
    columns["geometry"] = pa.array(shapely.to_wkb(shapes), pa.binary())
    there = ~shapely.is_empty(shapes)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, (batch := pa.record_batch(columns)).schema) as file:
        file.write_batch(batch.filter(pa.array(there)))
    body, boxes = sink.getvalue().to_pybytes(), shapely.bounds(shapes[there])
    seen = put_part(folder, number, body) and put_part(folder, f"{number}{BOXES}", boxes.tobytes())
    sent = (None, None) if seen else (body, boxes.tobytes())
    return Group(number, len(boxes), box_of(boxes), *sent)


def _parts_within(
    folder: Path, starts: NDArray[np.int64], high: int, square: tuple[int, Node, NDArray[np.int64]]
) -> list[Part] | None:
    """The parts within a node, of the polygons of some files; None if they are not seen from
    here."""
    zoom, node, groups = square
    if not folder.is_dir():
        return None
    bodies = [(folder / f"{group}{BOXES}").read_bytes() for group in groups.tolist()]
    boxes = np.frombuffer(b"".join(bodies)).reshape(-1, 4)
    rows = np.concatenate([np.arange(starts[group], starts[group + 1]) for group in groups])
    return parts_of(boxes, zoom, high, node, rows)


def taken(folder: Path, starts: NDArray[np.int64], rows: NDArray[np.int64]) -> pa.Table:
    """Polygons of these numbers, in their order, which rises; `starts` as of `Projected`."""
    files = np.searchsorted(starts, rows, "right") - 1
    found = []
    for number in np.unique(files).tolist():
        with pa.memory_map(str(folder / f"{number}")) as source:
            table = pa.ipc.open_file(source).read_all()
            found.append(table.take(rows[files == number] - starts[number]))
    return pa.concat_tables(found)


def _tiles(layer: str, folder: Path, starts: NDArray[np.int64], part: Handed) -> KeptTiles:
    """The tiles of a part, made by GDAL."""
    file, zoom, node, last, sent = part
    table = sent if isinstance(sent, pa.Table) else taken(folder, starts, sent)
    with TemporaryDirectory(prefix="noise2map-") as scratch, warnings.catch_warnings():
        # Said of tiles that are coarser, as above.
        warnings.filterwarnings("ignore", "At least one tile exceeded", RuntimeWarning)
        path = Path(scratch) / "part.pmtiles"
        pyogrio.write_arrow(
            shown(table, node, zoom, last=last), path, driver=DRIVER, layer=layer,
            geometry_name="geometry", geometry_type="Unknown", crs="EPSG:4326",
            MINZOOM=zoom, MAXZOOM=zoom, NAME=layer,
        )  # fmt: skip
        return KeptTiles.of(tiles_of(path, node), folder, file)


def _is_told(field: pa.Field) -> bool:
    """Boxes and binary columns are none of what tiles say."""
    return not (pa.types.is_struct(field.type) or pa.types.is_binary(field.type))


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
