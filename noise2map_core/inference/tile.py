"""One tile of a region, predicted."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from noise2map_core.detectors.part_edges import part_edges
from noise2map_core.geo.grid import Tile
from noise2map_core.geo.window import Window
from noise2map_core.inference.decision import Verdict, decide
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.tile_image import TileImage
from noise2map_core.mapping.mosaic import TileMap


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is said of one tile."""

    verdict: Verdict
    """Of all pixels [height, width]."""
    chips: int
    """Chips that went through a network."""
    disagreement: NDArray[np.uint16] | None = None
    """[height, width] highest less lowest probability over the passes of the evidence, of the class
    in which they differ most, in units of the mosaic; None: no evidence was asked for."""
    reversed_classes: NDArray[np.uint8] | None = None
    """[height, width] the classes with the dates in reversed order; None where that was not asked
    for."""
    direction: NDArray[np.uint8] | None = None
    """[height, width] the kind of change, where two maps are compared, whether decided or not."""


class TilePredictor(Protocol):
    """Whatever says what a tile's pixels are: a network, a detector."""

    def predict(
        self,
        image: NDArray[np.generic],
        valid: NDArray[np.bool_],
        core: Window,
        wanted: NDArray[np.bool_],
        part: NDArray[np.uint8] | None = None,
    ) -> Prediction:
        """What a tile's `core` shows.

        `image` [date, band, H, W] and `valid` [date, H, W] cover the chips that touch the core;
        `wanted` [height, width] marks core pixels that are to be decided; `part` [H, W] is of
        detectors, as `TileImage` has it. The result does not depend on who works or on what came
        before.
        """


@dataclass(frozen=True, slots=True)
class PredictedTile:
    """A tile's map, and what it took."""

    map: TileMap
    chips: int
    """Chips that went through the network."""
    decided_px: int
    """Pixels with a decision."""
    strange_px: int
    """Of these, pixels with a number that the model does not expect."""
    unlike_px: int = 0
    """Of these, pixels that get another class with the dates in reversed order, if that was
    tried."""
    part_edges: str = ""
    """Change along the edges of parts with statistics of their own, as `part_edges` says it."""


def predict_tile(
    job: RegionJob, predictor: TilePredictor, tile: Tile, pixels: TileImage
) -> PredictedTile:
    """Map one tile."""
    core, inside = job.grid.window(tile), job.inside(tile)
    at_core = core.slices_in(job.cover(tile))
    valid = pixels.valid[:, *at_core]
    wanted = inside & valid.all(axis=0)
    said = predictor.predict(pixels.image, pixels.valid, core, wanted, pixels.part)
    strange = wanted & _strange(pixels.image[:, :, *at_core], job.spec.value_range)
    hidden = pixels.hidden[:, *at_core]
    made = decide(said.verdict, valid, inside, hidden, said.disagreement, said.direction)
    unlike = 0
    if said.reversed_classes is not None:
        unlike = int((wanted & (said.verdict.classes != said.reversed_classes)).sum())
    edges = "" if pixels.part is None else part_edges(pixels.part, at_core, made.classes)
    return PredictedTile(made, said.chips, int(wanted.sum()), int(strange.sum()), unlike, edges)


def _strange(image: NDArray[Any], value_range: tuple[float, float]) -> NDArray[np.bool_]:
    """Pixels [H, W] of image [date, band, H, W] with a number outside the range, or none at all."""
    low, high = value_range
    return np.asarray(~((image >= low) & (image <= high)).all(axis=(0, 1)))
