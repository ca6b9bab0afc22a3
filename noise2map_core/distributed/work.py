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
MAX_ITEMS = 8
"""Of a task, as long as that is not too many tasks: a task that is lost is begun again."""
ROUNDS = 4
"""A task takes an equal part of what is left for so many rounds of all workers."""

Make = Callable[..., dict[str, Any]]
"""From the integers of an item to its row, as a batch of one."""


class WorkSource(Datasource):
    """A row for each of `items` [item, column], made by `make` in the worker that reads it.

    A source of its own and not `from_items`: the driver holds a few bytes an item and no row. Not a
    map over items either: that would be other processes, each of which loads its libraries anew.
    """

    def __init__(
        self,
        name: str,
        items: NDArray[np.integer],
        make: Make,
        row_bytes: int = 100,
        num_cpus: float = 1.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._name, self._items, self._row_bytes = name, items, row_bytes
        self._workers = max(1, int(ray.cluster_resources().get("CPU", 1) / num_cpus))
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
        """Tasks of several items, then of fewer and fewer, so that all workers end together."""
        parts = np.split(self._items, np.cumsum(task_sizes(len(self._items), self._workers))[:-1])
        return [
            ReadTask(
                partial(_blocks, self._make, part),
                metadata(len(part), len(part) * self._row_bytes),
            )
            for part in parts
        ]


def task_sizes(items: int, workers: int) -> list[int]:
    """Items of each task: guided self-scheduling (Polychronopoulos & Kuck 1987).

    Between two tasks a worker waits for the driver, about a quarter of a second.
    """
    most, sizes = max(MAX_ITEMS, -(-items // MAX_READ_TASKS)), []
    while items:
        sizes.append(max(1, min(most, items // (ROUNDS * workers))))
        items -= sizes[-1]
    return sizes


def unread_because(error: Exception) -> str:
    """Why pixels could not be read, for people."""
    if isinstance(error, MemoryError):
        return (
            f"out of memory while reading ({error}). Raise resources.reader_memory_gb, so that "
            "fewer readers run at once."
        )
    return str(error)


def metadata(num_rows: int, num_bytes: int) -> BlockMetadata:
    """What is known of a read task's rows before it runs."""
    return BlockMetadata(num_rows, num_bytes, exec_stats=None)


def _blocks(make: "ray.ObjectRef[Make]", items: NDArray[np.integer]) -> Iterator[Block]:
    made: Make = ray.get(make)
    for item in items.tolist():
        yield BlockAccessor.batch_to_block(made(*item))
