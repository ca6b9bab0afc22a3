"""Parts of a raster as the blocks of a cloud-optimised GeoTIFF: packed by GDAL, with overviews.

A part is a square of `PART_PX`, of which the blocks of several levels are made at once: its own
pixels, and a half, a quarter and an eighth of them, the last of which is one block. What is coarser
is made in the same way of that last level, as if it were a raster of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

from noise2map_core.geo.window import Window
from noise2map_core.products.cog_file import PackedLevel
from noise2map_core.runtime.mapper import Mapper

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


class PackedRaster:
    """All levels of a raster, packed part by part by `mapper`, in files of `scratch`."""

    def __init__(self, packing: Packing, scratch: Path, mapper: Mapper) -> None:
        self.packing, self._scratch, self._mapper = packing, scratch, mapper
        self.levels: list[PackedLevel] = []
        self.sums = Sums()
        self._files = ExitStack()

    def close(self) -> None:
        """Let go of the files."""
        self._files.close()

    def add(
        self,
        make: Callable[[int, Window], "Part"],
        frame: Window,
        told: Callable[[], None],
    ) -> None:
        """Pack the raster in `frame`, whose windows `make` packs, with a number of levels; calls
        `told` at each. Coarser levels follow from the last of these."""
        levels, windows = self._levels(frame.height, frame.width), parts_of(frame)
        last: NDArray[Any] = np.lib.format.open_memmap(
            self._scratch / "last.npy", "w+", self.packing.dtype,
            (levels[-1].height, levels[-1].width),
        )  # fmt: skip
        parts = self._mapper(partial(make, len(levels)), windows)
        for window, part in zip(windows, parts, strict=True):
            row, col = window.row - frame.row, window.col - frame.col
            _put(levels, part, row, col)
            _paste(last, part.last, row >> len(levels) - 1, col >> len(levels) - 1)
            self.sums += part.sums
            told()
        self.levels = levels
        while overviews_of(*last.shape):
            last = self._coarser(last)

    def _coarser(self, fine: NDArray[Any]) -> NDArray[Any]:
        """Add the overviews of the coarsest level that there is, `fine`; returns the last."""
        levels = self._levels(*fine.shape)
        last = np.zeros((levels[-1].height, levels[-1].width), fine.dtype)
        windows = parts_of(Window(0, 0, *fine.shape))
        pixels = (np.array(fine[window.slices_in(Window(0, 0, 0, 0))]) for window in windows)
        make = partial(packed, packing=self.packing, levels=len(levels))
        for window, part in zip(windows, self._mapper(make, pixels), strict=True):
            _put(levels, part, window.row, window.col)
            _paste(last, part.last, window.row >> len(levels) - 1, window.col >> len(levels) - 1)
        self.levels += levels[1:]  # the first is there already
        return last

    def _levels(self, height: int, width: int) -> list[PackedLevel]:
        """Nothing yet, from a level of this size on to the last that parts have."""
        return [
            PackedLevel(-(-height >> k), -(-width >> k), BLOCK_PX, self._file())
            for k in range(min(STEPS, overviews_of(height, width)) + 1)
        ]

    def _file(self) -> BinaryIO:
        return cast(BinaryIO, self._files.enter_context(TemporaryFile(dir=self._scratch)))


def _put(levels: list[PackedLevel], part: "Part", row: int, col: int) -> None:
    for number, (level, blocks) in enumerate(zip(levels, part.levels, strict=True)):
        level.put(row // BLOCK_PX >> number, col // BLOCK_PX >> number, blocks, part.widths[number])


def _paste(image: NDArray[Any], pixels: NDArray[Any], row: int, col: int) -> None:
    image[row : row + len(pixels), col : col + pixels.shape[1]] = pixels


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


def packed(pixels: NDArray[Any], packing: Packing, levels: int) -> Part:
    """A part of `pixels` [H, W] and its overviews, `levels` in all."""
    shown = [pixels]
    for _ in range(1, levels):
        shown.append(_halved(shown[-1], packing))
    return Part(
        [_blocks(level, packing) for level in shown],
        [-(-level.shape[1] // BLOCK_PX) for level in shown],
        shown[-1],
        _sums(pixels, packing.nodata),
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
