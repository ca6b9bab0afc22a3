"""Settings of the map products."""

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt


class ProductsConfig(BaseModel):
    """What is made from a complete mosaic."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    min_area_m2: NonNegativeFloat = 0.0
    """Minimum mapping unit: smaller polygons are left out of polygons.parquet. The rasters keep
    every pixel."""

    quicklook_px: PositiveInt = 800
    """Longest side of each of the quicklook's three pictures."""
