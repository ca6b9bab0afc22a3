"""Chips as Ray datasets: `read_chips` and `write_chips`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray.data import DataContext, Dataset
from ray.data.block import Block, BlockAccessor
from ray.data.datasource import Datasink, Datasource, ReadTask, WriteResult
from ray.data.extensions import ArrowTensorArray

from noise2map_core.chips.manifest import COPIES
from noise2map_core.chips.parts import (
    PART_COLUMNS,
    Part,
    discard_parts,
    join_parts,
    require_free,
    write_parts,
)
from noise2map_core.chips.store import (
    CHIPS_PER_SHARD,
    PIXEL_ARRAYS,
    SCENE_ARRAYS,
    ChipStore,
    Columns,
    open_store,
    shard_key,
)
from noise2map_core.chips.writer import StoreHeader
from noise2map_core.distributed.work import MAX_READ_TASKS, metadata
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.runtime.storage import absolute, location
from noise2map_core.runtime.store_lease import hold_store


class ChipSource(Datasource):
    """Chips of a store: only their shards, of them only the columns asked for."""

    def __init__(
        self,
        store: ChipStore,
        chips: NDArray[np.int64],
        columns: Sequence[str],
        seed: int | None,
        buffer_shards: int,
        turn: Any = None,
    ) -> None:
        """`turn` is an actor of `Turn`: every pass over the chips is in another order then."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._store, self._columns = store, tuple(columns)
        self._num_chips, self._inside = len(chips), _by_shard(chips)
        self._seed, self._buffer, self._turn = seed, buffer_shards, turn
        arrays = [store.array(name) for name in columns]
        self.chip_bytes = sum(array.nbytes // max(array.shape[0], 1) for array in arrays)
        """Of the columns of one chip."""

    def get_name(self) -> str:
        """Name in Ray's own logs."""
        return "Chips"

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of the chips."""
        return self._num_chips * self.chip_bytes

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """Ranges of shards; of shuffled ones, at least a buffer each. Asked for in every pass."""
        shards, least, seed = np.asarray(list(self._inside)), 1, self._seeds()
        if seed is not None:
            shards, least = np.random.default_rng(seed).permutation(shards), self._buffer
        parts = np.array_split(shards, min(-(-len(shards) // least), MAX_READ_TASKS))
        return [self._task(number, part, seed) for number, part in enumerate(parts)]

    def _seeds(self) -> list[int] | None:
        """What the order of this pass follows from; None: it is not shuffled."""
        if self._seed is None:
            return None
        return [self._seed, *(ray.get(self._turn.current.remote()) if self._turn else ())]

    def _task(self, number: int, shards: NDArray[np.int64], seed: list[int] | None) -> ReadTask:
        inside = {shard: self._inside[shard] for shard in shards.tolist()}
        num_chips = sum(map(len, inside.values()))
        store, columns, buffer = (
            part_of(self._store, inside, self._columns),
            self._columns,
            self._buffer,
        )
        rng = None if seed is None else np.random.default_rng([*seed, number])
        return ReadTask(
            lambda: _blocks(_shuffled(_shards(store, inside, columns), buffer, rng)),
            metadata(num_chips, num_chips * self.chip_bytes),
        )


def _by_shard(chips: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """The chips of each shard, in order."""
    chips = np.sort(chips)
    shards, starts = np.unique(chips // CHIPS_PER_SHARD, return_index=True)
    return dict(zip(shards.tolist(), np.split(chips, starts[1:]), strict=True))


def part_of(store: ChipStore, shards: Iterable[int], columns: Sequence[str]) -> ChipStore:
    """What it takes to read some shards of a store: a few kB, whatever the store's size."""
    keys = (shard_key(name, shard) for name in columns if name in PIXEL_ARRAYS for shard in shards)
    return ChipStore(
        store.path,
        {name: store.attributes[name] for name in ("num_chips", "classes")},
        {key: store.objects[key] for key in keys if key in store.objects},
    )


def read_chips(
    store: Path | str,
    split: str | None = None,
    columns: Sequence[str] | Literal["all"] | None = None,
    *,
    seed: int | None = None,
    buffer_shards: int = 4,
) -> Dataset:
    """A Ray dataset of the chips of a split: `chip`, its number, and `columns`.

    Default columns: image, valid and the labels that there are; "all": those and what `write_chips`
    needs besides. Raw numbers in the source dtype; order is not defined. Shards without a chip of
    the split, and columns that are not asked for, are not read.

    With a `seed` the chips come shuffled: shards in random order, and within every `buffer_shards`
    of them the chips; a task holds that many shards in memory. Another epoch takes another seed.

    Raises ChipStoreError for a store or split that cannot be read, ConfigError for a column that
    there is not.
    """
    opened = open_store(store)
    names = _column_names(opened, columns)
    if buffer_shards < 1:
        raise ConfigError("buffer_shards must be at least 1.")
    chips = opened.chips_of(split)
    return ray.data.read_datasource(ChipSource(opened, chips, names, seed, buffer_shards))


def _column_names(store: ChipStore, columns: Sequence[str] | str | None) -> list[str]:
    if columns is None:
        return store.pixel_arrays
    every = [*store.pixel_arrays, *PART_COLUMNS]
    names = every if columns == "all" else list(columns)
    arrays = {key.split("/")[0] for key in store.objects if key.endswith("/zarr.json")}
    known = arrays - {COPIES} - set(SCENE_ARRAYS)  # which have no row a chip
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"chip store {store.path} has no column {', '.join(map(repr, unknown))}; it has: "
            f"{', '.join(sorted(known))}."
        )
    return names


