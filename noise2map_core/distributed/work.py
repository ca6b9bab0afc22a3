"""Work for Ray Data to hand out: the numbers of tiles or shards that are to be made."""

from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ray.data import DataContext
from ray.data.block import Block, BlockMetadata
from ray.data.datasource import Datasource, ReadTask

MAX_READ_TASKS = 1000
"""Read tasks are objects of the driver: their number must not grow with the work."""


class WorkSource(Datasource):
    """Rows of integers [item, column], handed out in ranges.

    A source of its own and not `from_items`: the driver holds a few bytes an item and no row.
    """

    def __init__(self, name: str, columns: tuple[str, ...], rows: NDArray[np.integer]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._name, self._columns, self._rows = name, columns, rows

    def get_name(self) -> str:
        """Name in Ray's own logs."""
        return self._name

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of the rows."""
        return self._rows.nbytes

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """One task an item for a little work, ranges of items for much."""
        parts = np.array_split(self._rows, min(len(self._rows), MAX_READ_TASKS))
        return [
            ReadTask(partial(_blocks, self._columns, part), metadata(len(part), part.nbytes))
            for part in parts
        ]


def metadata(num_rows: int, num_bytes: int) -> BlockMetadata:
    """What is known of a read task's rows before it runs."""
    return BlockMetadata(num_rows, num_bytes, exec_stats=None)


def _blocks(columns: tuple[str, ...], rows: NDArray[np.integer]) -> list[Block]:
    return [pa.table({name: rows[:, index] for index, name in enumerate(columns)})]
