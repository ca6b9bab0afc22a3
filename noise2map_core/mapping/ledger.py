"""The ledger: what each tile of an output was made from.

Workers write records as immutable JSON files beside the mosaic, after the pixels that they speak
of. A tile is done if its newest record says so under the key that is wanted now. Of large regions
the files are folded into Parquet segments, sorted by tile, so that a comparison reads a ledger of
any size band by band and holds one band at a time.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from noise2map_core.atomic import whole_file, write_atomically
from noise2map_core.digest import digest_of
from noise2map_core.errors import OutputError
from noise2map_core.geo.grid import Tile

FORMAT_VERSION = 1
MIN_FOLDED = 1_000
"""Fewer files than this are left as they are."""
SEGMENT_ROWS = 200_000
"""A segment of so many records is left alone from then on; smaller ones are joined by new ones."""
GROUP_ROWS = 10_000
"""Records of a row group of a segment: the least that is read at a time."""

_TYPES: dict[Any, pa.DataType] = {int: pa.int64(), float: pa.float64()}
_KEY_COLUMNS = ["fence", "row", "col", "key", "status"]


@dataclass(frozen=True, slots=True)
class TileRecord:
    """What became of one tile."""

    row: int
    col: int
    key: str
    status: Literal["done", "failed"]
    reason: str = ""
    """Why it failed, in words."""
    chips: int = 0
    """Chips that went through the network."""
    decided_px: int = 0
    """Pixels with a decision."""
    strange_px: int = 0
    """Of these, pixels with a number that the model does not expect."""
    unlike_px: int = 0
    """Of these, pixels with another class if the dates are reversed, where that was tried."""
    pixel_bytes: int = 0
    """Bytes of the pixels that it was made from, decoded, halo included."""
    read_s: float = 0.0
    """Seconds that reading them took."""
    predict_s: float = 0.0
    """Seconds of its forward passes and decisions."""
    write_s: float = 0.0
    """Seconds that writing its pixels took."""
    digest: str = ""
    """Of what was written, `Mosaic.digest`; empty in records of earlier versions."""

    @property
    def tile(self) -> Tile:
        """The tile that this speaks of."""
        return Tile(self.row, self.col)


SCHEMA = pa.schema(
    [("fence", pa.int64())]
    + [(field.name, _TYPES.get(field.type, pa.string())) for field in fields(TileRecord)]
)

_REQUIRED = pa.schema([field.with_nullable(False) for field in SCHEMA])


class Ledger:
    """The records of one output, in `<output>/ledger/records/` and `<output>/ledger/segments/`."""

    def __init__(self, output: Path) -> None:
        self._folder = output / "ledger" / "records"
        self._segments = output / "ledger" / "segments"

    def append(self, records: Iterable[TileRecord], fence: int) -> None:
        """Record a batch of tiles under the run's fencing number. Safe to repeat."""
        rows = [asdict(record) for record in records]
        body = {"format_version": FORMAT_VERSION, "fence": fence, "tiles": rows}
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{fence:08d}-{digest_of(body)[:16]}.json"
        write_atomically(self._folder / name, json.dumps(body))

    def view(self) -> "LedgerView":
        """The ledger as it is now, to be read band by band."""
        return LedgerView(_loose(self._files()), self._segments)

    def newest(self) -> dict[Tile, TileRecord]:
        """The newest record of each tile; of small ledgers."""
        return {record.tile: record for record in self.view().newest()}

    def fold(self) -> None:
        """Join the files of many records, and what segments are not full, to one segment.

        Only who holds the lease may do so; workers may go on to append. The segment is whole before
        what it replaces is deleted: a record may be there twice, never not at all.
        """
        files = self._files()
        if len(files) < MIN_FOLDED:
            return
        small = [s for s in self._segments.glob("*.parquet") if _num_rows(s) < SEGMENT_ROWS]
        parts = [_loose(files), *(_read_segment(path) for path in small)]
        table = _newest(pa.concat_tables(parts))
        self._segments.mkdir(parents=True, exist_ok=True)
        name = f"{digest_of([path.name for path in (*files, *small)])[:16]}.parquet"
        with whole_file(self._segments / name) as partial:
            pq.write_table(table, partial, compression="zstd", row_group_size=GROUP_ROWS)
        for path in (*files, *small):
            path.unlink()

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))


