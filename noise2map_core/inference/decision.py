"""From probabilities to classes, and to the map's codes."""

import numpy as np
from numpy.typing import NDArray

from noise2map_core.mapping.mosaic import (
    NO_DECISION,
    NO_PROBABILITY,
    PROBABILITY_SCALE,
    Reason,
    TileMap,
)
from noise2map_core.models.spec import TaskSpec

TOLERANCE = 1e-6
"""Takes in probabilities that equal a threshold but for the last bit of a float32."""


def decide_classes(probability: NDArray[np.float32], task: TaskSpec) -> NDArray[np.uint8]:
    """The class of each pixel [..., H, W] from class probabilities [..., K, H, W].

    Classes with a threshold come first, in their order; the rest is for the most probable one of
    the others.
    """
    values = {entry.name: entry.value for entry in task.classes}
    others = [values[name] for name in values if name not in task.threshold]
    most_probable = probability[..., others, :, :].argmax(axis=-3)
    decided = np.asarray(others, np.uint8)[most_probable]
    for name, threshold in reversed(task.threshold.items()):
        sure = probability[..., values[name], :, :] >= threshold - TOLERANCE
        decided = np.where(sure, np.uint8(values[name]), decided)
    return decided


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
