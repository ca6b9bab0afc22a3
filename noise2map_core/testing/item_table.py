"""Catalogues in stac-geoparquet, written from item documents."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet

Document = dict[str, Any]


def write_item_table(
    items: Sequence[Document],
    path: Path,
    *,
    collections: Mapping[str, Document] | None = None,
    group_rows: int = 1000,
) -> None:
    """Write items as they are, in their order, in row groups of at most `group_rows`."""
    table = pa.Table.from_batches(parse_stac_items_to_arrow(items))
    batches = table.combine_chunks().to_batches(max_chunksize=group_rows)
    to_parquet(pa.RecordBatchReader.from_batches(table.schema, batches), path,
               collections=collections)  # fmt: skip
