"""A close-up world as it is planned: what stands where, and at which dates.

Coordinates are pixels, x to the right and y downwards; heights are metres.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from noise2map_core.testing.worlds.fields import Field, Mask

HOUSE = np.dtype([
    ("x", "f4"), ("y", "f4"), ("length", "f4"), ("width", "f4"), ("angle", "f4"),
    ("height", "f4"), ("shape", "i4"), ("colour", "f4", 3), ("later", "f4", 3), ("dirt", "f4"),
    ("ribs", "f4"), ("clutter", "f4"), ("skylight", "i4"), ("stands", "?", 2),
])  # fmt: skip
"""length: along the ridge. colour, later: of the roof at each date, 0 … 1. dirt, clutter: 0 … 1.
ribs: pixels from rib to rib, 0 for none. skylight: a
strip of every so many is one of light, 0 for none. stands: at which dates."""

TREE = np.dtype([("x", "f4"), ("y", "f4"), ("r", "f4"), ("tone", "f4"), ("stands", "?", 2)])
"""tone: where it stands between the palette's kinds, 0 … 1."""


Table = NDArray[np.void]


SIDEWALK, CARRIAGEWAY, MARKING, TRACK = 1, 2, 3, 4
"""Labels of roads; a track is not paved."""


@dataclass(frozen=True)
class Lattice:
    """Lots in blocks between streets; lengths in pixels."""

    pitch: NDArray[np.float64]
    """Of lots, along the street and away from it."""
    rows: int
    """Rows of lots in a block."""
    street: float
    """Width."""
    angle: float
    """Of the streets, radians."""

    @property
    def block(self) -> float:
        """From street to street."""
        return float(self.rows * self.pitch[1] + self.street)


@dataclass
class Plan:
    """Arrays with a date axis are [before/after, y, x]."""

    size_px: int
    gsd: float
    cover: NDArray[np.uint8]
    """[date, y, x] what covers the ground."""
    roads: NDArray[np.int32]
    """[date, y, x] labels of roads."""
    walls: NDArray[np.int32]
    """[date, y, x] 1 where a wall stands."""
    parcel: NDArray[np.int32]
    """[y, x] number of the field."""
    rows: Field
    """[y, x] distance across the rows of the fields, metres."""
    water_depth: NDArray[np.float32]
    """[date, y, x] metres from the shore, positive in the water."""
    houses: list[Table] = field(default_factory=list)
    trees: list[Table] = field(default_factory=list)
    things: list[NDArray[np.float64]] = field(default_factory=list)
    """Places of what lies about in yards [thing, (x, y)]."""
    cars: list[NDArray[np.float64]] = field(default_factory=list)
    """Places of cars [car, (x, y, angle)], of which each date takes some."""


def houses_of(plan: Plan) -> Table:
    """All houses in one table."""
    return np.concatenate([np.empty(0, HOUSE), *plan.houses])


def sampled(area: Mask, x: NDArray[np.floating], y: NDArray[np.floating]) -> Mask:
    """The values of a mask at points; points outside take the edge's."""
    last = area.shape[0] - 1
    found: Mask = area[y.clip(0, last).astype(int), x.clip(0, last).astype(int)]
    return found


def placed(plan: Plan, points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """(along, across) around the middle as (x, y)."""
    u, v = points.T
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([u * cos - v * sin, u * sin + v * cos], axis=1) + plan.size_px / 2
