"""A store of Zarr at an address of the web that says in a line what is wrong with it."""

from pathlib import Path
from typing import Any

from zarr.storage import ObjectStore as ZarrStore

from noise2map_core.runtime.storage import object_store
from noise2map_core.runtime.web import explained_at


class WebStore(ZarrStore):  # type: ignore[type-arg]
    """Read by ranges; what is not there has the fill value. Raises OutputError at reading."""

    def __init__(self, place: Path) -> None:
        super().__init__(object_store(place), read_only=True)
        self._place = str(place)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """One object or a part of it; None if it is not there."""
        with explained_at(f"{self._place}/{key}"):
            return await super().get(key, prototype, byte_range)
