"""Work for Ray Data to hand out: tiles or shards that are made, one by one, in read tasks."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.data import DataContext
from ray.data.block import Block, BlockAccessor, BlockMetadata
from ray.data.datasource import Datasource, ReadTask

MAX_READ_TASKS = 1000
"""Read tasks are objects of the driver: their number must not grow with the work."""

Make = Callable[..., dict[str, Any]]
"""From the integers of an item to its row, as a batch of one."""


class WorkSource(Datasource):
    """A row for each of `items` [item, column], made by `make` in the worker that reads it.

    A source of its own and not `from_items`: the driver holds a few bytes an item and no row. Not a
    map over items either: that would be other processes, each of which loads its libraries anew.
    """

    def __init__(
        self, name: str, items: NDArray[np.integer], make: Make, row_bytes: int = 100
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._name, self._items, self._row_bytes = name, items, row_bytes
        self._make = ray.put(make)  # once, not with every task

    def get_name(self) -> str:
        """Name in Ray's own logs."""
        return self._name

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of the rows."""
        return len(self._items) * self._row_bytes

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """One task an item for a little work, ranges of items for much."""
        parts = np.array_split(self._items, min(len(self._items), MAX_READ_TASKS))
        return [
            ReadTask(
                partial(_blocks, self._make, part),
                metadata(len(part), len(part) * self._row_bytes),
            )
            for part in parts
        ]


def metadata(num_rows: int, num_bytes: int) -> BlockMetadata:
    """What is known of a read task's rows before it runs."""
    return BlockMetadata(num_rows, num_bytes, exec_stats=None)


def _blocks(make: "ray.ObjectRef[Make]", items: NDArray[np.integer]) -> Iterator[Block]:
    made: Make = ray.get(make)
    for item in items.tolist():
        yield BlockAccessor.batch_to_block(made(*item))
