"""Pairs of images of invented worlds."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds import classes as kinds
from noise2map_core.testing.worlds.camera import photograph
from noise2map_core.testing.worlds.layout import CARRIAGEWAY, TRACK, Plan, lay_out
from noise2map_core.testing.worlds.look import Look, Place
from noise2map_core.testing.worlds.quarters import CROP, POOL, RUBBLE, SAND, SITE, SOIL, WATER, WOOD
from noise2map_core.testing.worlds.render import Textures, footprints, paint

MARGIN_PX = 16
"""Drawn around a picture, for shadows and leaning walls from outside."""
UNCHANGED = 0.25
"""Share of the pairs in which no building comes or goes."""


@dataclass(frozen=True)
class WorldPair:
    """One place at two dates; arrays [band, y, x] and [y, x]."""

    before: NDArray[Any]
    after: NDArray[Any]
    classes_before: NDArray[np.uint8]
    """Values as in `classes`."""
    classes_after: NDArray[np.uint8]
    changed: NDArray[np.bool_]
    """Where a building came or went."""


def render_pair(
    seed: int, index: int, size: int = 256, gsd: float = 0.5, changes: bool | None = None
) -> WorldPair:
    """..."""
    rng = np.random.default_rng((seed, index))
    if changes is None:
        changes = bool(rng.uniform() > UNCHANGED)
    plan = lay_out(rng, size + 2 * MARGIN_PX, gsd, changes)
    place = Place.draw(rng)
    textures = Textures.draw(rng, plan.size_px)
    looks = Look.draw(rng, place), Look.draw(rng, place)
    ages = textures, textures.aged(rng)
    views = [
        photograph(rng, paint(rng, plan, date, look, age), MARGIN_PX)
        for date, (look, age) in enumerate(zip(looks, ages, strict=True))
    ]
    lean = (looks[0].lean + looks[1].lean) / 2
    before, after = (_classes(plan, date, lean) for date in (0, 1))
    return WorldPair(*views, before, after, (before == kinds.BUILDING) != (after == kinds.BUILDING))


CLASS_OF_COVER = {
    CROP: kinds.FIELD, WATER: kinds.WATER, POOL: kinds.OTHER, WOOD: kinds.TREE, SOIL: kinds.BARE,
    SAND: kinds.BARE, SITE: kinds.BARE, RUBBLE: kinds.BARE,
}  # fmt: skip


def _classes(plan: Plan, date: int, lean: NDArray[np.float64]) -> NDArray[np.uint8]:
    table = np.zeros(16, np.uint8)
    table[list(CLASS_OF_COVER)] = list(CLASS_OF_COVER.values())
    found = table[plan.cover[date]]
    found[np.isin(plan.roads[date], (CARRIAGEWAY, TRACK))] = kinds.ROAD
    found[footprints(plan, date, lean)] = kinds.BUILDING
    return found[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
