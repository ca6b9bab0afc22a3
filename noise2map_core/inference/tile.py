"""One tile of a region, predicted."""

from noise2map_core.geo.grid import Tile
from noise2map_core.inference.decision import decide_change
from noise2map_core.inference.predictor import Predictor
from noise2map_core.inference.region import RegionJob
from noise2map_core.inference.tile_image import TileImage
from noise2map_core.mapping.mosaic import TileMap


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
    return decide_change(probability[1], job.task.decided_from, valid, inside), chips
