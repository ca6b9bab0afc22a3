"""Writing a chip store of chips that come in any number: shards first, their numbers last.

How many chips there will be is known at the end. So each writer makes whole shards beside the
store, each a small store of its own, and keeps the chips that do not fill one; joining them gives
shards their numbers. The bytes of a shard do not depend on it.
"""

import uuid
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from noise2map_core.chips.manifest import MANIFEST
from noise2map_core.chips.plan import ChipTable, table_of
from noise2map_core.chips.store import CHIPS_PER_SHARD, LABEL_ARRAYS, Columns, shard_key
from noise2map_core.chips.writer import (
    ShardContent,
    ShardRecord,
    StoreHeader,
    clear_progress,
    counted_pixels,
    create_store,
    finish_store,
    progress_folder,
    read_records,
    write_record,
    write_shard,
)
from noise2map_core.runtime.atomic import whole_file
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from noise2map_core.runtime.storage import local_copy, move, publish, remove

PART_COLUMNS = ("row", "col", "footprint", "split", "datetime", "items", "crs", "scene")
"""What must be known of a chip besides its pixels."""


@dataclass(frozen=True)
class Part:
    """Up to a shard of chips, written beside the store. Picklable and small."""

    folder: Path
    chips: int

    @property
    def is_whole(self) -> bool:
        """True if it fills a shard."""
        return self.chips == CHIPS_PER_SHARD


def require_free(path: Path) -> None:
    """Raise OutputMismatchError if something lies at `path`; sweep what a killed run left.

    The caller holds the lease of `path`.
    """
    if path.exists():
        raise OutputMismatchError(f"{path} is there already. Write the chips elsewhere.")
    clear_progress(path)
    progress_folder(path).mkdir(parents=True)


def discard_parts(path: Path) -> None:
    """Delete everything that was written beside a store that will not come to be."""
    clear_progress(path)
    remove(path)


def write_parts(path: Path, header: StoreHeader, batches: Iterable[Columns]) -> list[Part]:
    """Write the chips of one task: whole shards and, last, the rest. Raises ConfigError."""
    return [_write_part(path, header, part) for part in _rebatched(header, batches)]


def join_parts(path: Path, header: StoreHeader, parts: Sequence[Part]) -> None:
    """Make a store of all parts, whole shards first. Raises ConfigError if there is no chip."""
    if not parts:
        raise ConfigError(f"no chip came to be written to {path}.")
    rests = (_load_rest(part) for part in parts if not part.is_whole)
    parts = [part for part in parts if part.is_whole]
    parts += [_write_part(path, header, rest) for rest in _rebatched(header, rests)]
    tables = [_table(header, _load_rest(part)) for part in parts]
    table = tables[0]
    for other in tables[1:]:
        table = table.followed_by(other)
    staged = progress_folder(path) / path.name
    create_store(staged, header, table)
    for shard, part in enumerate(parts):
        _take_in(staged, shard, part)
    finish_store(staged)
    publish(staged, path, last=MANIFEST)
    clear_progress(path)


def _needed(header: StoreHeader) -> list[str]:
    return ["image", "valid", *(LABEL_ARRAYS[task] for task in header.classes), *PART_COLUMNS]


def _rebatched(header: StoreHeader, batches: Iterable[Columns]) -> Iterator[Columns]:
    """The same chips, in shards; the last one may be smaller."""
    held: Columns | None = None
    for batch in batches:
        if missing := [name for name in _needed(header) if name not in batch]:
            raise ConfigError(
                f"chips without {', '.join(missing)} cannot be written. Read them with "
                'columns="all".'
            )
        fresh = {name: np.asarray(batch[name]) for name in _needed(header)}
        held = fresh if held is None else _joined(held, fresh)
        while len(held["row"]) >= CHIPS_PER_SHARD:
            yield {name: values[:CHIPS_PER_SHARD] for name, values in held.items()}
            held = {name: values[CHIPS_PER_SHARD:] for name, values in held.items()}
    if held is not None and len(held["row"]):
        yield held


def _joined(one: Columns, other: Columns) -> Columns:
    return {name: np.concatenate([one[name], other[name]]) for name in one}


def _write_part(path: Path, header: StoreHeader, columns: Columns) -> Part:
    folder = progress_folder(path) / uuid.uuid4().hex
    table = _table(header, columns)
    create_store(folder, header, table)
    pixels = {name: columns[name] for name in _needed(header) if name not in PART_COLUMNS}
    counted = counted_pixels(table, range(table.num_chips), header)
    splits, places = header.names_of(table)
    write_shard(folder, 0, ShardContent(pixels, splits, places, counted))
    rest = columns if table.num_chips < CHIPS_PER_SHARD else dict.fromkeys(PART_COLUMNS)
    with (
        whole_file(folder / "chips.npz") as npz,
        zipfile.ZipFile(npz, "w") as archive,
    ):  # what numpy.load reads
        for name in rest:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, columns[name])
    return Part(folder, table.num_chips)


def _load_rest(part: Part) -> Columns:
    with local_copy(part.folder / "chips.npz") as file, np.load(file) as found:
        return dict(found)


def _table(header: StoreHeader, columns: Columns) -> ChipTable:
    return table_of(columns, header.grid.resolution, header.all_origins)


def _take_in(staged: Path, shard: int, part: Part) -> None:
    """Move a part's shard into the store, and record it there."""
    record: ShardRecord = next(iter(read_records(part.folder)))
    objects = {}
    for key, digest in record.objects.items():
        place = shard_key(key.split("/")[0], shard)
        move(part.folder / key, staged / place)
        objects[place] = digest
    write_record(staged, replace(record, shard=shard, objects=objects))
