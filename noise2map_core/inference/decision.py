"""From probabilities to classes, and to the map's codes."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noise2map_core.clouds.hidden import Hidden, Kinds
from noise2map_core.detectors.spec import MapTask
from noise2map_core.mapping.mosaic import (
    NO_DECISION,
    NO_PROBABILITY,
    PROBABILITY_SCALE,
    Reason,
    TileMap,
)
from noise2map_core.mapping.recut import of_decided, stored_cut

HIDDEN_REASONS = {
    Hidden.CLOUD: (Reason.MASKED_BEFORE, Reason.MASKED_AFTER),
    Hidden.SHADOW: (Reason.SHADOW_BEFORE, Reason.SHADOW_AFTER),
    Hidden.SUSPECTED: (Reason.SUSPECTED_BEFORE, Reason.SUSPECTED_AFTER),
}
"""What becomes of a pixel that is hidden before, or after."""

TOLERANCE = 1e-6
"""Takes in probabilities that equal a threshold but for the last bit of a float32."""


class Verdict(NamedTuple):
    """What is decided of pixels [height, width], wherever they lie and whatever was observed."""

    classes: NDArray[np.uint8]
    stored: NDArray[np.uint16]
    """Probability, in units of the mosaic."""


def decide_classes(probability: NDArray[np.float32], task: MapTask) -> NDArray[np.uint8]:
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


def verdict_of(probability: NDArray[np.float32], task: MapTask) -> Verdict:
    """The class of each pixel, and the probability that is stored of it.

    `probability` [class, height, width]. Change stores the probability of the changed class,
    segmentation that of the class that was decided. Two classes are cut from the probability as it
    is stored, so that a threshold applied to the mosaic later gives the same map.
    """
    if len(task.classes) == 2:
        second = _stored(probability[1])
        classes = (second >= stored_cut(task.decided_from)).astype(np.uint8)
        return Verdict(classes, second if is_change(task) else of_decided(classes, second))
    classes = decide_classes(probability, task)
    taken = np.take_along_axis(probability, classes[None].astype(np.intp), axis=0)[0]
    return Verdict(classes, _stored(probability[1] if is_change(task) else taken))


def decide(
    verdict: Verdict,
    valid: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    hidden: Kinds | None = None,
    disagreement: NDArray[np.uint16] | None = None,
    direction: NDArray[np.uint8] | None = None,
) -> TileMap:
    """The map of one tile, from what was decided of all of its pixels.

    `disagreement` [height, width] is in units of the mosaic; `direction` [height, width] is the
    kind of change where two maps were compared.
    `valid` [date, height, width] says what was observed at each date, `hidden` by what the other
    pixels are hidden that were observed, `inside` [height, width] what lies in the area of
    interest.
    """
    reason = _reasons(valid, np.zeros(valid.shape, np.uint8) if hidden is None else hidden, inside)
    decided = reason == Reason.DECIDED
    return TileMap(
        classes=_where(decided, verdict.classes, NO_DECISION),
        probability=_where(decided, verdict.stored, NO_PROBABILITY),
        valid=valid.all(axis=0) & inside,
        reason=reason,
        disagreement=_if_any(decided, disagreement, NO_PROBABILITY),
        direction=_if_any(decided, direction, NO_DECISION),
    )


def is_change(task: MapTask) -> bool:
    """Change is what needs two dates."""
    return task.num_dates > 1


def _stored(probability: NDArray[np.float32]) -> NDArray[np.uint16]:
    scaled = probability * PROBABILITY_SCALE
    return np.rint(scaled, out=scaled).astype(np.uint16)


def _where(decided: NDArray[np.bool_], values: NDArray[Any], nothing: int) -> NDArray[Any]:
    """The values of decided pixels, in their dtype."""
    return np.where(decided, values, values.dtype.type(nothing))


def _if_any(
    decided: NDArray[np.bool_], values: NDArray[Any] | None, nothing: int
) -> NDArray[Any] | None:
    return None if values is None else _where(decided, values, nothing)


def _reasons(
    valid: NDArray[np.bool_], hidden: Kinds, inside: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """A single date counts as the second one; where both dates fail, the first is the reason."""
    reason = np.full(inside.shape, Reason.DECIDED, np.uint8)
    for date in (-1, 0)[: len(valid)]:
        np.putmask(reason, ~valid[date], (Reason.NODATA_BEFORE, Reason.NODATA_AFTER)[date])
        if hidden[date].any():
            for kind, of_date in HIDDEN_REASONS.items():
                np.putmask(reason, hidden[date] == kind, of_date[date])
    np.putmask(reason, ~inside, Reason.OUTSIDE)
    return reason
