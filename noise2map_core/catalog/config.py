"""Settings of a search."""

from pydantic import BaseModel, ConfigDict


class SearchConfig(BaseModel):
    """Which catalogue, which collection, which bands."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    catalog: str
    """URL of a STAC API, or path or URL of a static catalogue's catalog.json."""

    collection: str
    """Id of the collection to search."""

    bands: tuple[str, ...] = ()
    """Band names, in order: asset keys, or the names or common names of an asset's bands. Empty:
    what the checkpoint needs (inference), else an error."""
