"""Overviews of a mosaic, made when its tiles are: each level from the one that is twice as fine.

Numbers are means of what has one. Classes, reasons and flags are those of the nearest pixel: what
has no decision never becomes a class, and the share of a class stays what it is. Its mode would not
do: of what is rare, as change is, nothing would be left after a few levels.
"""

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from noise2map_core.geo.window import Window
from noise2map_core.mapping.levels import Level, levels_of
from noise2map_core.mapping.mosaic import NO_PROBABILITY, Mosaic
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.mapper import Mapper, here
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.storage import read_if_there, zarr_store

STATED = "mosaic_overviews_digest"
"""What a manifest has as `overviews_digest` …"""
STATED_EARLIER = "mosaic_overviews_sha256"
"""… and had before objects were read one beside the other: SHA-256 over all of them in a row."""
AVERAGED = ("probability", "disagreement")
"""Arrays of numbers; the others hold codes."""

Pixels = NDArray[Any]


def write_overviews(mosaic: Mosaic, mapper: Mapper = here) -> None:
    """Make all overviews from the tiles as they are. Safe to repeat; the same bytes every time.

    The shards of a level are made by `mapper`; four tiles of one array are held for each.
    """
    levels = levels_of(mosaic.grid)
    for fine, coarse in pairwise(levels):
        shards = list(_shards(coarse, mosaic.grid.tile_px))
        with progress(len(shards), f"overview 1:{coarse.factor}", "shard") as bar:
            for _ in mapper(partial(_write_all, mosaic, fine, coarse), shards):
                bar.update()


def overviews_digest(mosaic: Mosaic, mapper: Mapper = here) -> str:
    """Digest of the pixels of all overviews, whose objects are read by `mapper`."""
    return digest_of(list(mapper(partial(_told, mosaic.path), list(_keys(mosaic)))))


def are_as_stated(mosaic: Mosaic, manifest: dict[str, Any], mapper: Mapper = here) -> bool:
    """Whether the overviews are those of a manifest; True where it does not say."""
    if stated := manifest.get(STATED):
        return overviews_digest(mosaic, mapper) == stated
    stated = manifest.get(STATED_EARLIER)
    return not stated or _digest_in_a_row(mosaic) == stated


def _told(folder: Path, key: str) -> list[Any]:
    """Key, bytes and SHA-256 of an object; one that is not there counts as empty."""
    body = read_if_there(folder / key) or b""
    return [key, len(body), sha256(body).hexdigest()]


def _digest_in_a_row(mosaic: Mosaic) -> str:
    found = sha256()
    for key in _keys(mosaic):
        body = read_if_there(mosaic.path / key) or b""
        found.update(f"{key} {len(body)}\n".encode())
        found.update(body)
    return found.hexdigest()


def halved(pixels: Pixels, name: str, level: int) -> Pixels:
    """An array [2h, 2w] of a mosaic at half its resolution [h, w]. `level` counts them from 1.

    None of four codes is nearest to their middle: at odd levels the last of them is taken, at even
    levels the first, so that levels do not drift apart.
    """
    if name not in AVERAGED:
        corner = level % 2
        return pixels[corner::2, corner::2]
    known = (pixels != NO_PROBABILITY).astype(np.uint8)
    count = _of_four(known).astype(np.uint32)
    total = _of_four(pixels.astype(np.uint32) * known)
    mean = (2 * total + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, mean, NO_PROBABILITY).astype(pixels.dtype)


def _of_four(numbers: Pixels) -> Pixels:
    """Sums of two by two."""
    rows = numbers[::2] + numbers[1::2]
    return np.asarray(rows[:, ::2] + rows[:, 1::2])


def _write_all(mosaic: Mosaic, fine: Level, coarse: Level, window: Window) -> None:
    """One shard of every array."""
    for name in sorted(mosaic.arrays):
        _write(mosaic, name, fine, coarse, window)


def _write(mosaic: Mosaic, name: str, fine: Level, coarse: Level, window: Window) -> None:
    source = Window(2 * window.row, 2 * window.col, 2 * window.height, 2 * window.width)
    frame = Window(0, 0, 0, 0)
    pixels = np.asarray(_array(mosaic, fine, name)[source.slices_in(frame)])
    target = mosaic.targets[_path(coarse, name)]
    assert isinstance(target, zarr.Array)
    target[window.slices_in(frame)] = halved(pixels, name, coarse.factor.bit_length() - 1)


def _array(mosaic: Mosaic, level: Level, name: str) -> "zarr.Array[Any]":
    """To be read: what is written to shows no pixels."""
    store = zarr_store(mosaic.path, read_only=True)
    return zarr.open_array(store, path=_path(level, name), mode="r", zarr_format=3)


def _path(level: Level, name: str) -> str:
    return f"{level.path}/{name}".lstrip("/")


def _shards(level: Level, px: int) -> Iterator[Window]:
    """The parts of a level that are written whole, by rows, then columns."""
    for row, col in product(range(0, level.height, px), range(0, level.width, px)):
        yield Window(row, col, min(px, level.height - row), min(px, level.width - col))


def _keys(mosaic: Mosaic) -> Iterator[str]:
    px = mosaic.grid.tile_px
    for level in levels_of(mosaic.grid)[1:]:
        for name, window in product(sorted(mosaic.arrays), _shards(level, px)):
            yield f"{_path(level, name)}/c/{window.row // px}/{window.col // px}"
