"""Quarters of a close-up world: lots, yards, and what of them is new or gone."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds.drawing import Canvas, rectangles
from noise2map_core.testing.worlds.fields import Mask, coordinates, noise, turned
from noise2map_core.testing.worlds.houses import build_houses
from noise2map_core.testing.worlds.plan import Lattice, Plan, Table, placed, sampled
from noise2map_core.testing.worlds.quarters import (
    ASPHALT,
    CONCRETE,
    CROP,
    LAWN,
    POOL,
    ROUGH,
    RUBBLE,
    SCRUB,
    SITE,
    SOIL,
    WATER,
    WOOD,
    Quarter,
    one_of,
    within,
)
from noise2map_core.testing.worlds.roads import lay_streets
from noise2map_core.testing.worlds.trees import plant_gardens

BUILT_ON = {
    SOIL: 3.0,
    ROUGH: 2.5,
    SITE: 2.0,
    CROP: 1.0,
    WOOD: 0.8,
    SCRUB: 1.0,
    LAWN: 0.7,
    WATER: 0.2,
}
"""What lies where a quarter is yet to be built."""

REMAINS = {SOIL: 0.3, SITE: 0.3, RUBBLE: 0.15, CONCRETE: 0.1, ROUGH: 0.15}
"""What lies where a house is not there yet, or no more."""


def settle(
    rng: Generator, plan: Plan, quarter: Quarter, kind: str, area: Mask, changes: bool
) -> None:
    """Lots, houses, yards and streets of one quarter; and what of it is new or gone."""
    pitch = np.array([within(rng, bounds) for bounds in quarter.pitch]) / plan.gsd
    street = float(within(rng, quarter.street)) / plan.gsd
    lattice = Lattice(pitch, quarter.rows, street, rng.uniform(0, np.pi))
    lots = _lots(rng, plan, lattice, quarter.disorder)
    lots = lots[sampled(area, lots[:, 0], lots[:, 1])]
    grown = _growth(rng, plan, changes)
    dates = _dates(rng, lots, grown, changes)
    houses = build_houses(rng, plan, quarter, lots, pitch, dates)
    built = _built_ground(rng, plan, quarter, area, grown)
    _lay_ground(rng, plan, quarter, kind, lots, lattice, built)
    plan.houses.append(houses)
    _remains(rng, plan, houses)
    if rng.uniform() < quarter.walls:
        _walls(rng, plan, lots, pitch, dates)
    plant_gardens(rng, plan, quarter, area)


def _lay_ground(
    rng: Generator,
    plan: Plan,
    quarter: Quarter,
    kind: str,
    lots: NDArray[np.float64],
    lattice: Lattice,
    built: NDArray[np.bool_],
) -> None:
    """Streets, yards and what lies about in them; houses that are scattered have none."""
    if not quarter.yards or not len(lots):
        return
    lay_streets(rng, plan, lattice, built)
    _yards(rng, plan, quarter, kind, lots, lattice.pitch, built)
    count = rng.poisson(rng.choice([0, 10, 60]) * (plan.size_px * plan.gsd) ** 2 / 1e4)
    x, y = rng.uniform(0, plan.size_px, (2, count))
    plan.things.append(np.stack([x, y], axis=1)[sampled(built[0] | built[1], x, y)])


def _lots(rng: Generator, plan: Plan, lattice: Lattice, disorder: float) -> NDArray[np.float64]:
    """Centres and directions [lot, (x, y, angle)] on a turned lattice with streets between."""
    reach, pitch, angle = plan.size_px * 0.75, lattice.pitch, lattice.angle
    blocks = np.arange(-reach, reach, lattice.block)[:, None] + lattice.street / 2
    v = (blocks + (np.arange(lattice.rows) + 0.5) * pitch[1]).ravel()
    u = np.arange(-reach, reach, pitch[0])
    grid_u = u[None] + rng.uniform(0, pitch[0], (len(v), 1)) * (disorder > 0.004)
    grid_v = np.broadcast_to(v[:, None], grid_u.shape)
    stray = rng.normal(0, disorder, (2, *grid_u.shape)) * pitch[:, None, None] * 0.7
    grid_u, grid_v = (grid_u + stray[0]).ravel(), (grid_v + stray[1]).ravel()
    cos, sin, middle = np.cos(angle), np.sin(angle), plan.size_px / 2
    x, y = grid_u * cos - grid_v * sin + middle, grid_u * sin + grid_v * cos + middle
    turns = angle + rng.normal(0, disorder, x.shape)
    inside = (abs(x - middle) < middle + pitch.max()) & (abs(y - middle) < middle + pitch.max())
    return np.stack([x, y, turns], axis=1)[inside]


def _growth(rng: Generator, plan: Plan, changes: bool) -> tuple[Mask, int] | None:
    """A blob or a half of the canvas that is built at one date only, and the date; or None."""
    if not changes or rng.uniform() < 0.3:
        return None
    x, y = coordinates(plan.size_px)
    share = rng.choice([rng.uniform(0.1, 0.6), 1.0], p=(0.8, 0.2))
    if rng.uniform() < 0.6:
        slope = turned(x, y, rng.uniform(0, 2 * np.pi))[0]
    else:
        slope = noise(rng, plan.size_px, 2.6)
    return slope < np.quantile(slope[::8, ::8], share), int(rng.uniform() < 0.75)


def _dates(
    rng: Generator, lots: NDArray[np.float64], grown: tuple[Mask, int] | None, changes: bool
) -> Mask:
    """[lot, date] at which dates a lot is built on."""
    dates = np.ones((len(lots), 2), np.bool_)
    if not changes:
        return dates
    rate = rng.choice([0.0, rng.uniform(0.02, 0.1), rng.uniform(0.1, 0.4)], p=(0.35, 0.4, 0.25))
    single = rng.uniform(size=len(lots)) < rate
    dates[single, (rng.uniform(size=single.sum()) < 0.3).astype(int)] = False
    if grown is not None:
        within_it = sampled(grown[0], lots[:, 0], lots[:, 1])
        dates[within_it, grown[1]] = True
        dates[within_it, 1 - grown[1]] = False
    return dates


def _built_ground(
    rng: Generator, plan: Plan, quarter: Quarter, area: Mask, grown: tuple[Mask, int] | None
) -> NDArray[np.bool_]:
    """[date, y, x] the quarter's ground where it is built; what lies there before is laid too."""
    built = np.stack([area, area])
    if grown is not None:
        region, date = grown
        built[1 - date] &= ~region
        plan.cover[1 - date][area & region] = one_of(rng, BUILT_ON)
        if rng.uniform() < 0.3:
            traces = noise(rng, plan.size_px, 1.5) > rng.uniform(0.5, 2)
            plan.cover[1 - date][area & region & traces] = one_of(rng, BUILT_ON)
    if quarter.yards:
        main, other = one_of(rng, quarter.yards), one_of(rng, quarter.yards)
        patches = noise(rng, plan.size_px, 1.6, 40 / plan.gsd) > rng.uniform(0, 1.8)
        for date in (0, 1):
            plan.cover[date][built[date]] = np.where(patches, other, main)[built[date]]
    return built


