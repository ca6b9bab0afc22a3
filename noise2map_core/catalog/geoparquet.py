"""Catalogues in stac-geoparquet: one row an item, searched by columns before rows are read."""

import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import requests
import shapely
from numpy.typing import NDArray
from stac_geoparquet.arrow import stac_table_to_items

from noise2map_core.catalog.access import MAX_FILE_BYTES, TIMEOUT_S, WarySession
from noise2map_core.catalog.item import Document, Item
from noise2map_core.catalog.query import Query, unknown_collection
from noise2map_core.geo.arrow import pickled_columns
from noise2map_core.geo.wkb import require_shallow
from noise2map_core.runtime.errors import CatalogError
from noise2map_core.settings.catalog import PATIENCE_S

METADATA_KEY = b"stac-geoparquet"


class GeoParquetCatalog:
    """A .parquet file of STAC items. Relative links refer to the file's folder.

    Footprints are read first, one row group at a time; whole rows only of the groups that have a
    footprint over the area.
    """

    def __init__(
        self, path: str, allowed: Iterable[str] = (), patience_s: float = PATIENCE_S
    ) -> None:
        """A path, or an address on the web, from which the file is fetched once; `allowed` are
        internal hosts that its links may name.

        Raises CatalogError if there is no such file, or it holds no items.
        """
        self._path, self._allowed = path, frozenset(allowed)
        try:
            web = path.startswith(("http://", "https://"))
            self._file = pq.ParquetFile(_fetched(path, self._allowed, patience_s) if web else path)
        except FileNotFoundError:
            raise CatalogError(f"catalogue {path} does not exist. Check --catalog.") from None
        except (requests.RequestException, OSError, pa.ArrowInvalid) as error:
            raise CatalogError(f"catalogue {path} cannot be read: {error}.") from error
        if pickled := pickled_columns(self._file.schema_arrow):
            raise CatalogError(
                f"catalogue {path} holds Python objects in column {', '.join(pickled)}; reading "
                "them would run code, and is refused. Set --catalog to a table of STAC items."
            )
        self._names = set(self._file.schema_arrow.names)
        if missing := {"id", "geometry", "bbox", "assets"} - self._names:
            raise CatalogError(
                f"catalogue {path} is not stac-geoparquet: it has no column "
                f"{', '.join(sorted(missing))}. Set --catalog to a table of STAC items."
            )

    def collection(self, name: str) -> Document:
        """The collection's document as the file's metadata have it, else its id alone."""
        stated = _stated_collections(self._file.schema_arrow.metadata or {})
        known = set(stated) | self._collections_of_rows()
        if name not in known:
            raise unknown_collection(name, self._path, known)
        return stated.get(name, {"type": "Collection", "id": name})

    def items(self, query: Query) -> Iterator[Item]:
        """Items that meet the query, in the order of the rows."""
        shapely.prepare(query.area)
        for group in range(self._file.num_row_groups):
            rows = self._rows_over(group, query)
            if len(rows):
                yield from (item for item in self._items(group, rows) if query.matches(item))

    def _rows_over(self, group: int, query: Query) -> NDArray[np.intp]:
        """Rows of a group of the collection whose footprints meet the area, and of those that may:
        without a footprint, or with longitudes beyond ±180."""
        columns = [name for name in ("id", "geometry", "collection") if name in self._names]
        table = self._file.read_row_group(group, columns=columns)
        chosen = np.ones(len(table), bool)
        if "collection" in columns:
            chosen = table["collection"].to_numpy() == query.collection
        written = table["geometry"]
        try:
            require_shallow(written.to_numpy())
        except ValueError as error:
            raise CatalogError(f"catalogue {self._path} cannot be read: {error}.") from error
        footprints = shapely.from_wkb(written.to_numpy(), on_invalid="ignore")
        broken = chosen & shapely.is_missing(footprints) & written.is_valid().to_numpy()
        if broken.any():
            raise Item({"id": table["id"][int(broken.argmax())].as_py()}, self._path).broken(
                "it has no usable geometry"
            )
        near = shapely.intersects(footprints, query.area) | ~_is_plain(footprints)
        return np.flatnonzero(chosen & near)

    def _items(self, group: int, rows: NDArray[np.intp]) -> Iterator[Item]:
        table = self._file.read_row_group(group).take(rows)
        for document in stac_table_to_items(table):
            stated = {"geometry": None, **_without_nulls(document)}
            yield Item(stated, self._path, self._allowed)

    def _collections_of_rows(self) -> set[str]:
        if "collection" not in self._names:
            return set()
        names = self._file.read(columns=["collection"])["collection"].unique().to_pylist()
        return {str(name) for name in names if name is not None}


def _is_plain(footprints: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which footprints are there, within ±180 and at most half of the world wide."""
    west, _, east, _ = shapely.bounds(footprints).T
    plain: NDArray[np.bool_] = (west >= -180) & (east <= 180) & (east - west <= 180)
    return plain


def _fetched(href: str, allowed: frozenset[str], patience_s: float) -> io.BytesIO:
    """A whole file of the web. Raises RequestException."""
    answer = WarySession(allowed, MAX_FILE_BYTES, patience_s).get(href, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return io.BytesIO(answer.content)


def _stated_collections(metadata: dict[bytes, bytes]) -> dict[str, Document]:
    """Collections in the file's metadata, by id; older files hold a single one."""
    stated = json.loads(metadata.get(METADATA_KEY, b"{}"))
    single = stated.get("collection")
    return stated.get("collections") or ({str(single["id"]): single} if single else {})


def _without_nulls(value: Any) -> Any:
    """The columns of a table are in every row: what an item did not have comes back as null."""
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value
