"""Tiles that could not be made, in a map that is made all the same."""

from collections.abc import Sequence

import numpy as np

from noise2map_core.geo.grid import Tile
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import TileRecord
from noise2map_core.mapping.mosaic import NO_DECISION, NO_PROBABILITY, Mosaic, Reason, TileMap


def mark_holes(job: RegionJob, mosaic: Mosaic, failed: Sequence[TileRecord]) -> None:
    """Write "no decision" with the reason READ_FAILED over tiles that failed."""
    for record in failed:
        mosaic.write(record.tile, _hole(job, record.tile))


def _hole(job: RegionJob, tile: Tile) -> TileMap:
    inside = job.inside(tile)
    nothing = np.full(inside.shape, NO_PROBABILITY, np.uint16)
    return TileMap(
        classes=np.full(inside.shape, NO_DECISION, np.uint8),
        probability=nothing,
        valid=np.zeros(inside.shape, np.bool_),
        reason=np.where(inside, Reason.READ_FAILED, Reason.OUTSIDE).astype(np.uint8),
        disagreement=nothing if job.layers else None,
    )
