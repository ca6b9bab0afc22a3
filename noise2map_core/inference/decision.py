"""From probabilities to the map's codes."""

import numpy as np
from numpy.typing import NDArray

from noise2map_core.mapping.mosaic import (
    NO_DECISION,
    NO_PROBABILITY,
    PROBABILITY_SCALE,
    Reason,
    TileMap,
)


def decide_change(
    probability: NDArray[np.float32],
    threshold: float,
    valid: NDArray[np.bool_],
    inside: NDArray[np.bool_],
) -> TileMap:
    """The map of one tile from the changed class's `probability` [height, width].

    `valid` [date, height, width] says what was observed at the first and the last date, `inside`
    [height, width] what lies in the area of interest. Classes are cut from the probability as it is
    stored, so that a threshold applied to the mosaic later gives the same map.
    """
    stored = np.rint(probability * PROBABILITY_SCALE).astype(np.uint16)
    both = valid[0] & valid[-1]
    reason = np.full(inside.shape, Reason.DECIDED, np.uint8)
    reason[~valid[-1]] = Reason.NODATA_AFTER
    reason[~valid[0]] = Reason.NODATA_BEFORE
    reason[~inside] = Reason.OUTSIDE
    decided = reason == Reason.DECIDED
    changed = stored >= round(threshold * PROBABILITY_SCALE)
    return TileMap(
        classes=np.where(decided, changed, NO_DECISION).astype(np.uint8),
        probability=np.where(decided, stored, NO_PROBABILITY).astype(np.uint16),
        valid=both & inside,
        reason=reason,
    )
