"""The pixels that one tile is predicted from. Readers need no torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.grid import Tile
from noise2map_core.imagery.composite import read_date
from noise2map_core.inference.region import RegionJob


@dataclass(frozen=True, slots=True)
class TileImage:
    """What a tile is predicted from: the pixels of all chips that touch it."""

    image: NDArray[Any]
    """[date, band, H, W] in the source dtype, raw numbers."""
    valid: NDArray[np.bool_]
    """[date, H, W], True = observed and not masked."""
    masked: NDArray[np.bool_]
    """[date, H, W], True = observed, but masked."""


def read_tile(job: RegionJob, tile: Tile) -> TileImage:
    """The pixels of all dates for one tile and its halo. Raises AssetReadError."""
    geobox = job.grid.geobox(job.cover(tile))
    tile_image, last = unread_tile(job, tile), len(job.dates) - 1
    for date, scenes in enumerate(job.scenes(tile)):
        if scenes:
            pixels = read_date(scenes, geobox, job.recipe, last=date == last)
            tile_image.image[date] = pixels.image
            tile_image.valid[date] = pixels.valid
            tile_image.masked[date] = pixels.masked
    return tile_image


def unread_tile(job: RegionJob, tile: Tile) -> TileImage:
    """A tile of which nothing is observed: what one that cannot be read goes on as."""
    cover, dates = job.cover(tile), len(job.dates)
    image = np.zeros((dates, len(job.spec.bands), cover.height, cover.width), job.dtype)
    valid, masked = np.zeros((2, dates, cover.height, cover.width), np.bool_)
    return TileImage(image, valid, masked)
