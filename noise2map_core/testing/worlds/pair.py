"""Pairs of images of invented worlds."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds.camera import photograph
from noise2map_core.testing.worlds.classes import BARE, BUILDING, FIELD, OTHER, ROAD, TREE
from noise2map_core.testing.worlds.classes import WATER as WATER_CLASS
from noise2map_core.testing.worlds.land_cover import cover_land
from noise2map_core.testing.worlds.land_view import Ground, view
from noise2map_core.testing.worlds.layout import lay_out
from noise2map_core.testing.worlds.look import Look, Place
from noise2map_core.testing.worlds.plan import CARRIAGEWAY, TRACK, Plan
from noise2map_core.testing.worlds.quarters import CROP, POOL, RUBBLE, SAND, SITE, SOIL, WATER, WOOD
from noise2map_core.testing.worlds.render import paint
from noise2map_core.testing.worlds.roofs import footprints
from noise2map_core.testing.worlds.textures import Textures

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
    """buildings: a building came or went. land: the classes differ."""


Family = Literal["buildings", "land"]
"""buildings: RGB uint8, 0.2 to 1 m. land: six bands uint16 (`land_view.BANDS`), 10 to 30 m."""


def render_pair(
    family: Family, seed: int, index: int, size: int, gsd: float, changes: bool | None = None
) -> WorldPair:
    """A pair of `size` x `size` pixels of `gsd` metres; the same for the same arguments.

    Without `changes` only light, season, camera and all that is no change of land differ; None:
    a quarter of the pairs is so.
    """
    rng = np.random.default_rng((seed, index, FAMILIES.index(family)))
    drawn = bool(rng.uniform() > UNCHANGED)
    render = _close_up if family == "buildings" else _stretch
    return render(rng, size, gsd, drawn if changes is None else changes)


FAMILIES = get_args(Family)


def _close_up(rng: Generator, size: int, gsd: float, changes: bool) -> WorldPair:
    plan = lay_out(rng, size + 2 * MARGIN_PX, gsd, changes)
    place, textures = Place.draw(rng), Textures.draw(rng, plan.size_px)
    looks = Look.draw(rng, place), Look.draw(rng, place)
    ages = textures, textures.aged(rng)
    views = [
        photograph(rng, paint(rng, plan, date, look, age), MARGIN_PX)
        for date, (look, age) in enumerate(zip(looks, ages, strict=True))
    ]
    # Between the leans of both dates, so that a house that stays is the same pixels at both.
    lean = (looks[0].lean + looks[1].lean) / 2
    before, after = (_classes(plan, date, lean) for date in (0, 1))
    changed = (before == BUILDING) != (after == BUILDING)
    return WorldPair(views[0], views[1], before, after, changed)


def _stretch(rng: Generator, size: int, gsd: float, changes: bool) -> WorldPair:
    land = cover_land(rng, size, gsd, changes)
    ground = Ground.draw(rng, land)
    before, after = (view(rng, land, ground, date) for date in (0, 1))
    earlier, later = land.classes
    return WorldPair(before, after, earlier, later, earlier != later)


CLASS_OF_COVER = {
    CROP: FIELD, WATER: WATER_CLASS, POOL: OTHER, WOOD: TREE, SOIL: BARE,
    SAND: BARE, SITE: BARE, RUBBLE: BARE,
}  # fmt: skip


def _classes(plan: Plan, date: int, lean: NDArray[np.float64]) -> NDArray[np.uint8]:
    table = np.zeros(16, np.uint8)
    table[list(CLASS_OF_COVER)] = list(CLASS_OF_COVER.values())
    found = table[plan.cover[date]]
    found[np.isin(plan.roads[date], (CARRIAGEWAY, TRACK))] = ROAD
    found[footprints(plan, date, lean)] = BUILDING
    return found[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