def _yards(
    rng: Generator,
    plan: Plan,
    quarter: Quarter,
    kind: str,
    lots: NDArray[np.float64],
    pitch: NDArray[np.float64],
    built: NDArray[np.bool_],
) -> None:
    """Some lots of another cover, and pools, car parks and rubble."""
    canvas = Canvas(plan.size_px)
    covers = np.array(list(quarter.yards))
    chances = np.array(list(quarter.yards.values()))
    own = lots[rng.uniform(size=len(lots)) < rng.uniform(0, 0.8)]
    size = np.broadcast_to(pitch, (len(own), 2))
    labels = 1 + covers[rng.choice(len(covers), len(own), p=chances / chances.sum())]
    canvas.polygons(rectangles(own[:, 0], own[:, 1], size[:, 0], size[:, 1], own[:, 2]), labels)
    if kind == "suburb" and rng.uniform() < 0.4:
        _pools(rng, plan, canvas, lots, pitch)
    if kind in ("industry", "slabs"):
        _car_parks(rng, plan, canvas, lots, pitch)
    drawn = canvas.labels()
    for date in (0, 1):
        chosen = built[date] & (drawn > 0) & (plan.roads[date] == 0)
        plan.cover[date][chosen] = drawn[chosen] - 1


def _pools(
    rng: Generator,
    plan: Plan,
    canvas: Canvas,
    lots: NDArray[np.float64],
    pitch: NDArray[np.float64],
) -> None:
    own = lots[rng.uniform(size=len(lots)) < rng.uniform(0.05, 0.4)]
    away = pitch[1] * 0.33 * rng.choice([-1, 1], len(own))
    x, y = own[:, 0] - away * np.sin(own[:, 2]), own[:, 1] + away * np.cos(own[:, 2])
    size = rng.uniform(3, 9, (2, len(own))) / plan.gsd
    corners = rectangles(x, y, size[0], size[1] * 0.6, own[:, 2])
    canvas.polygons(corners, np.full(len(own), POOL + 1))


