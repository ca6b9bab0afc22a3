"""A cloud-optimised GeoTIFF of blocks that are packed already.

First the directories (IFDs), the finest first, then the blocks, the coarsest level first, by rows,
each between its length and a repetition of its last bytes: as GDAL's own COG driver lays them out,
and says so at the beginning (https://gdal.org/drivers/raster/cog.html#file-format-details).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Self

import numpy as np
from numpy.typing import NDArray

GHOST = b"""LAYOUT=IFDS_BEFORE_DATA
BLOCK_ORDER=ROW_MAJOR
BLOCK_LEADER=SIZE_AS_UINT4
BLOCK_TRAILER=LAST_4_BYTES_REPEATED
KNOWN_INCOMPATIBLE_EDITION=NO
 """
LEADER, TRAILER = 4, 4
MOST_CLASSIC = (1 << 32) - (1 << 20)
"""Bytes from which on offsets need 64 bits."""

SUBFILE, WIDTH, HEIGHT, OFFSETS, COUNTS = 254, 256, 257, 324, 325
OF_THE_WHOLE = {33550, 33922, 34264, 34735, 34736, 34737, 42112}
"""Where it lies, and GDAL's metadata: what overviews do not repeat."""
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 12: 8, 16: 8}
"""Bytes of a number by its type in TIFF."""

Tags = dict[int, tuple[int, int, bytes]]
"""Type, count and bytes of each tag."""


