"""Parts of a raster as the blocks of a cloud-optimised GeoTIFF: packed by GDAL, with overviews.

A part is a square of `PART_PX`, of which the blocks of several levels are made at once: its own
pixels, and a half, a quarter and an eighth of them, the last of which is one block. What is coarser
is made in the same way of that last level, as if it were a raster of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

from noise2map_core.geo.window import Window
from noise2map_core.products.cog_file import PackedLevel, framed, head_of, runs_of
from noise2map_core.products.part_files import put_part, read_part, write_whole
from noise2map_core.runtime.mapper import Mapper, where_seen

BLOCK_PX = 512
STEPS = 3
"""Overviews that are made of a part."""
PART_PX = BLOCK_PX << STEPS
ANYWHERE = Affine.translation(1, 1)
"""Of files that are never seen: rasterio warns of those that lie nowhere."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How pixels become blocks."""

    dtype: str
    nodata: int | None
    predictor: str
    """GDAL's name of it: "no" or "standard"."""
    overviews: str
    """Resampling of the overviews: "mode" or "average"."""

    def options(self) -> dict[str, Any]:
        """Of a GeoTIFF that has such blocks."""
        return {
            "driver": "GTiff", "dtype": self.dtype, "count": 1, "nodata": self.nodata,
            "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX,
            "compress": "deflate", "predictor": {"no": 1, "standard": 2}[self.predictor],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sums:
    """Of the pixels that have a number: what a file's statistics follow from, exactly."""

    count: int = 0
    total: int = 0
    squares: int = 0
    low: int = 0
    high: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        if not (self.count and other.count):
            return self if self.count else other
        return Sums(
            self.count + other.count, self.total + other.total, self.squares + other.squares,
            min(self.low, other.low), max(self.high, other.high),
        )  # fmt: skip

    def tags(self, pixels: int) -> dict[str, str]:
        """Statistics as GDAL has them in the metadata of a band; none where no pixel has a number.

        `pixels`: how many there are with those that have none.
        """
        if not self.count:
            return {}
        mean = self.total / self.count
        spread = (self.count * self.squares - self.total**2) / self.count**2
        return {
            "STATISTICS_MAXIMUM": str(self.high),
            "STATISTICS_MEAN": f"{mean:.14g}",
            "STATISTICS_MINIMUM": str(self.low),
            "STATISTICS_STDDEV": f"{max(spread, 0.0) ** 0.5:.14g}",
            "STATISTICS_VALID_PERCENT": f"{100 * self.count / pixels:.4g}",
        }


@dataclass(frozen=True, slots=True)
class Part:
    """A part, packed."""

    levels: list[list[bytes]]
    """The blocks of each level, the finest first, by rows …"""
    widths: list[int]
    """… of so many."""
    last: NDArray[Any]
    """The pixels of the last level."""
    sums: Sums


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a part whose blocks lie in a file: those of each level, and behind them the
    pixels of the last one."""

    number: int
    """Of the file."""
    sizes: list[NDArray[np.int64]]
    """[row, col] Bytes of the blocks, by level."""
    last: tuple[int, int]
    """Rows and columns of the pixels."""
    sums: Sums
    body: bytes | None
    """None: the file is there."""


@dataclass(frozen=True, slots=True)
class Finest:
    """A level of which the next ones are made: its pixels, part by part, in files."""

    height: int
    width: int
    side: int
    """Pixels along a side of a part."""
    places: dict[tuple[int, int], tuple[int, int, tuple[int, int]]]
    """Of each part, by row and column: file, offset, and rows and columns."""

    def within(self, window: Window) -> list["Piece"]:
        """What lies in a window that is cut where parts end."""
        rows, cols = (
            range(start // self.side, -(-stop // self.side))
            for start, stop in ((window.row, window.row_stop), (window.col, window.col_stop))
        )
        return [
            (row * self.side - window.row, col * self.side - window.col, *self.places[row, col])
            for row, col in product(rows, cols)
        ]


Piece = tuple[int, int, int, int, tuple[int, int]]
"""Row and column among others, file, offset, and rows and columns."""


class PackedRaster:
    """All levels of a raster, packed part by part by `mapper`, in files of `scratch`."""

    def __init__(self, packing: Packing, scratch: Path, mapper: Mapper) -> None:
        self.packing, self._scratch, self._mapper = packing, scratch, mapper
        self.levels: list[PackedLevel] = []
        self.sums = Sums()
        self._number = count()

    def add(
        self,
        make: Callable[[int, Window], "Part"],
        frame: Window,
        told: Callable[[], None],
    ) -> None:
        """Pack the raster in `frame`, whose windows `make` packs, with a number of levels; calls
        `told` at each. Coarser levels follow from the last of these."""
        levels, windows = self._levels(frame.height, frame.width), parts_of(frame)
        work = partial(_kept_window, partial(make, len(levels)), self._scratch)
        made = self._mapper(work, [(next(self._number), window) for window in windows])
        corners = [(window.row - frame.row, window.col - frame.col) for window in windows]
        last = self._put(levels, corners, made, told)
        self.levels = levels
        while overviews_of(last.height, last.width):
            last = self._coarser(last)

    def write(self, path: Path, template: bytes) -> None:
        """Write the file; see `head_of`."""
        head, runs = head_of(template, self.levels), runs_of(self.levels)
        write_whole(path, head, runs, self._scratch, self._mapper)

    def _coarser(self, fine: Finest) -> Finest:
        """Add the overviews of the coarsest level that there is, `fine`; returns the last."""
        levels = self._levels(fine.height, fine.width)
        windows = parts_of(Window(0, 0, fine.height, fine.width))
        parts = [(next(self._number), one, fine.within(one)) for one in windows]
        work = partial(_kept_pieces, self.packing, len(levels), self._scratch)
        made = where_seen(self._mapper, work, parts)
        corners = [(window.row, window.col) for window in windows]
        last = self._put(levels, corners, made, nothing)
        self.levels += levels[1:]  # the first is there already
        return last

    def _put(
        self,
        levels: list[PackedLevel],
        corners: list[tuple[int, int]],
        made: Iterable[Kept],
        told: Callable[[], None],
    ) -> Finest:
        """Note where the blocks of parts lie that begin at `corners`; returns the last level."""
        steps = len(levels) - 1
        last = Finest(levels[-1].height, levels[-1].width, PART_PX >> steps, {})
        for (row, col), part in zip(corners, made, strict=True):
            if part.body is not None:
                put_part(self._scratch, part.number, part.body)
            offset, skipped = 0, len(levels) - len(part.sizes)
            for step, sizes in enumerate(part.sizes, skipped):
                at = row // BLOCK_PX >> step, col // BLOCK_PX >> step
                offset = levels[step].put(*at, sizes, part.number, offset)
            last.places[row // PART_PX, col // PART_PX] = (part.number, offset, part.last)
            self.sums += part.sums
            told()
        return last

    def _levels(self, height: int, width: int) -> list[PackedLevel]:
        """Nothing yet, from a level of this size on to the last that parts have."""
        return [
            PackedLevel(-(-height >> k), -(-width >> k), BLOCK_PX, PART_PX // BLOCK_PX >> k)
            for k in range(min(STEPS, overviews_of(height, width)) + 1)
        ]


def nothing() -> None:
    """Is told of parts that nobody counts."""


def _kept_window(make: Callable[[Window], "Part"], scratch: Path, part: tuple[int, Window]) -> Kept:
    number, window = part
    return _kept(make(window), scratch, number)


def _kept_pieces(
    packing: Packing, levels: int, scratch: Path, part: tuple[int, Window, list[Piece]]
) -> Kept | None:
    """The part that is put together of pieces; None if they are not seen from here."""
    number, window, pieces = part
    if not scratch.is_dir():
        return None
    pixels = np.empty((window.height, window.width), packing.dtype)
    for row, col, file, offset, (height, width) in pieces:
        body = read_part(scratch, file, offset, height * width * pixels.itemsize)
        piece = np.frombuffer(body, pixels.dtype).reshape(height, width)
        pixels[row : row + height, col : col + width] = piece
    return _kept(packed(pixels, packing, levels, first=1), scratch, number)


def _kept(part: "Part", scratch: Path, number: int) -> Kept:
    """A part, written where it can be."""
    blocks = [framed(block) for level in part.levels for block in level]
    body = b"".join([*blocks, np.ascontiguousarray(part.last).tobytes()])
    sizes = [
        np.array([len(block) for block in level], np.int64).reshape(-1, width)
        for level, width in zip(part.levels, part.widths, strict=True)
    ]
    seen, (height, width) = put_part(scratch, number, body), part.last.shape
    return Kept(number, sizes, (height, width), part.sums, None if seen else body)


def overviews_of(height: int, width: int) -> int:
    """How many overviews there are: the last of them is a single block."""
    return max(0, (-(-max(height, width) // BLOCK_PX) - 1).bit_length())


def parts_of(frame: Window) -> list[Window]:
    """A raster by parts, by rows."""
    corners = product(
        range(frame.row, frame.row_stop, PART_PX), range(frame.col, frame.col_stop, PART_PX)
    )
    return [Window(row, col, PART_PX, PART_PX).intersect(frame) for row, col in corners]


def packed_window(
    read: Callable[[Window], NDArray[Any]], packing: Packing, levels: int, window: Window
) -> "Part":
    """The part whose pixels `read` gives."""
    return packed(read(window), packing, levels)


def packed(pixels: NDArray[Any], packing: Packing, levels: int, first: int = 0) -> Part:
    """A part of `pixels` [H, W] and its overviews, `levels` in all, of which those from `first` on
    are packed; sums are of a part that is packed itself."""
    shown = [pixels]
    for _ in range(1, levels):
        shown.append(_halved(shown[-1], packing))
    return Part(
        [_blocks(level, packing) for level in shown[first:]],
        [-(-level.shape[1] // BLOCK_PX) for level in shown[first:]],
        shown[-1],
        Sums() if first else _sums(pixels, packing.nodata),
    )


def _halved(pixels: NDArray[Any], packing: Packing) -> NDArray[Any]:
    """[⌈H / 2⌉, ⌈W / 2⌉] One pixel for four, by GDAL's resampling; at the edges the last ones count
    twice."""
    height, width = pixels.shape
    whole = np.pad(pixels, ((0, height % 2), (0, width % 2)), "edge")
    half = (whole.shape[0] // 2, whole.shape[1] // 2)
    with (
        MemoryFile() as memory,
        memory.open(
            driver="GTiff", dtype=packing.dtype, count=1, nodata=packing.nodata,
            height=whole.shape[0], width=whole.shape[1], transform=ANYWHERE,
        ) as file,
    ):  # fmt: skip
        file.write(whole, 1)
        return np.asarray(file.read(1, out_shape=half, resampling=Resampling[packing.overviews]))


def _blocks(pixels: NDArray[Any], packing: Packing) -> list[bytes]:
    """The blocks as GDAL packs them, by rows."""
    height, width = pixels.shape
    with MemoryFile() as memory:
        with memory.open(
            height=height, width=width, transform=ANYWHERE, **packing.options()
        ) as file:
            file.write(pixels, 1)
        body = memory.getbuffer()
        with memory.open() as file:
            return [bytes(body[start : start + size]) for start, size in _places(file)]


def _places(file: rasterio.DatasetReader) -> Iterator[tuple[int, int]]:
    for (row, col), _ in file.block_windows(1):
        yield tuple(  # type: ignore[misc]
            int(file.get_tag_item(f"{what}_{col}_{row}", "TIFF", bidx=1))
            for what in ("BLOCK_OFFSET", "BLOCK_SIZE")
        )


def _sums(pixels: NDArray[Any], nodata: int | None) -> Sums:
    values = pixels[pixels != nodata] if nodata is not None else pixels.ravel()
    if not len(values):
        return Sums()
    wide = values.astype(np.int64)  # squares of 16 bits, and a part of them, fit well
    return Sums(
        len(values), int(wide.sum()), int(np.dot(wide, wide)), int(values.min()), int(values.max())
    )
