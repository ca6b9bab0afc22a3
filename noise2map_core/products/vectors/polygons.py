"""Classes as polygons, dissolved across tiles."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.products.vectors.area_blocks import iter_areas
from noise2map_core.products.vectors.areas import Areas
from noise2map_core.products.vectors.outlines import polygons_of
from noise2map_core.products.vectors.polygon_files import arrow_table
from noise2map_core.runtime.mapper import Mapper, here

BATCH_POLYGONS = 20_000
BATCH_BYTES = 8 << 20
"""A batch is as soon as it has either: its size on disk, and in memory, has a bound."""
NUM_LARGEST = 2_000
BINS_A_DECADE = 2
HECTARE = 1e4

Balance = dict[str, dict[str, float]]
"""Class name to "gained_ha" and "lost_ha"."""


@dataclass(frozen=True, slots=True)
class Dates:
    """When a map's images were taken, UTC. A map of one date has no `before`."""

    before: datetime | None
    after: datetime

    def columns(self) -> dict[str, datetime]:
        """What the polygons say: "before" and "after", or "date"."""
        if self.before is None:
            return {"date": self.after}
        return {"before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class PolygonRules:
    """Which polygons are wanted, and in which form."""

    names: dict[int, str]
    """Name of each class that becomes polygons."""
    dates: Dates
    min_area_m2: float = 0.0
    """Smaller ones are left out …"""
    min_area_px: int = 1
    """… and those of fewer pixels."""
    simplify_m: float = 0.0
    """How far an outline may move, in units of the grid's CRS; 0: every pixel's edge is kept."""
    directions: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Of classes that are kinds of change, what was before and what is after."""


@dataclass
class LeftOut:
    """Areas that are too small to become polygons."""

    count: int = 0
    area_m2: float = 0.0
    by_class: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))
    """Of that area, m² by class value."""

    @classmethod
    def of(cls, areas: Areas) -> "LeftOut":
        """Some areas."""
        by_class = np.bincount(areas.value, areas.area_m2, 256).astype(np.float64)
        return cls(len(areas), float(areas.area_m2.sum()), by_class)

    def add(self, other: "LeftOut") -> None:
        """Count others, too."""
        self.count += other.count
        self.area_m2 += other.area_m2
        self.by_class += other.by_class


@dataclass
class PolygonTally:
    """Sums, sizes and the largest of the polygons seen so far."""

    count: int = 0
    area_m2: dict[str, float] = field(default_factory=dict)
    """Geodesic area by class name."""
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(24, np.int64))
    """How many polygons there are by area: bins of half a power of ten, from 1 m²."""
    largest: pa.Table | None = None
    """At most `NUM_LARGEST`, the largest first, as `iter_polygons` has them."""
    left_out: LeftOut = field(default_factory=LeftOut)

    def add(self, polygons: pa.Table) -> None:
        """Count a batch."""
        area_m2 = polygons["area_m2"].to_numpy()
        self.count += len(polygons)
        sums = polygons.group_by("class_name").aggregate([("area_m2", "sum")]).to_pydict()
        for name, area in zip(sums["class_name"], sums["area_m2_sum"], strict=True):
            self.area_m2[name] = self.area_m2.get(name, 0.0) + area
        decades = np.log10(np.maximum(area_m2, 1.0))
        bins = np.minimum((decades * BINS_A_DECADE).astype(np.int64), len(self.sizes) - 1)
        self.sizes += np.bincount(bins, minlength=len(self.sizes))
        self._rank(polygons, area_m2)

    @classmethod
    def of(cls, polygons: pa.Table) -> "PolygonTally":
        """Of a batch."""
        tally = cls()
        tally.add(polygons)
        return tally

    def join(self, other: "PolygonTally") -> None:
        """Count what another one has counted, too; not what was left out."""
        self.count += other.count
        for name, area in other.area_m2.items():
            self.area_m2[name] = self.area_m2.get(name, 0.0) + area
        self.sizes += other.sizes
        if other.largest is not None:
            self._rank(other.largest, other.largest["area_m2"].to_numpy())

    def _rank(self, polygons: pa.Table, area_m2: NDArray[np.float64]) -> None:
        """Keep the largest; most batches have few that are larger than the least of these."""
        if self.largest is None:
            self.largest = polygons.slice(0, 0)
        if len(self.largest) == NUM_LARGEST:
            polygons = polygons.filter(area_m2 >= self.largest["area_m2"][-1].as_py())
        if len(polygons):
            both = pa.concat_tables([self.largest, polygons])
            by = [("area_m2", "descending"), ("polygon_id", "ascending")]
            self.largest = both.sort_by(by).slice(0, NUM_LARGEST).combine_chunks()

    def balance(
        self, names: Mapping[int, str], directions: Mapping[int, tuple[str, str]]
    ) -> Balance:
        """Geodesic area of all pixels that became a class, and of those that were one and are no
        more, by class; areas that are too small for a polygon are in it. `directions` are those of
        `names`; empty without any."""
        classes = dict.fromkeys(name for direction in directions.values() for name in direction)
        found = {name: {"gained_ha": 0.0, "lost_ha": 0.0} for name in classes}
        for value, (before, after) in directions.items():
            area = self.area_m2.get(names[value], 0.0) + float(self.left_out.by_class[value])
            found[before]["lost_ha"] += area / HECTARE
            found[after]["gained_ha"] += area / HECTARE
        return found


def iter_polygons(
    mosaic: Mosaic,
    rules: PolygonRules,
    left_out: LeftOut | None = None,
    mapper: Mapper = here,
) -> Iterator[pa.Table]:
    """The areas of each class that hang together by pixel edges, in batches; one batch at least.
    Those that the rules leave out are counted in `left_out`.

    The same as if the region had been traced whole. Columns: polygon_id (class, row and column of
    the first pixel on the anchored grid), class, class_name, area_m2 (geodesic, of the pixels),
    pixels, probability (mean), of kinds of change from and to (names of classes), the dates,
    geometry (WKB in the grid's CRS) and bbox, its bounds. Tile by tile, each by first pixel, and
    behind them, block by block, what lies in several. Memory is bounded by what lies along seams; a
    polygon that covers the whole region is held whole. All of it is made by `mapper`, and only put
    together here.
    """
    finish = partial(_finished, grid=mosaic.grid, rules=rules)
    made = iter_areas(mosaic, list(rules.names), finish, mapper=mapper)
    return _batches(made, LeftOut() if left_out is None else left_out)


def _finished(areas: Areas, grid: RegionGrid, rules: PolygonRules) -> tuple[pa.Table, LeftOut]:
    """Areas as polygons, without those that are too small."""
    wanted = (areas.area_m2 >= rules.min_area_m2) & (areas.pixels >= rules.min_area_px)
    polygons = _table(areas.of(wanted), grid, rules)
    return arrow_table(polygons), LeftOut.of(areas.of(~wanted))


def _batches(made: Iterable[tuple[pa.Table, LeftOut]], left_out: LeftOut) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    polygons = size = 0
    for table, small in made:
        left_out.add(small)
        waiting.append(table)
        polygons, size = polygons + len(table), size + table.nbytes
        if polygons >= BATCH_POLYGONS or size >= BATCH_BYTES:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, polygons, size = [table.slice(0, 0)], 0, 0
    yield pa.concat_tables(waiting).combine_chunks()


def _table(areas: Areas, grid: RegionGrid, rules: PolygonRules) -> gpd.GeoDataFrame:
    ids = zip(areas.value.tolist(), areas.first_row.tolist(), areas.first_col.tolist(), strict=True)
    table = pd.DataFrame(
        {
            "polygon_id": pd.Series(
                [f"{value}:{row}:{col}" for value, row, col in ids], dtype="str"
            ),
            "class": areas.value.astype(np.uint8),
            "class_name": pd.Series(areas.value).map(rules.names).astype("str"),
            "area_m2": areas.area_m2,
            "pixels": areas.pixels,
            "probability": areas.mean_probability,
        }
    )
    if rules.directions:
        of = [rules.directions[value] for value in areas.value.tolist()]
        for number, name in enumerate(("from", "to")):
            table[name] = pd.Series([direction[number] for direction in of], dtype="str")
    for name, date in rules.dates.columns().items():
        table[name] = pd.Series([date] * len(table), dtype="datetime64[us, UTC]")
    geometry = on_the_map(polygons_of(areas.corners), grid, rules.simplify_m)
    order = np.lexsort((areas.value, areas.first_col, areas.first_row))
    polygons = gpd.GeoDataFrame(table, geometry=geometry, crs=grid.crs)
    return polygons.iloc[order].reset_index(drop=True)


def on_the_map(
    polygons: NDArray[np.object_], grid: RegionGrid, simplify_m: float = 0.0
) -> NDArray[np.object_]:
    """From columns and rows to coordinates of the grid's CRS."""
    origin = np.array([grid.x_origin, grid.y_origin])
    scale = np.array([grid.resolution, -grid.resolution])
    placed: NDArray[np.object_] = shapely.transform(polygons, lambda xy: origin + xy * scale)
    return shapely.simplify(placed, simplify_m) if simplify_m else placed
