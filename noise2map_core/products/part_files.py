"""Files that are made of parts: each part in a file of its own, and from there in the file of all.

Whoever makes a part writes it, and the file of all is written by ranges, some at a time, wherever
workers see the folder in which it lies. Where they do not (it is the driver's own, for an object
that goes up whole), parts come back, and the driver puts them together.
"""

import os
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
from numpy.typing import NDArray

from noise2map_core.runtime.mapper import Mapper, where_seen

RANGE_BYTES = 64 << 20
"""Of a file that one worker writes; ranges begin where pages do, so that no two machines write to
one page of a shared disk."""

Range = tuple[int, NDArray[np.int64]]
"""Where it begins, and its runs [run, (file, offset, bytes)]."""


def put_part(folder: Path, number: int | str, body: bytes) -> bool:
    """Write the file of a part, whole or not at all, for it may be made twice at once; False if the
    folder is not seen from here."""
    if not folder.is_dir():
        return False
    with NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(body)
    os.replace(file.name, folder / f"{number}")
    return True


def read_part(folder: Path, number: int, offset: int, size: int) -> bytes:
    """Bytes of the file of a part."""
    with (folder / f"{number}").open("rb") as file:
        file.seek(offset)
        return file.read(size)


def write_whole(
    path: Path,
    head: bytes,
    runs: NDArray[np.int64],
    folder: Path,
    mapper: Mapper,
    tail: bytes = b"",
) -> None:
    """Write a file of its first bytes, of runs of the files of parts in `folder`, and of its last
    bytes."""
    with path.open("wb") as file:
        file.write(head)
        file.seek(len(head) + int(runs[:, 2].sum()))
        file.write(tail)
        file.truncate()
    for _ in where_seen(mapper, partial(_write_range, path, folder), ranges_of(len(head), runs)):
        pass


def ranges_of(start: int, runs: NDArray[np.int64]) -> Iterator[Range]:
    """The runs, the first of which begins at `start`, cut where ranges begin."""
    ends = start + np.cumsum(runs[:, 2])
    begins = ends - runs[:, 2]
    stop = start + int(runs[:, 2].sum())
    cuts = [start, *range((start // RANGE_BYTES + 1) * RANGE_BYTES, stop, RANGE_BYTES), stop]
    for low, high in pairwise(cuts):
        among = slice(
            int(np.searchsorted(ends, low, "right")), int(np.searchsorted(begins, high, "left"))
        )
        some = runs[among].copy()
        before = np.maximum(low - begins[among], 0)
        some[:, 1] += before
        some[:, 2] -= before + np.maximum(ends[among] - high, 0)
        yield low, some


def _write_range(path: Path, folder: Path, part: Range) -> bool | None:
    """Write a range into the file that is there; None if it is not seen from here."""
    begin, runs = part
    if not (folder.is_dir() and path.is_file()):
        return None
    with path.open("r+b") as file:
        file.seek(begin)
        for number, offset, size in runs.tolist():
            file.write(read_part(folder, number, offset, size))
    return True