def _shards(
    store: ChipStore, inside: Mapping[int, NDArray[np.int64]], columns: Sequence[str]
) -> Iterator[Columns]:
    """Chips shard by shard, in the order of `inside`."""
    for shard, chips in inside.items():
        read, rows = store.read_shard(shard, columns), chips - shard * CHIPS_PER_SHARD
        yield {"chip": chips, **{name: read[name][rows] for name in columns}}


def _shuffled(
    parts: Iterator[Columns], buffer_shards: int, rng: np.random.Generator | None
) -> Iterator[Columns]:
    """The same chips, in random order within every `buffer_shards` parts."""
    if rng is None:
        yield from parts
        return
    held: list[Columns] = []
    for part in parts:
        held.append(part)
        if len(held) == buffer_shards:
            yield from _mixed(held, rng)
            held = []
    if held:
        yield from _mixed(held, rng)


def _mixed(held: list[Columns], rng: np.random.Generator) -> Iterator[Columns]:
    """All chips of some parts in random order, as many at a time as a shard has."""
    place = [(part, row) for part, one in enumerate(held) for row in range(len(one["chip"]))]
    order = rng.permutation(len(place))
    for start in range(0, len(order), CHIPS_PER_SHARD):
        chosen = [place[number] for number in order[start : start + CHIPS_PER_SHARD]]
        yield {name: np.stack([held[part][name][row] for part, row in chosen]) for name in held[0]}


def _blocks(parts: Iterator[Columns]) -> Iterator[Block]:
    for part in parts:
        yield pa.table({name: _arrow(values) for name, values in part.items()})


def _arrow(values: NDArray[Any]) -> Any:
    return values if values.ndim == 1 else ArrowTensorArray.from_numpy(values)


class ChipSink(Datasink[list[Part]]):
    """Writes a new chip store; each shard is made whole by one task."""

    def __init__(self, path: Path, header: StoreHeader) -> None:
        self._path, self._header = path, header

    def on_write_start(self, schema: pa.Schema | None = None) -> None:
        """Raises OutputMismatchError if something lies there already."""
        require_free(self._path)

    def write(self, blocks: Iterable[Block], ctx: Any) -> list[Part]:
        """The shards of one task, and the chips that do not fill one, beside the store."""
        batches = (_columns(block) for block in blocks)
        return write_parts(self._path, self._header, batches)

    def on_write_complete(self, write_result: WriteResult[list[Part]]) -> None:
        """Join the parts to a store: it appears whole, with its manifest."""
        parts = [part for returned in write_result.write_returns for part in returned]
        join_parts(self._path, self._header, parts)

    def on_write_failed(self, error: Exception) -> None:
        """Leave nothing behind."""
        discard_parts(self._path)


def _columns(block: Block) -> Columns:
    found = BlockAccessor.for_block(block).to_numpy()
    assert isinstance(found, dict)
    return found


def write_chips(dataset: Dataset, path: Path | str, header: StoreHeader | Path | str) -> None:
    """Write a dataset of chips as a new chip store, in the order in which they come.

    A row is a chip: image, valid and the labels of `header`, and its place, split, times and items
    as `read_chips(…, columns="all")` gives them; codes refer to the tables of `header`, or of the
    store whose path stands in its place. Every shard is made whole by one task.

    Raises OutputMismatchError if something lies at `path`, ConfigError if columns are missing or no
    chip comes, OutputHeldError if another run is writing there. What fails leaves nothing behind.
    """
    path = absolute(location(path))
    if not isinstance(header, StoreHeader):
        header = StoreHeader.of(open_store(header))
    header = replace(header, key=digest_of(["write_chips", header.key]), earlier_keys=())
    with hold_store(path):
        dataset.write_datasink(ChipSink(path, header))
