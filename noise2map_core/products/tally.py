"""What there is to say of the polygons in numbers, gathered as they pass."""

from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

NUM_LARGEST = 2_000
BINS_A_DECADE = 2


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
