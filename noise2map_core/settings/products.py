"""Settings of the map products."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.runtime.storage import Location
from noise2map_core.settings.numbers import NonNegativeFloat, PositiveInt, SidePx

GeoParquetVersion = Literal["1.1", "2.0"]
OLDER_GEOPARQUET: GeoParquetVersion = "1.1"


class ProductsConfig(BaseModel):
    """What is made from a complete mosaic."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    min_area_px: PositiveInt = 4
    """Minimum mapping unit, pixels: areas of fewer are left out of the polygon files and of what is
    listed; 1 keeps all. The rasters keep every pixel."""

    min_area_m2: NonNegativeFloat = 0.0
    """The same in square metres; what either leaves out is out."""

    simplify_m: NonNegativeFloat = 0.0
    """How far polygon outlines may move, to have fewer vertices. 0 keeps every pixel's edge; areas
    are those of the pixels in any case."""

    evidence: bool = False
    """Also write, as rasters, where all images are valid (valid.tif) and, where it was computed,
    how passes disagree (disagreement.tif)."""

    collection: Location | None = None
    """STAC collection (collection.json) that lists this map's item; made if it is not there."""

    threshold: float | None = Field(default=None, gt=0, lt=1)
    """Probability from which a pixel gets the second of two classes. None: the checkpoint's.
    Another one makes the products anew, without a forward pass."""

    geoparquet: Annotated[
        GeoParquetVersion, Field(exclude_if=lambda version: version == OLDER_GEOPARQUET)
    ] = OLDER_GEOPARQUET
    """GeoParquet version of polygons.parquet: 1.1 opens anywhere; 2.0 has Parquet's own type for
    geometries, which readers from before 2026 do not know."""

    vector_tiles: Annotated[bool, Field(exclude_if=lambda wanted: wanted)] = True
    """Also write polygons as vector tiles (polygons.pmtiles; of nights changes.pmtiles), which web
    maps read by ranges. They take about half a minute for 100,000 polygons."""

    quicklook_px: SidePx = 800
    """Longest side of each of the quicklook's pictures."""
