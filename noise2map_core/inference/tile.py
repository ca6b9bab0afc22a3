"""One tile of a region: read, and predicted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.grid import Tile
from noise2map_core.imagery.reader import read_pixels
from noise2map_core.inference.decision import decide_change
from noise2map_core.inference.predictor import Predictor
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.mosaic import TileMap


@dataclass(frozen=True, slots=True)
class TileImage:
    """What a tile is predicted from: the pixels of all chips that touch it."""

    image: NDArray[Any]
    """[date, band, H, W] in the source dtype, raw numbers."""
    valid: NDArray[np.bool_]
    """[date, H, W], True = observed."""


def read_tile(job: RegionJob, tile: Tile) -> TileImage:
    """The pixels of both dates for one tile and its halo. Raises AssetReadError."""
    cover = job.cover(tile)
    geobox = job.grid.geobox(cover)
    image = np.zeros((2, len(job.spec.bands), cover.height, cover.width), job.dtype)
    valid = np.zeros((2, cover.height, cover.width), np.bool_)
    for date, scenes in enumerate(job.scenes(tile)):
        if scenes:
            image[date], valid[date] = read_pixels(scenes, geobox)
    return TileImage(image, valid)


def predict_tile(
    job: RegionJob, predictor: Predictor, tile: Tile, pixels: TileImage
) -> tuple[TileMap, int]:
    """The map of one tile, and the chips that went through the network."""
    core = job.grid.window(tile)
    inside = job.inside(tile)
    valid = pixels.valid[:, *core.slices_in(job.cover(tile))]
    probability, chips = predictor.predict(
        pixels.image, pixels.valid, core, wanted=inside & valid.all(axis=0)
    )
    return decide_change(probability[1], job.spec.threshold["changed"], valid, inside), chips
