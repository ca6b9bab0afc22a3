"""Settings of the output grid."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.settings.numbers import SidePx

Metres = Annotated[float, Field(ge=1e-3, le=1e6)]
FromOrigin = Annotated[float, Field(ge=-1e9, le=1e9)]


class GridConfig(BaseModel):
    """The anchored pixel grid on which everything lies."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    crs: str = "auto"
    """"EPSG:…" of a projected CRS in metres. auto: the scenes' own CRS where all share one
    projected CRS whose metres are metres on the ground, to 5 %, else the UTM zone of the area's
    centre."""

    resolution: Metres | Literal["auto"] = "auto"
    """Metres a pixel, of the CRS. auto: the scenes' own (the finest, if they differ). Less than
    half of it is refused: see `allow_upsampling`."""

    allow_upsampling: bool = False
    """Allow pixels more than twice finer than the scenes': they show nothing more."""

    tile_px: SidePx | Literal["auto"] = "auto"
    """Side of a tile, the unit of work, ledger and write. auto: 2048, or 512 for regions under
    4096 x 4096 pixels."""

    origin: tuple[FromOrigin, FromOrigin] | None = None
    """Offset of the pixels' edges, x and y in metres, from the CRS's own lattice. None: as the
    scenes' own pixels lie."""
