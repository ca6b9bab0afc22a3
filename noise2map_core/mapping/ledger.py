"""The ledger: what each tile of an output was made from.

Workers write records as immutable JSON files beside the mosaic, after the pixels that they speak
of. A tile is done if its newest record says so under the key that is wanted now. Of large regions
the files are folded into Parquet segments, sorted by tile, so that a comparison reads a ledger of
any size band by band and holds one band at a time.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from noise2map_core.geo.grid import Tile
from noise2map_core.runtime.atomic import whole_file, write_atomically
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.mapper import at_once
from noise2map_core.runtime.storage import discard, is_local, listed, read_bytes

FORMAT_VERSION = 1
MIN_FOLDED = 1_000
"""Fewer files than this are left as they are."""
SEGMENT_ROWS = 200_000
"""A segment of so many records is left alone from then on; smaller ones are joined by new ones."""
GROUP_ROWS = 10_000
"""Records of a row group of a segment: the least that is read at a time."""
MOST_A_FILE = 8
"""Records that are looked for together in one file; those that have more are read."""
MOST_FOLDS = 100
"""Folds that may get in a reader's way."""

Answer = TypeVar("Answer")

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
    part_edges: str = ""
    """Change along the edges of parts of other scenes, where these have statistics of their own."""
    pixel_bytes: int = 0
    """Bytes of the pixels that it was made from, decoded, halo included."""
    read_s: float = 0.0
    """Seconds that reading them took."""
    predict_s: float = 0.0
    """Seconds of its forward passes and decisions."""
    wait_s: float = 0.0
    """Seconds that its predictor had waited for it since the tile before."""
    write_s: float = 0.0
    """Seconds that encoding and writing its pixels took."""
    hash_s: float = 0.0
    """Seconds that the digest of what was written took."""
    digest: str = ""
    """Of what was written, `Mosaic.digest`; empty in records of earlier versions."""
    objects: str = ""
    """What holds the pixels, as `Shards.stated` says it; empty in records of earlier versions."""

    @property
    def tile(self) -> Tile:
        """The tile that this speaks of."""
        return Tile(self.row, self.col)


class Done(NamedTuple):
    """What a record says of a finished tile that is to be kept."""

    key: str
    digest: str
    objects: str


SCHEMA = pa.schema(
    [("fence", pa.int64())]
    + [(field.name, _TYPES.get(field.type, pa.string())) for field in fields(TileRecord)]
)

_DEFAULTS = {field.name: field.default for field in fields(TileRecord)}
"""What a record says that was written before there was such a field."""
_REQUIRED = pa.schema([field.with_nullable(False) for field in SCHEMA])


class Ledger:
    """The records of one output, in `<output>/ledger/records/` and `<output>/ledger/segments/`."""

    def __init__(self, output: Path, names: Sequence[str] | None = None) -> None:
        """`names`: its files, as `file_names` gave them, where nothing can be listed."""
        self.output = output
        self._folder = output / "ledger" / "records"
        self._segments = output / "ledger" / "segments"
        self._names = names

    def file_names(self) -> list[str]:
        """Its files, relative to `<output>/ledger/`."""
        return [
            f"{file.parent.name}/{file.name}" for file in (*self._files(), *self._segment_files())
        ]

    def append(self, records: Iterable[TileRecord], fence: int) -> None:
        """Record a batch of tiles under the run's fencing number. Safe to repeat."""
        body = _body(records, fence)
        if is_local(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / _name(body), json.dumps(body))

    def view(self) -> "LedgerView":
        """The ledger as it is now, to be read band by band."""
        loose = self._asked(_read_if_there, self._files())
        tables = [SCHEMA.empty_table(), *(table for table in loose if table is not None)]
        return LedgerView(pa.concat_tables(tables), self._segment_files)

    def newest(self) -> dict[Tile, TileRecord]:
        """The newest record of each tile; of small ledgers."""
        return {record.tile: record for record in self.view().newest()}

    def fold(self, held: Sequence[TileRecord] = (), fence: int = 0) -> bool:
        """Join the files of many records, and what segments are not full, to one segment; False if
        there are too few.

        Only who holds the lease may do so; workers may go on to append, and others to read. The
        segment is whole and on the disk before what it replaces is deleted: a record may be there
        twice, never not at all. If another folds at the same time, this one leaves it to that.

        `held` are records that were appended under `fence`, in the order in which they came back:
        files that hold just these, up to `MOST_A_FILE` of them, are not read.
        """
        files = self._files()
        if len(files) < MIN_FOLDED:
            return False
        known = _files_of(held, fence, {file.name for file in files})
        unread = [file for file in files if file.name not in known]
        try:
            segments = self._segment_files()
            rows = self._asked(_num_rows, segments)
            small = [s for s, count in zip(segments, rows, strict=True) if count < SEGMENT_ROWS]
            parts = [*self._asked(_read_records, unread), *self._asked(_read_segment, small)]
        except FileNotFoundError:
            return False
        parts += [_table_of(body) for body in known.values()]
        self._segments.mkdir(parents=True, exist_ok=True)
        name = f"{digest_of([path.name for path in (*files, *small)])[:16]}.parquet"
        with whole_file(self._segments / name) as partial:
            pq.write_table(
                _newest(pa.concat_tables(parts)), partial, compression="zstd",
                row_group_size=GROUP_ROWS, write_page_checksum=True,
            )  # fmt: skip
        for _ in self._asked(discard, (*files, *small)):
            pass
        return True

    def _asked(self, ask: Callable[[Path], Answer], paths: Iterable[Path]) -> Iterator[Answer]:
        """Of object storage several at once; on a disk one after the other is as fast."""
        return map(ask, paths) if is_local(self.output) else at_once(ask, paths)

    def _files(self) -> list[Path]:
        return self._listed(self._folder, ".json")

    def _segment_files(self) -> list[Path]:
        return self._listed(self._segments, ".parquet")

    def _listed(self, folder: Path, suffix: str) -> list[Path]:
        if self._names is None:
            return listed(folder, suffix)
        within = f"{folder.name}/"
        return [
            folder / name.removeprefix(within) for name in self._names if name.startswith(within)
        ]


