"""Settings of the output grid."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt


class GridConfig(BaseModel):
    """The anchored pixel grid on which everything lies."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    crs: str = "auto"
    """"EPSG:…" of a projected CRS in metres. auto: the scenes' own CRS where all share one
    projected CRS, else the UTM zone of the area's centre."""

    resolution: PositiveFloat | Literal["auto"] = "auto"
    """Metres a pixel. auto: the scenes' own (the finest, if they differ)."""

    tile_px: PositiveInt | Literal["auto"] = "auto"
    """Side of a tile, the unit of work, ledger and write. auto: 2048, or 512 for regions under
    4096 x 4096 pixels."""

    origin: tuple[float, float] | None = None
    """Offset of the pixels' edges, x and y in metres, from the CRS's own lattice. None: as the
    scenes' own pixels lie."""