class LedgerView:
    """What a ledger said at one moment. Reading a band holds the records of its rows.

    Segments are listed at every reading: the ledger may be folded meanwhile.
    """

    def __init__(self, loose: pa.Table, segments: Path) -> None:
        self._loose, self._segments = loose, segments

    def done_keys(self, rows: range | None = None) -> dict[tuple[int, int], str]:
        """The key under which each finished tile (row, col) was made, in these rows of tiles."""
        table = self._read(rows, _KEY_COLUMNS)
        done = table.filter(pc.equal(table["status"], "done"))
        places = zip(done["row"].to_pylist(), done["col"].to_pylist(), strict=True)
        return dict(zip(places, done["key"].to_pylist(), strict=True))

    def newest(self, rows: range | None = None) -> Iterator[TileRecord]:
        """The newest record of each tile in these rows of tiles, by tile."""
        table = self._read(rows).drop_columns("fence")
        for batch in table.to_batches(GROUP_ROWS):
            for row in batch.to_pylist():
                yield TileRecord(**row)

    def _read(self, rows: range | None, columns: list[str] | None = None) -> pa.Table:
        inside = None if rows is None else _between(rows)
        parts = [self._loose if inside is None else self._loose.filter(inside)]
        if columns is not None:
            parts = [parts[0].select(columns)]
        segments = sorted(self._segments.glob("*.parquet"))
        parts += [_read_segment(path, columns, inside) for path in segments]
        return _newest(pa.concat_tables(parts))


def _between(rows: range) -> pc.Expression:
    return (pc.field("row") >= rows.start) & (pc.field("row") < rows.stop)


def _loose(files: Iterable[Path]) -> pa.Table:
    return pa.concat_tables([SCHEMA.empty_table(), *map(_read_records, files)])


def _read_records(path: Path) -> pa.Table:
    defaults = {field.name: field.default for field in fields(TileRecord)}
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        rows = [{"fence": body["fence"], **defaults, **row} for row in body["tiles"]]
        return pa.Table.from_pylist(rows, _REQUIRED).cast(SCHEMA)
    except (ValueError, LookupError, TypeError, RecursionError, pa.ArrowException) as error:
        raise OutputError(
            f"ledger record {path} is damaged: {' '.join(str(error).split())}. Delete it; its "
            "tiles are made again."
        ) from error


def _newest(table: pa.Table) -> pa.Table:
    """One record a tile, by tile: of the latest run, and within a run a done one."""
    if not len(table):
        return table
    rank = pc.if_else(pc.equal(table["status"], "done"), 1, 0)
    order = [("row", "ascending"), ("col", "ascending"), ("fence", "ascending"),
             ("rank", "ascending")]  # fmt: skip
    table = table.append_column("rank", rank).sort_by(order).drop_columns("rank")
    row, col = (table[name].combine_chunks() for name in ("row", "col"))
    same = pc.and_(pc.equal(row[:-1], row[1:]), pc.equal(col[:-1], col[1:]))
    return table.filter(pa.concat_arrays([pc.invert(same), pa.array([True])]))


def _read_segment(
    path: Path, columns: list[str] | None = None, inside: pc.Expression | None = None
) -> pa.Table:
    """Only the row groups that can hold what is wanted are read."""
    with path.open("rb") as file:
        return pq.read_table(file, columns=columns, filters=inside)


def _num_rows(path: Path) -> int:
    with path.open("rb") as file:
        return int(pq.read_metadata(file).num_rows)
