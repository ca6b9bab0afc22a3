"""Change from what is seen at each date: the class probabilities of two maps, compared.

The probability of change is half the sum over the classes of |p₂ − p₁|, the total variation: the
least share of pixels that must differ if the two maps are true, and 0 where both dates are equally
doubtful. (1 − Σ p₁ p₂, which takes the dates as independent, calls doubt change: of an invented
town's pixels it finds 20 % changed in place of 8 %, and ranks them worse.)
"""

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import NDArray

from noise2map_core.models.spec import ClassSpec, Name
from noise2map_core.runtime.errors import CheckpointError

Probabilities = NDArray[np.float32]
"""[class, height, width]"""

MOST_CLASSES = 16
"""240 kinds of change, "unchanged" and "no decision" share a byte."""
UNCHANGED = ClassSpec(value=0, name="unchanged", color="#d9d9d9")
GAINED_COLOR, LOST_COLOR = "#e31a1c", "#1f78b4"
OWN_SHARE = 0.75
"""Of a kind's colour, what is the later class's; the rest is the earlier's."""


class Transition(ClassSpec):
    """A kind of change: what was one class is another."""

    before: Name
    """Name of the class at the first date."""
    after: Name
    """… and at the second."""


def transitions_of(classes: tuple[ClassSpec, ...]) -> tuple[ClassSpec, ...]:
    """The classes of a map that compares two maps of `classes`: unchanged, then every kind of
    change, by the earlier class and then by the later.

    Raises CheckpointError for more kinds than a map can hold.
    """
    if len(classes) > MOST_CLASSES:
        raise CheckpointError(
            f"maps of {len(classes)} classes cannot be compared: at most {MOST_CLASSES} make kinds "
            "of change that fit into one map. Use a checkpoint of fewer classes."
        )
    pairs = [(one, other) for one in classes for other in classes if one is not other]
    colors = (GAINED_COLOR, LOST_COLOR) if len(classes) == 2 else [_mixed(*pair) for pair in pairs]
    kinds = (
        Transition(
            value=number, name=f"{one.name} to {other.name}"[:200], color=color,
            before=one.name, after=other.name,
        )
        for number, ((one, other), color) in enumerate(zip(pairs, colors, strict=True), start=1)
    )  # fmt: skip
    return UNCHANGED, *kinds


def _mixed(one: ClassSpec, other: ClassSpec) -> str:
    before, after = (np.array(to_rgb(entry.color)) for entry in (one, other))
    red, green, blue = (OWN_SHARE * after + (1 - OWN_SHARE) * before).tolist()
    return to_hex((red, green, blue))


def compare(before: Probabilities, after: Probabilities) -> tuple[Probabilities, NDArray[np.uint8]]:
    """Probability of no change and of change [2, height, width], and the kind of change [height,
    width] as `transitions_of` counts them, whatever the probability.

    It is from the class that lost most to the one that gained most; 0 where nothing differs.
    """
    gain = after - before
    changed = np.minimum(np.abs(gain).sum(axis=0) / np.float32(2), np.float32(1))
    numbers = kind_numbers(len(before))
    return np.stack([1 - changed, changed]), numbers[gain.argmin(axis=0), gain.argmax(axis=0)]


def kind_numbers(classes: int) -> NDArray[np.uint8]:
    """[class, class] The value of the kind of change from one to the other."""
    table = np.zeros((classes, classes), np.uint8)
    table[~np.eye(classes, dtype=bool)] = np.arange(1, classes * (classes - 1) + 1)
    return table