@dataclass
class PackedLevel:
    """Of one level, how long its blocks are, and where they lie until the file is there: those of a
    row of a part, one behind the other, in the file of that part."""

    height: int
    width: int
    block_px: int
    part_blocks: int
    """Blocks along a side of a part."""
    counts: NDArray[np.int64] = field(init=False)
    """[row, col] Bytes of each block."""
    runs: NDArray[np.int64] = field(init=False)
    """[row, col of parts, (file, offset, bytes)] Blocks with what lies around them."""

    def __post_init__(self) -> None:
        rows, cols = (-(-side // self.block_px) for side in (self.height, self.width))
        self.counts = np.zeros((rows, cols), np.int64)
        self.runs = np.zeros((rows, -(-cols // self.part_blocks), 3), np.int64)

    def put(self, row: int, col: int, sizes: NDArray[np.int64], file: int, offset: int) -> int:
        """Add blocks of `sizes` [row, col] from (row, col) on, which lie in a file from `offset`
        on; returns where they end there."""
        rows = slice(row, row + len(sizes))
        self.counts[rows, col : col + sizes.shape[1]] = sizes
        lengths = (sizes + LEADER + TRAILER).sum(axis=1)
        ends = offset + np.cumsum(lengths)
        places = np.stack([np.full_like(ends, file), ends - lengths, lengths], axis=1)
        self.runs[rows, col // self.part_blocks] = places
        return int(ends[-1])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of the blocks by rows."""
        return self.counts.ravel()


def framed(block: bytes) -> bytes:
    """A block between its length and a repetition of its last bytes."""
    return struct.pack("<I", len(block)) + block + block[-TRAILER:]


@dataclass(frozen=True)
class _Form:
    """Classic TIFF, or BigTIFF, whose offsets are wide."""

    offset: str
    count: str
    entry: int
    kind: int
    """TIFF's type of an offset."""
    start: bytes

    @classmethod
    def of(cls, total: int) -> Self:
        """For so many bytes."""
        if total < MOST_CLASSIC:
            return cls("<I", "<H", 12, 4, struct.pack("<2sH", b"II", 42))
        return cls("<Q", "<Q", 20, 16, struct.pack("<2sHHH", b"II", 43, 8, 0))

    def wide(self, number: int) -> bytes:
        return struct.pack(self.offset, number)


def head_of(template: bytes, levels: Sequence[PackedLevel]) -> bytes:
    """All that stands before the blocks; `levels` from the finest on.

    `template` is a GeoTIFF (little-endian, classic) whose tags it gets: all but sizes and places.
    """
    total = sum(int(level.sizes.sum()) + level.sizes.size * 64 for level in levels)
    form, tags = _Form.of(total + len(template)), tags_of(template)
    ghost = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(GHOST) + GHOST
    first = len(form.start) + len(form.wide(0))
    begin = first + len(ghost)
    described = [_described(tags, level, number) for number, level in enumerate(levels)]
    # Directories are as long whatever the offsets that they name.
    length = sum(len(_directory(form, begin, one, last=False)) for one in described)
    starts = _starts(begin + length, levels)
    head = form.start + form.wide(begin) + ghost
    for number, (one, offsets) in enumerate(zip(described, starts, strict=True)):
        one[OFFSETS] = (form.kind, offsets.size, offsets.astype(form.offset).tobytes())
        head += _directory(form, len(head), one, last=number == len(levels) - 1)
    return head


def runs_of(levels: Sequence[PackedLevel]) -> NDArray[np.int64]:
    """[run, (file, offset, bytes)] What follows the head, in its order: the coarsest level first,
    by rows."""
    return np.concatenate([level.runs.reshape(-1, 3) for level in reversed(levels)])


def _described(tags: Tags, level: PackedLevel, number: int) -> Tags:
    """The tags of a level, its offsets still 0."""
    counts = level.sizes
    own = {
        WIDTH: (4, 1, struct.pack("<I", level.width)),
        HEIGHT: (4, 1, struct.pack("<I", level.height)),
        OFFSETS: (16, counts.size, bytes(8 * counts.size)),
        COUNTS: (4, counts.size, counts.astype("<u4").tobytes()),
    }
    if number == 0:
        return {**tags, **own}
    kept = {tag: value for tag, value in tags.items() if tag not in OF_THE_WHOLE}
    return {**kept, **own, SUBFILE: (4, 1, struct.pack("<I", 1))}


def _starts(begin: int, levels: Sequence[PackedLevel]) -> list[NDArray[np.int64]]:
    """Where each block begins, by level: the coarsest come first."""
    found = []
    for level in reversed(levels):
        ends = begin + np.cumsum(level.sizes + LEADER + TRAILER)
        found.append(ends - level.sizes - TRAILER)
        begin = int(ends[-1])
    return found[::-1]


def _directory(form: _Form, at: int, tags: Tags, *, last: bool) -> bytes:
    """An IFD that begins at `at`, and behind it the values that do not fit into it."""
    wide = len(form.wide(0))
    size = struct.calcsize(form.count) + form.entry * len(tags) + wide
    head, rest = BytesIO(), BytesIO()
    head.write(struct.pack(form.count, len(tags)))
    for tag, (kind, count, value) in sorted(tags.items()):
        if tag == OFFSETS:  # as wide as the form has them
            kind, value = form.kind, value.ljust(count * wide, b"\0")[: count * wide]
        head.write(struct.pack("<HH", tag, kind) + form.wide(count))
        if len(value) <= wide:
            head.write(value.ljust(wide, b"\0"))
        else:
            head.write(form.wide(at + size + rest.tell()))
            rest.write(value + bytes(-len(value) % 8))
    behind = at + size + rest.tell()
    head.write(form.wide(0 if last else behind))
    return head.getvalue() + rest.getvalue()


def tags_of(body: bytes) -> Tags:
    """The tags of the first directory of a TIFF, little-endian and classic."""
    (at,) = struct.unpack_from("<I", body, 4)
    (number,) = struct.unpack_from("<H", body, at)
    found: Tags = {}
    for start in range(at + 2, at + 2 + 12 * number, 12):
        tag, kind, count = struct.unpack_from("<HHI", body, start)
        size = SIZES[kind] * count
        (far,) = struct.unpack_from("<I", body, start + 8)
        where = start + 8 if size <= 4 else far
        found[tag] = (kind, count, body[where : where + size])
    return found
