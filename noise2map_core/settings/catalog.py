"""Settings of a search."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.settings.places import PathText

PATIENCE_S = 180.0
"""Seconds that one request may be tried again for, where no setting says so."""


BEST = "best "
"""Begins a range of dates of which one day is chosen: "best 2023-06-01/2023-08-31"."""


class SearchConfig(BaseModel):
    """Which catalogue, which collection, which bands."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    catalog: PathText
    """URL of a STAC API, path or URL of a static catalogue's catalog.json, or path of a table of
    items in stac-geoparquet (.parquet)."""

    collection: str
    """Id of the collection to search."""

    bands: tuple[str, ...] = ()
    """Band names, in order: asset keys, or the names or common names of an asset's bands. Empty:
    what the checkpoint needs (inference), else an error."""

    allow_hosts: tuple[str, ...] = ()
    """Hosts at internal addresses (127.0.0.1, 10.0.0.5, storage.local) that a catalogue on the web
    may link to. Its own host always is."""

    filter: str | None = None
    """Which items to take by their properties, in CQL2 text: "eo:cloud_cover < 20". Items that
    lack what is compared are left out."""

    alternate: Annotated[str, Field(exclude_if=lambda name: not name)] = ""
    """Name of the alternate addresses at which assets are read, where items state several ("s3").
    Empty: at their own, unless those are of a kind that is not read."""

    patience_s: float = Field(default=PATIENCE_S, ge=0, le=86400, allow_inf_nan=False)
    """Seconds that one request to the catalogue or for a part of a file is tried again for while
    the server is busy or fails in passing (HTTP 429, 500, 502, 503, 504, a broken connection).
    Pauses grow; Retry-After is honoured up to 60 s. What is waited for is said on stderr."""