class LedgerView:
    """What a ledger said at one moment. Reading a band holds the records of its rows.

    Segments are listed at every reading: the ledger may be folded meanwhile.
    """

    def __init__(self, loose: pa.Table, segments: Callable[[], list[Path]]) -> None:
        self._loose, self._segments = loose, segments

    def done_keys(self, rows: range | None = None) -> dict[tuple[int, int], str]:
        """The key under which each finished tile (row, col) was made, in these rows of tiles."""
        table = self._read(rows, _KEY_COLUMNS)
        done = table.filter(pc.equal(table["status"], "done"))
        places = zip(done["row"].to_pylist(), done["col"].to_pylist(), strict=True)
        return dict(zip(places, done["key"].to_pylist(), strict=True))

    def done(self, rows: range) -> dict[tuple[int, int], "Done"]:
        """What is said of each finished tile (row, col) in these rows of tiles."""
        table = self._read(rows, [*_KEY_COLUMNS, "digest", "objects"])
        done = table.filter(pc.equal(table["status"], "done"))
        row, col, *said = (
            done[name].to_pylist() for name in ("row", "col", "key", "digest", "objects")
        )
        return {(r, c): Done(*one) for r, c, *one in zip(row, col, *said, strict=True)}

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
        parts += _steady(lambda: [
            _read_segment(path, columns, inside) for path in self._segments()
        ])  # fmt: skip
        return _newest(pa.concat_tables(parts))


def _steady(read: Callable[[], list[pa.Table]]) -> list[pa.Table]:
    """What is read of files that a fold may join meanwhile: what is gone by then is in a new one,
    so that all are listed anew."""
    for _ in range(MOST_FOLDS):
        with suppress(FileNotFoundError):
            return read()
    return read()


def _between(rows: range) -> pc.Expression:
    return (pc.field("row") >= rows.start) & (pc.field("row") < rows.stop)


def _read_if_there(path: Path) -> pa.Table | None:
    """The records of a loose file; one that is gone by now was folded, and is in a segment."""
    try:
        return _read_records(path)
    except FileNotFoundError:
        return None


def _read_records(path: Path) -> pa.Table:
    content = read_bytes(path)
    try:
        return _table_of(json.loads(content))
    except (ValueError, LookupError, TypeError, RecursionError, pa.ArrowException) as error:
        raise OutputError(
            f"ledger record {path} is damaged: {' '.join(str(error).split())}. Delete it and run "
            "the same command again; its tiles are made again."
        ) from error


def _table_of(body: dict[str, Any]) -> pa.Table:
    rows = [{"fence": body["fence"], **_DEFAULTS, **row} for row in body["tiles"]]
    return pa.Table.from_pylist(rows, _REQUIRED).cast(SCHEMA)


def _body(records: Iterable[TileRecord], fence: int) -> dict[str, Any]:
    rows = [asdict(record) for record in records]
    return {"format_version": FORMAT_VERSION, "fence": fence, "tiles": rows}


def _name(body: dict[str, Any]) -> str:
    return f"{body['fence']:08d}-{digest_of(body)[:16]}.json"


def _files_of(
    held: Sequence[TileRecord], fence: int, names: Collection[str]
) -> dict[str, dict[str, Any]]:
    """What is in those files of `names` that hold just these records, by name: a file's name
    follows from what it says."""
    found, start = {}, 0
    while start < len(held):
        for size in range(1, min(MOST_A_FILE, len(held) - start) + 1):
            body = _body(held[start : start + size], fence)
            if (name := _name(body)) in names:
                found[name] = body
                break
        else:
            size = 1  # its file was folded already, or holds others that come later
        start += size
    return found


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
    wanted = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    with _opened(path) as file:
        known = {name for name, default in _DEFAULTS.items() if default is not MISSING}
        absent = known - set(pq.read_schema(file).names)
        there = [name for name in wanted.names if name not in absent]
        file.seek(0)
        table = pq.read_table(file, columns=there, filters=inside, page_checksum_verification=True)
        for name in wanted.names:
            if name not in there:
                filled = pa.repeat(pa.scalar(_DEFAULTS[name], SCHEMA.field(name).type), len(table))
                table = table.append_column(name, filled)
        return table.select(wanted.names).cast(wanted)


def _num_rows(path: Path) -> int:
    with _opened(path) as file:
        return int(pq.read_metadata(file).num_rows)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A segment to be read. Raises OutputError if its bytes are damaged, FileNotFoundError."""
    with path.open("rb") as file:
        try:
            yield file
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # what the disk says; Arrow's own errors of this class bear no number
            raise OutputError(
                f"ledger segment {path} is damaged: {' '.join(str(error).split())}. Delete it and "
                "run the same command again; its tiles are made again."
            ) from error
