"""The pixels that one tile is predicted from. Readers need no torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.grid import Tile
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.inference.region import RegionJob


@dataclass(frozen=True, slots=True)
class TileImage:
    """What a tile is predicted from: the pixels of all chips that touch it."""

    image: NDArray[Any]
    """[date, band, H, W] in the source dtype, raw numbers."""
    valid: NDArray[np.bool_]
    """[date, H, W], True = observed."""


def read_tile(job: RegionJob, tile: Tile) -> TileImage:
    """The pixels of all dates for one tile and its halo. Raises AssetReadError."""
    geobox = job.grid.geobox(job.cover(tile))
    image, valid = _unobserved(job, tile)
    for date, scenes in enumerate(job.scenes(tile)):
        if scenes:
            image[date], valid[date] = read_pixels(scenes, geobox)
    return TileImage(image, valid)


def unread_tile(job: RegionJob, tile: Tile) -> TileImage:
    """In place of a tile that could not be read: nothing observed."""
    return TileImage(*_unobserved(job, tile))


def _unobserved(job: RegionJob, tile: Tile) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    cover, dates = job.cover(tile), len(job.dates)
    image = np.zeros((dates, len(job.spec.bands), cover.height, cover.width), job.dtype)
    return image, np.zeros((dates, cover.height, cover.width), np.bool_)
