"""A GeoParquet file by parts: row groups are packed by whoever does it, and laid out here.

The bytes are those of a `GeoParquetFile` of the same batches. A row group does not depend on what
stands before it, but for where its columns begin, as the footer says it.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from noise2map_core.products.part_files import put_part, write_whole
from noise2map_core.products.vectors.polygon_files import GeoParquetFile, bounds_of, box_of
from noise2map_core.products.vectors.thrift import (
    STRUCT,
    Struct,
    read_struct,
    value_of,
    written,
)
from noise2map_core.runtime.mapper import Mapper
from noise2map_core.runtime.storage import PARTIAL
from noise2map_core.settings.products import GeoParquetVersion

MAGIC = b"PAR1"
NUM_ROWS, ROW_GROUPS = 3, 4
"""Fields of a footer …"""
COLUMNS, GROUP_OFFSET, ORDINAL = 1, 5, 7
"""… of a row group …"""
CHUNK_OFFSET, ABOUT = 2, 3
"""… of a column in it …"""
OFFSETS = {9, 10, 11, 14}
"""… and of what is said of that: its pages, index, dictionary and filter."""

Told = TypeVar("Told")


class RowGroup(NamedTuple):
    """One that lies in a file of its own."""

    file: int
    said: Struct
    """As the footer has it if nothing stands before."""
    size: int
    empty: pa.Table
    """The batch without its rows."""
    rows: int
    bounds: NDArray[np.float64]
    """Of all polygons, [one, 4]."""


class Packed(NamedTuple, Generic[Told]):
    """What was made of a batch."""

    group: RowGroup
    told: Told
    body: bytes | None
    """None: the file is there."""


class GroupedFile(Generic[Told]):
    """A file in the making."""

    def __init__(self, path: Path, crs: Any, version: GeoParquetVersion) -> None:
        self._path, self._crs, self._version = path, crs, version

    def write(
        self, batches: Iterable[pa.Table], tell: Callable[[pa.Table], Told], mapper: Mapper
    ) -> Iterator[tuple[int, Told]]:
        """Write batches of `arrow_table`s, an empty one only if it is the only one: rows of each,
        and what `tell` says of it where it is packed. The file is there behind the last."""
        with TemporaryDirectory(dir=self._path.parent, prefix=f".groups{PARTIAL}.") as name:
            folder, found = Path(name), list[RowGroup]()
            make = partial(_packed, folder, self._crs, self._version, tell)
            for packed in mapper(make, enumerate(batches)):
                if packed.body is not None:
                    put_part(folder, packed.group.file, packed.body)
                found.append(packed.group)
                yield packed.group.rows, packed.told
            self._finish([one for one in found if one.rows] or found, folder, mapper)

    def _finish(self, found: list[RowGroup], folder: Path, mapper: Mapper) -> None:
        bounds = np.concatenate([one.bounds for one in found])
        template = _file_of(found[0].empty, self._crs, self._version, bounds)
        if not any(one.rows for one in found):
            self._path.write_bytes(template)
            return
        runs = np.array([(one.file, 0, one.size) for one in found], np.int64)
        starts = np.cumsum(runs[:, 2]) - runs[:, 2]
        groups = [
            _moved(one.said, start, number)
            for number, (one, start) in enumerate(zip(found, starts.tolist(), strict=True))
        ]
        tail = _footer(_footer_of(template), groups, sum(one.rows for one in found))
        write_whole(self._path, MAGIC, runs, folder, mapper, tail)


def _packed(
    folder: Path,
    crs: Any,
    version: GeoParquetVersion,
    tell: Callable[[pa.Table], Told],
    part: tuple[int, pa.Table],
) -> Packed[Told]:
    """A batch as a row group."""
    number, batch = part
    told, bounds = tell(batch), bounds_of(batch)
    whole = _file_of(batch, crs, version)
    footer = _footer_of(whole)
    (group,) = value_of(footer, ROW_GROUPS)[1] if len(batch) else ([],)
    body = whole[len(MAGIC) : -len(MAGIC) - 4 - len(written(footer))]
    seen = put_part(folder, number, body)
    found = RowGroup(number, group, len(body), batch.slice(0, 0), len(batch), box_of(bounds))
    return Packed(found, told, None if seen else body)


def _file_of(
    batch: pa.Table,
    crs: Any,
    version: GeoParquetVersion,
    bounds: NDArray[np.float64] | None = None,
) -> bytes:
    """A file of one batch, which lies within `bounds`, by pyarrow."""
    sink = pa.BufferOutputStream()
    with GeoParquetFile(sink, version) as file:
        file.append(batch, crs)
        if bounds is not None:
            file.cover(bounds)
    return bytes(sink.getvalue())


def _footer_of(whole: bytes) -> Struct:
    (size,) = struct.unpack("<I", whole[-8:-4])
    return read_struct(BytesIO(whole[-8 - size : -8]))


def _footer(template: Struct, groups: list[Struct], rows: int) -> bytes:
    """The end of a file of these row groups, for the rest as another one has it."""
    own = {NUM_ROWS: rows, ROW_GROUPS: (STRUCT, groups)}
    body = written([(field, kind, own.get(field, value)) for field, kind, value in template])
    return body + struct.pack("<I", len(body)) + MAGIC


def _moved(group: Struct, by: int, number: int) -> Struct:
    """A row group as the footer says it if it is not the first, and so many bytes stand before."""
    columns = [_moved_column(column, by) for column in value_of(group, COLUMNS)[1]]
    own = {COLUMNS: (STRUCT, columns), ORDINAL: number}
    return _shifted([(field, kind, own.get(field, value)) for field, kind, value in group],
                    {GROUP_OFFSET}, by)  # fmt: skip


def _moved_column(column: Struct, by: int) -> Struct:
    about = _shifted(value_of(column, ABOUT), OFFSETS, by)
    own = [(field, kind, about if field == ABOUT else value) for field, kind, value in column]
    return _shifted(own, {CHUNK_OFFSET}, by)


def _shifted(fields: Struct, which: set[int], by: int) -> Struct:
    """The same, offsets so many bytes further; 0 says nothing of any place."""
    return [
        (field, kind, value + by if field in which and value else value)
        for field, kind, value in fields
    ]
