"""The pixels that one tile is predicted from. Readers need no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.catalog.scene import Scene
from noise2map_core.clouds.hidden import Hidden, Kinds
from noise2map_core.clouds.suspicion import suspected_clouds
from noise2map_core.detectors.parts import NOWHERE, part_numbers
from noise2map_core.geo.grid import Tile
from noise2map_core.geo.window import Window
from noise2map_core.imagery.composite import read_date
from noise2map_core.inference.region import RegionJob


@dataclass(frozen=True, slots=True)
class TileImage:
    """What a tile is predicted from: the pixels of all chips that touch it."""

    image: NDArray[Any]
    """[date, band, H, W] in the source dtype, raw numbers."""
    valid: NDArray[np.bool_]
    """[date, H, W], True = observed and not masked."""
    hidden: Kinds
    """[date, H, W], by what pixels are hidden that are observed, but not valid."""
    part: NDArray[np.uint8] | None = None
    """[H, W], which of the detector's parts a pixel is told by; None: it has none."""


def read_tile(job: RegionJob, tile: Tile) -> TileImage:
    """The pixels of all dates for one tile and its halo. Raises AssetReadError."""
    return read_window(job, job.cover(tile), job.scenes(tile))


def read_window(job: RegionJob, window: Window, dates: Sequence[Sequence[Scene]]) -> TileImage:
    """The pixels of a window of the grid, from the scenes of each date. Raises AssetReadError."""
    wide = window.grow(job.recipe.reach_px)
    sources = np.zeros((len(dates), wide.height, wide.width), np.int32)
    found, geobox, last = _nothing(job, wide), job.grid.geobox(wide), len(dates) - 1
    for date, scenes in enumerate(dates):
        if scenes:
            pixels = read_date(scenes, geobox, job.recipe, last=date == last)
            found.image[date] = pixels.image
            found.valid[date] = pixels.valid
            found.hidden[date] = pixels.hidden
            sources[date] = pixels.source
    if job.recipe.suspicion is not None:
        clouds = suspected_clouds(found.image, found.valid, job.recipe.suspicion)
        found.valid[clouds], found.hidden[clouds] = False, Hidden.SUSPECTED
        found.image[np.broadcast_to(clouds[:, None], found.image.shape)] = 0
    part = None
    if job.parts:
        pairs = job.pairs.at(dates, tuple(sources))
        part = part_numbers(job.parts, pairs, np.asarray(found.valid.all(axis=0)))
    place = window.slices_in(wide)
    return TileImage(
        found.image[:, :, *place], found.valid[:, *place], found.hidden[:, *place],
        None if part is None else part[place],
    )  # fmt: skip


def unread_tile(job: RegionJob, tile: Tile) -> TileImage:
    """A tile of which nothing is observed: what one that cannot be read goes on as."""
    return _nothing(job, job.cover(tile))


def _nothing(job: RegionJob, window: Window) -> TileImage:
    dates = len(job.dates)
    image = np.zeros((dates, len(job.spec.bands), window.height, window.width), job.dtype)
    valid = np.zeros((dates, window.height, window.width), np.bool_)
    part = np.full(valid.shape[1:], NOWHERE, np.uint8) if job.parts else None
    return TileImage(image, valid, valid.astype(np.uint8), part)
