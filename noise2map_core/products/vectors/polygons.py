"""Classes as polygons, dissolved across tiles."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from noise2map_core.geo.grid import RegionGrid
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.products.vectors.areas import Areas, iter_areas, joined
from noise2map_core.products.vectors.outlines import polygons_of
from noise2map_core.runtime.mapper import Mapper, here

BATCH_POLYGONS = 20_000
BATCH_CORNERS = 500_000
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

    def add(self, areas: Areas) -> None:
        """Count a batch."""
        self.count += len(areas)
        self.area_m2 += float(areas.area_m2.sum())
        self.by_class += np.bincount(areas.value, areas.area_m2, 256)


@dataclass
class PolygonTally:
    """Sums, sizes and the largest of the polygons seen so far."""

    count: int = 0
    area_m2: dict[str, float] = field(default_factory=dict)
    """Geodesic area by class name."""
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(24, np.int64))
    """How many polygons there are by area: bins of half a power of ten, from 1 m²."""
    largest: gpd.GeoDataFrame | None = None
    """At most `NUM_LARGEST`, the largest first."""
    left_out: LeftOut = field(default_factory=LeftOut)

    def add(self, polygons: gpd.GeoDataFrame) -> None:
        """Count a batch."""
        self.count += len(polygons)
        for name, area in polygons.groupby("class_name")["area_m2"].sum().items():
            self.area_m2[name] = self.area_m2.get(name, 0.0) + float(area)
        decades = np.log10(np.maximum(polygons["area_m2"].to_numpy(), 1.0))
        bins = np.minimum((decades * BINS_A_DECADE).astype(np.int64), len(self.sizes) - 1)
        self.sizes += np.bincount(bins, minlength=len(self.sizes))
        both = polygons if self.largest is None else pd.concat([self.largest, polygons])
        ranked = both.sort_values(["area_m2", "polygon_id"], ascending=[False, True])
        self.largest = ranked.head(NUM_LARGEST).reset_index(drop=True)

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
) -> Iterator[gpd.GeoDataFrame]:
    """The areas of each class that hang together by pixel edges, in batches; one batch at least.
    Those that the rules leave out are counted in `left_out`.

    The same as if the region had been traced whole. Columns: polygon_id (class, row and column of
    the first pixel on the anchored grid), class, class_name, area_m2 (geodesic, of the pixels),
    pixels, probability (mean), of kinds of change from and to (names of classes), the dates,
    geometry in the grid's CRS. Each batch holds what was finished then, by first pixel. Memory is
    bounded by what reaches from one row of tiles into the next; a polygon that covers the whole
    region is held whole. Tiles are traced, and batches made polygons, by `mapper`.
    """
    several = iter_areas(mosaic, list(rules.names), mapper=mapper)
    batches = _batches(several, rules, LeftOut() if left_out is None else left_out)
    return mapper(partial(_table, grid=mosaic.grid, rules=rules), batches)


def _batches(several: Iterable[Areas], rules: PolygonRules, left_out: LeftOut) -> Iterator[Areas]:
    waiting: list[Areas] = []
    polygons = corners = 0
    for areas in several:
        wanted = (areas.area_m2 >= rules.min_area_m2) & (areas.pixels >= rules.min_area_px)
        left_out.add(areas.of(~wanted))
        large = areas.of(wanted)
        waiting.append(large)
        polygons, corners = polygons + len(large), corners + len(large.corners)
        if polygons >= BATCH_POLYGONS or corners >= BATCH_CORNERS:
            yield joined(waiting)
            waiting, polygons, corners = [large.of(np.zeros(len(large), np.bool_))], 0, 0
    yield joined(waiting)


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