def _car_parks(
    rng: Generator,
    plan: Plan,
    canvas: Canvas,
    lots: NDArray[np.float64],
    pitch: NDArray[np.float64],
) -> None:
    """Asphalt over part of a lot, with cars side by side in rows."""
    for x, y, angle in lots[rng.uniform(size=len(lots)) < 0.35]:
        size = pitch * rng.uniform(0.4, 1.0, 2)
        corners = rectangles(*(np.array([v]) for v in (x, y, *size, angle)))
        canvas.polygons(corners, np.array([1 + rng.choice([ASPHALT, CONCRETE])]))
        u = np.arange(-size[0] / 2 + 2, size[0] / 2 - 2, 2.7 / plan.gsd)
        v = np.arange(-size[1] / 2 + 3 / plan.gsd, size[1] / 2, rng.uniform(6, 9) / plan.gsd)
        spots = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
        spots = spots[rng.uniform(size=len(spots)) < rng.uniform(0, 0.8)]
        at = placed(plan, spots, angle) - plan.size_px / 2 + (x, y)
        plan.cars.append(np.column_stack([at, np.full(len(at), angle + np.pi / 2)]))


def _remains(rng: Generator, plan: Plan, houses: Table) -> None:
    """The ground where a house stands at one date only, as the other date sees it."""
    for date in (0, 1):
        missing = houses[~houses["stands"][:, date]]
        marked = missing[rng.uniform(size=len(missing)) < rng.choice([0.0, 0.6, 1.0])]
        canvas = Canvas(plan.size_px)
        grow = rng.uniform(0.9, 1.4, (2, len(marked)))
        corners = rectangles(
            marked["x"], marked["y"], marked["length"] * grow[0], marked["width"] * grow[1],
            marked["angle"],
        )  # fmt: skip
        covers = rng.choice(list(REMAINS), len(marked), p=list(REMAINS.values()))
        canvas.polygons(corners, 1 + covers)
        drawn = canvas.labels()
        plan.cover[date][drawn > 0] = drawn[drawn > 0] - 1


def _walls(
    rng: Generator, plan: Plan, lots: NDArray[np.float64], pitch: NDArray[np.float64], dates: Mask
) -> None:
    for date in (0, 1):
        canvas = Canvas(plan.size_px)
        own = lots[dates[:, date]]
        size = np.broadcast_to(pitch * 0.98, (len(own), 2))
        corners = rectangles(own[:, 0], own[:, 1], size[:, 0], size[:, 1], own[:, 2])
        for ring in corners[:: 1 + int(rng.uniform() < 0.3)]:
            canvas.line(np.concatenate([ring, ring[:1]]), 0.3 / plan.gsd, 1)
        plan.walls[date] |= canvas.labels()
    plan.walls[plan.roads > 0] = 0
