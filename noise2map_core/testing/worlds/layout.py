"""Where everything of a close-up world stands, and at which dates.

Coordinates are pixels, x to the right and y downwards; heights are metres.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds.drawing import Canvas, rectangles
from noise2map_core.testing.worlds.fields import Field, Mask, coordinates, noise, turned
from noise2map_core.testing.worlds.quarters import (
    ASPHALT,
    CONCRETE,
    CROP,
    FLAT,
    GABLE,
    GRAVEL,
    LAWN,
    PALETTES,
    POOL,
    QUARTERS,
    ROUGH,
    RUBBLE,
    SAND,
    SCRUB,
    SHED,
    SITE,
    SOIL,
    WATER,
    WOOD,
    Quarter,
    one_of,
    within,
)  # fmt: skip

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

SETTINGS: dict[str, dict[str, float]] = {
    "town": {"suburb": 3, "rows": 1, "midrise": 2, "slabs": 1, "industry": 1, "village": 1},
    "crowded": {"dense": 4, "midrise": 3, "village": 1, "industry": 0.5},
    "works": {"industry": 5, "slabs": 1, "village": 0.7, "scattered": 1},
    "country": {"village": 3, "scattered": 3, "suburb": 0.5, "industry": 0.7},
    "wild": {"scattered": 1},
}  # fmt: skip
SETTING_CHANCES = {"town": 0.3, "crowded": 0.22, "works": 0.23, "country": 0.2, "wild": 0.05}
NATURE = {
    "town": {LAWN: 2, ROUGH: 3, SOIL: 2, WOOD: 1, SCRUB: 1},
    "crowded": {ROUGH: 2, SOIL: 3, LAWN: 1, CROP: 1, WOOD: 0.5, SCRUB: 1},
    "works": {SOIL: 3, ROUGH: 3, CROP: 1, SCRUB: 1, SITE: 1, WOOD: 0.5},
    "country": {CROP: 4, ROUGH: 1, WOOD: 1.5, SCRUB: 1, LAWN: 0.5, SOIL: 0.5},
    "wild": {WOOD: 3, CROP: 1.5, SCRUB: 1.5, SAND: 1.5, SOIL: 1, ROUGH: 1},
}  # fmt: skip
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

    def metres(self, length_m: float) -> float:
        """Pixels of a length in metres."""
        return length_m / self.gsd


def lay_out(rng: Generator, size_px: int, gsd: float, changes: bool) -> Plan:
    """A place at two dates; without `changes` all its houses stand at both."""
    setting = one_of(rng, SETTING_CHANCES)
    plan = _open_country(rng, size_px, gsd, NATURE[setting])
    sides, cuts = _cut(rng, size_px)
    style = rng.uniform(size=2)
    for side in np.unique(sides).tolist():
        kind = one_of(rng, SETTINGS[setting])
        _settle(rng, plan, QUARTERS[kind], kind, sides == side, changes)
    _main_roads(rng, plan, cuts, style[0])
    _water(rng, plan, 0.22 if style[1] < 0.9 else 1.0)
    _clear_houses(plan)
    _wild_trees(rng, plan)
    return plan


def houses_of(plan: Plan) -> Table:
    """All houses in one table."""
    return np.concatenate([np.empty(0, HOUSE), *plan.houses])


def _open_country(rng: Generator, size_px: int, gsd: float, chances: dict[int, float]) -> Plan:
    """Two covers in patches, the same at both dates, and the fields below them."""
    first, second = one_of(rng, chances), one_of(rng, chances)
    patches = noise(rng, size_px, 2.2, 150 / gsd) > rng.uniform(-0.3, 1.5)
    cover = np.where(patches, second, first).astype(np.uint8)
    parcel, rows = _fields(rng, size_px, gsd)
    empty = np.zeros((2, size_px, size_px), np.int32)
    return Plan(
        size_px, gsd, np.stack([cover, cover]), empty, empty.copy(), parcel, rows,
        np.full((2, size_px, size_px), -1e3, np.float32),
    )  # fmt: skip


def _fields(rng: Generator, size_px: int, gsd: float) -> tuple[NDArray[np.int32], Field]:
    x, y = coordinates(size_px)
    along, across = turned(x, y, rng.uniform(0, np.pi))
    bend = noise(rng, size_px, 2.5) * rng.uniform(0, 5) / gsd
    depth, length = rng.uniform(12, 120) / gsd, rng.uniform(40, 250) / gsd
    row = np.floor((across + bend) / depth)
    col = np.floor(along / length + row * 0.37)
    return ((row * 31 + col * 17).astype(np.int32) % 997), (across + bend) * np.float32(gsd)


def _cut(rng: Generator, size_px: int) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """The quarters [y, x] that up to two curves cut the canvas into, and the curves."""
    x, y = coordinates(size_px)
    sides, curves = np.zeros(x.shape, np.int64), []
    for number in range(rng.choice(3, p=(0.3, 0.45, 0.25))):
        angle = rng.uniform(0, np.pi)
        along, across = turned(x - size_px / 2, y - size_px / 2, angle)
        offset, swing = rng.normal(0, size_px / 5), rng.uniform(-0.08, 0.08) * size_px
        sides += (across > offset + swing * np.sin(along * 3 / size_px)) << number
        t = np.linspace(-size_px, size_px, 30)
        v = offset + swing * np.sin(t * 3 / size_px)
        cos, sin = np.cos(angle), np.sin(angle)
        curve = np.stack([t * cos - v * sin, t * sin + v * cos], axis=1) + size_px / 2
        curves.append(curve)
    return sides, curves


def _settle(
    rng: Generator, plan: Plan, quarter: Quarter, kind: str, area: Mask, changes: bool
) -> None:
    """Lots, houses, yards and streets of one quarter; and what of it is new or gone."""
    pitch = np.array([within(rng, bounds) for bounds in quarter.pitch]) / plan.gsd
    street = float(within(rng, quarter.street)) / plan.gsd
    angle = rng.uniform(0, np.pi)
    lots = _lots(rng, plan, quarter, pitch, street, angle)
    lots = lots[_sampled(area, lots[:, 0], lots[:, 1])]
    grown = _growth(rng, plan, changes)
    dates = _dates(rng, lots, grown, changes)
    houses = _houses(rng, plan, quarter, lots, pitch, dates)
    built = _built_ground(rng, plan, quarter, area, grown)
    _streets(rng, plan, quarter, pitch, street, angle, built)
    _yards(rng, plan, quarter, kind, lots, pitch, built)
    plan.houses.append(houses)
    _remains(rng, plan, houses)
    if rng.uniform() < quarter.walls:
        _walls(rng, plan, lots, pitch, dates)
    _garden_trees(rng, plan, quarter, area)
    if quarter.yards:
        count = rng.poisson(rng.choice([0, 10, 60]) * (plan.size_px * plan.gsd) ** 2 / 1e4)
        x, y = rng.uniform(0, plan.size_px, (2, count))
        plan.things.append(np.stack([x, y], axis=1)[_sampled(area, x, y)])


def _lots(
    rng: Generator,
    plan: Plan,
    quarter: Quarter,
    pitch: NDArray[np.float64],
    street: float,
    angle: float,
) -> NDArray[np.float64]:
    """Centres and directions [lot, (x, y, angle)] on a turned lattice with streets between."""
    reach = plan.size_px * 0.75
    block = quarter.rows * pitch[1] + street
    v0 = np.arange(-reach, reach, block)[:, None] + (np.arange(quarter.rows) + 0.5) * pitch[1]
    v = (v0 + street / 2).ravel()
    u = np.arange(-reach, reach, pitch[0])
    grid_u = u[None] + rng.uniform(0, pitch[0], (len(v), 1)) * (quarter.disorder > 0.004)
    grid_v = np.broadcast_to(v[:, None], grid_u.shape)
    stray = rng.normal(0, quarter.disorder, (2, *grid_u.shape)) * pitch[:, None, None] * 0.7
    grid_u, grid_v = (grid_u + stray[0]).ravel(), (grid_v + stray[1]).ravel()
    cos, sin, middle = np.cos(angle), np.sin(angle), plan.size_px / 2
    x, y = grid_u * cos - grid_v * sin + middle, grid_u * sin + grid_v * cos + middle
    turns = angle + rng.normal(0, quarter.disorder, x.shape)
    inside = (abs(x - middle) < middle + pitch.max()) & (abs(y - middle) < middle + pitch.max())
    return np.stack([x, y, turns], axis=1)[inside]


def _sampled(area: Mask, x: NDArray[np.floating], y: NDArray[np.floating]) -> Mask:
    """The values of a mask at points; points outside take the edge's."""
    last = area.shape[0] - 1
    found: Mask = area[y.clip(0, last).astype(int), x.clip(0, last).astype(int)]
    return found


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
        within_it = _sampled(grown[0], lots[:, 0], lots[:, 1])
        dates[within_it, grown[1]] = True
        dates[within_it, 1 - grown[1]] = False
    return dates


def _houses(
    rng: Generator,
    plan: Plan,
    quarter: Quarter,
    lots: NDArray[np.float64],
    pitch: NDArray[np.float64],
    dates: Mask,
) -> Table:
    taken = rng.uniform(size=len(lots)) < within(rng, quarter.share)
    lots, dates = lots[taken], dates[taken]
    houses = np.zeros(len(lots), HOUSE)
    sizes = pitch * np.stack([_sizes(rng, bounds, len(lots)) for bounds in quarter.fill], axis=1)
    sizes = sizes.clip(2.2 / plan.gsd)
    houses["x"], houses["y"] = lots[:, 0], lots[:, 1]
    swap = (sizes[:, 0] < sizes[:, 1]) & (rng.uniform(size=len(lots)) < 0.8)
    houses["angle"] = lots[:, 2] + np.where(swap, np.pi / 2, 0)
    houses["length"] = np.where(swap, sizes[:, 1], sizes[:, 0])
    houses["width"] = np.where(swap, sizes[:, 0], sizes[:, 1])
    low, high = np.sort(within(rng, quarter.height, 2))
    houses["height"] = rng.uniform(low, high, len(lots))
    houses["stands"] = dates
    _roof(rng, plan, quarter, houses)
    wings = _wings(rng, quarter, houses)
    return np.concatenate([houses, wings, _penthouses(rng, plan, houses)])


def _sizes(rng: Generator, bounds: tuple[float, float], count: int) -> NDArray[np.float64]:
    """Of one quarter: alike or different, within bounds."""
    low, high = np.sort(within(rng, bounds, 2))
    return rng.uniform(low, high, count)


def _roof(rng: Generator, plan: Plan, quarter: Quarter, houses: Table) -> None:
    count = len(houses)
    names = list(quarter.roofs)
    chances = np.array(list(quarter.roofs.values())) * rng.gamma(0.8, size=len(names)) + 1e-3
    kinds = rng.choice(len(names), count, p=chances / chances.sum())
    own = rng.uniform(size=count) < quarter.uniform
    kinds[own] = kinds[:1].repeat(own.sum())
    shapes = rng.choice(4, count, p=np.asarray(quarter.shapes))
    main = rng.choice(4, p=np.asarray(quarter.shapes))
    shapes[own | (rng.uniform(size=count) < rng.uniform(0, 0.8))] = main
    for kind, name in enumerate(names):
        chosen = kinds == kind
        colours = _colours(rng, name, int(chosen.sum()), own[chosen])
        houses["colour"][chosen] = colours
        metal = name in ("tin", "rust", "paint")
        ribs = rng.uniform(0.8, 2.5, chosen.sum()) * (rng.uniform(size=chosen.sum()) < 0.7) * metal
        houses["ribs"][chosen] = ribs / plan.gsd
        stain = {"rust": 0.9, "tin": 0.5, "paint": 0.3, "concrete": 0.6}.get(name, 0.15)
        houses["dirt"][chosen] = rng.uniform(0, stain, chosen.sum())
        shapes[chosen & (shapes == FLAT) & (name in ("tile", "shingle"))] = GABLE
        shapes[chosen & (name == "membrane")] = FLAT
    large = (houses["width"] * plan.gsd > 12) & (houses["ribs"] > 0)
    houses["skylight"] = large * rng.choice([0, rng.integers(4, 9)])
    houses["shape"] = shapes
    houses["clutter"] = rng.uniform(0, 1, count) * (shapes == FLAT)
    _repaint(rng, houses)


def _colours(rng: Generator, name: str, count: int, own: Mask) -> NDArray[np.floating]:
    palette = PALETTES[name]
    picked = palette[rng.integers(len(palette), size=count)]
    picked[own] = palette[rng.integers(len(palette))]
    tint = rng.normal(0, 0.02, (count, 3)) + rng.normal(0, 0.05, (count, 1))
    tint[own] *= 0.35
    return np.asarray((picked + tint).clip(0.06, 0.97))


def _repaint(rng: Generator, houses: Table) -> None:
    """Other roofs on the same houses: no change of what is a building."""
    rate = rng.choice([0.0, 0.08, 0.4], p=(0.4, 0.45, 0.15))
    anew = rng.uniform(size=len(houses)) < rate
    name = rng.choice(["tin", "paint", "rust", "concrete", "tile"])
    houses["later"] = houses["colour"] * (1 + rng.normal(0, 0.04, (len(houses), 1)))
    houses["later"][anew] = _colours(rng, name, int(anew.sum()), np.zeros(anew.sum(), np.bool_))
    back = anew & (rng.uniform(size=len(houses)) < 0.5)
    houses["colour"][back], houses["later"][back] = houses["later"][back], houses["colour"][back]


def _wings(rng: Generator, quarter: Quarter, houses: Table) -> Table:
    """Smaller houses across the larger ones, under roofs of the same kind."""
    wings = houses[rng.uniform(size=len(houses)) < quarter.wings].copy()
    count = len(wings)
    side = rng.choice([-1, 1], count)
    u = wings["length"] * rng.uniform(-0.3, 0.3, count)
    v = wings["width"] * side * rng.uniform(0.3, 0.6, count)
    cos, sin = np.cos(wings["angle"]), np.sin(wings["angle"])
    wings["x"] += u * cos - v * sin
    wings["y"] += u * sin + v * cos
    wings["angle"] += np.pi / 2
    long = wings["width"] * rng.uniform(0.5, 1.0, count)
    wings["width"] = wings["length"] * rng.uniform(0.25, 0.5, count)
    wings["length"] = long
    wings["height"] *= rng.uniform(0.6, 0.98, count)
    return wings


def _penthouses(rng: Generator, plan: Plan, houses: Table) -> Table:
    """Smaller storeys upon flat roofs."""
    flat = (houses["shape"] == FLAT) & (rng.uniform(size=len(houses)) < rng.uniform(0, 0.8))
    upper = houses[flat & (houses["width"] * plan.gsd > 5)].copy()
    share = rng.uniform(0.25, 0.6, (2, len(upper)))
    u, v = rng.uniform(-0.5, 0.5, (2, len(upper))) * (1 - share)
    u, v = u * upper["length"], v * upper["width"]
    cos, sin = np.cos(upper["angle"]), np.sin(upper["angle"])
    upper["x"] += u * cos - v * sin
    upper["y"] += u * sin + v * cos
    size = np.minimum(share, 9 / plan.gsd / upper["length"])
    upper["length"], upper["width"] = upper["length"] * size[0], upper["width"] * share[1]
    upper["height"] += rng.uniform(1.5, 3.2, len(upper))
    upper["colour"] *= rng.uniform(0.75, 1.25, (len(upper), 1))
    upper["later"] = upper["colour"]
    return upper


def _built_ground(
    rng: Generator, plan: Plan, quarter: Quarter, area: Mask, grown: tuple[Mask, int] | None
) -> NDArray[np.bool_]:
    """[date, y, x] the quarter's ground where it is built; what lies there before is laid too."""
    built = np.stack([area, area])
    if grown is not None:
        region, date = grown
        built[1 - date] &= ~region
        rest = one_of(rng, BUILT_ON)
        plan.cover[1 - date][area & region] = rest
        if rng.uniform() < 0.3:
            traces = noise(rng, plan.size_px, 1.5) > rng.uniform(0.5, 2)
            plan.cover[1 - date][area & region & traces] = one_of(rng, BUILT_ON)
    if quarter.yards:
        main, other = one_of(rng, quarter.yards), one_of(rng, quarter.yards)
        patches = noise(rng, plan.size_px, 1.6, 40 / plan.gsd) > rng.uniform(0, 1.8)
        for date in (0, 1):
            plan.cover[date][built[date]] = np.where(patches, other, main)[built[date]]
    return built


def _streets(
    rng: Generator,
    plan: Plan,
    quarter: Quarter,
    pitch: NDArray[np.float64],
    street: float,
    angle: float,
    built: NDArray[np.bool_],
) -> None:
    """Straight streets between the blocks, and now and then one across."""
    canvas, reach = Canvas(plan.size_px), plan.size_px * 0.75
    block = quarter.rows * pitch[1] + street
    levels = np.arange(-reach, reach + block, block)
    unpaved = rng.uniform() < (0.6 if street * plan.gsd < 5 else 0.12)
    if not quarter.yards:
        return
    crossings = rng.uniform(-reach, reach, rng.integers(0, 4))
    ends = [((-reach, v), (reach, v)) for v in levels] + [
        ((u, -reach), (u, reach)) for u in crossings
    ]
    lines = [_placed(plan, np.array(pair), angle) for pair in ends]
    _draw_roads(rng, canvas, plan, lines, street * (0.75 if unpaved else 0.8), unpaved)
    labels = canvas.labels()
    for date in (0, 1):
        drawn = built[date] & (labels > 0)
        plan.roads[date][drawn] = labels[drawn]
    _park_along(rng, plan, lines, street)


def _placed(plan: Plan, points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """(along, across) around the middle as (x, y)."""
    u, v = points.T
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([u * cos - v * sin, u * sin + v * cos], axis=1) + plan.size_px / 2


def _draw_roads(
    rng: Generator,
    canvas: Canvas,
    plan: Plan,
    lines: list[NDArray[np.float64]],
    width: float,
    unpaved: bool,
) -> None:
    walk = rng.choice([0.0, 1.5, 3.0]) / plan.gsd
    if not unpaved and walk:
        for line in lines:
            canvas.line(line, width + 2 * walk, SIDEWALK)
    for line in lines:
        canvas.line(line, width, TRACK if unpaved else CARRIAGEWAY)
    if not unpaved and plan.gsd < 0.7 and rng.uniform() < 0.5:
        for line in lines:
            _dashes(canvas, plan, line)


def _dashes(canvas: Canvas, plan: Plan, line: NDArray[np.float64]) -> None:
    steps = np.r_[0, np.cumsum(np.hypot(*np.diff(line, axis=0).T))]
    starts = np.arange(0, steps[-1], 9 / plan.gsd)
    for start in starts:
        points = [
            [np.interp(s, steps, axis) for axis in line.T] for s in (start, start + 3 / plan.gsd)
        ]
        canvas.line(np.array(points), 0.2 / plan.gsd, MARKING)


def _park_along(
    rng: Generator, plan: Plan, lines: list[NDArray[np.float64]], street: float
) -> None:
    """Cars at the sides of streets and in their lanes."""
    for line in lines:
        (start, end), length = line[[0, -1]], np.hypot(*(line[-1] - line[0]))
        count = rng.poisson(length * plan.gsd / rng.choice([12, 40, 150]))
        direction = (end - start) / max(length, 1)
        side = rng.choice([-1, 1], count) * street * rng.uniform(0.14, 0.36, count)
        at = start + rng.uniform(0, length, (count, 1)) * direction
        at = at + side[:, None] * np.array([-direction[1], direction[0]])
        angle = np.full(count, np.arctan2(direction[1], direction[0])) + rng.normal(0, 0.03, count)
        plan.cars.append(np.column_stack([at, angle]))


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
    if not quarter.yards or not len(lots):
        return
    canvas = Canvas(plan.size_px)
    covers = np.array(list(quarter.yards))
    chances = np.array(list(quarter.yards.values()))
    own = lots[rng.uniform(size=len(lots)) < rng.uniform(0, 0.8)]
    size = np.broadcast_to(pitch, (len(own), 2))
    labels = 1 + covers[rng.choice(len(covers), len(own), p=chances / chances.sum())]
    canvas.polygons(rectangles(*own.T[:2], size[:, 0], size[:, 1], own[:, 2]), labels)
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
    canvas.polygons(
        rectangles(x, y, size[0], size[1] * 0.6, own[:, 2]), np.full(len(own), POOL + 1)
    )


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
        at = _placed(plan, spots, angle) - plan.size_px / 2 + (x, y)
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
        covers = rng.choice(
            [SOIL, SITE, RUBBLE, CONCRETE, ROUGH], len(marked), p=(0.3, 0.3, 0.15, 0.1, 0.15)
        )
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
        corners = rectangles(*own.T[:2], size[:, 0], size[:, 1], own[:, 2])
        for ring in corners[:: 1 + int(rng.uniform() < 0.3)]:
            canvas.line(np.concatenate([ring, ring[:1]]), 0.3 / plan.gsd, 1)
        plan.walls[date] |= canvas.labels()
    plan.walls[plan.roads > 0] = 0


def _main_roads(
    rng: Generator, plan: Plan, curves: list[NDArray[np.float64]], style: float
) -> None:
    """Roads along the cuts; some come between the dates."""
    for curve in curves:
        if rng.uniform() > 0.75:
            continue
        canvas = Canvas(plan.size_px)
        width = rng.choice([5, 8, 12, 20]) / plan.gsd
        _draw_roads(rng, canvas, plan, [curve], width, style < 0.2)
        labels = canvas.labels()
        for date in (0, 1) if rng.uniform() < 0.85 else (1,):
            plan.roads[date][labels > 0] = labels[labels > 0]
        plan.walls[:, labels > 0] = 0
        inner = curve[8:-8]
        _park_along(rng, plan, [inner[i : i + 2] for i in range(0, len(inner) - 1)], width)


def _water(rng: Generator, plan: Plan, chance: float) -> None:
    """A river or ponds, whose level differs between the dates."""
    if rng.uniform() > chance:
        return
    x, y = coordinates(plan.size_px)
    if rng.uniform() < 0.4:
        along, across = turned(x, y, rng.uniform(0, np.pi))
        bend = noise(rng, plan.size_px, 2.6) * rng.uniform(2, 12) / plan.gsd
        middle = rng.uniform(0.1, 0.9) * np.ptp(across) + across.min()
        depth = rng.uniform(4, 40) - abs(across + bend - middle) * plan.gsd
    else:
        ponds = noise(rng, plan.size_px, 2.6, 120 / plan.gsd)
        depth = (ponds - rng.uniform(1.2, 2.0)) * 30
    drop = rng.choice([0.0, rng.normal(0, 2)])
    plan.water_depth = np.stack([depth, depth - drop]).astype(np.float32)
    for date in (0, 1):
        wet = plan.water_depth[date] > 0
        shore = (plan.water_depth[date] > -rng.uniform(0, 3)) & ~wet & (plan.roads[date] == 0)
        plan.cover[date][shore] = SOIL
        plan.cover[date][wet & (plan.roads[date] == 0)] = WATER
    plan.walls[plan.cover == WATER] = 0


def _clear_houses(plan: Plan) -> None:
    """Take away houses that stand in a road or in water at any date."""
    streets = plan.roads == CARRIAGEWAY
    taken = (streets | (plan.water_depth > -2)).any(axis=0)
    kept = []
    for houses in plan.houses:
        blocked = np.zeros(len(houses), np.bool_)
        for u, v in ((0, 0), (0.4, 0.4), (-0.4, 0.4), (0.4, -0.4), (-0.4, -0.4)):
            along, across = u * houses["length"], v * houses["width"]
            cos, sin = np.cos(houses["angle"]), np.sin(houses["angle"])
            x = houses["x"] + along * cos - across * sin
            blocked |= _sampled(taken, x, houses["y"] + along * sin + across * cos)
        kept.append(houses[~blocked])
    plan.houses = kept


def _trees(rng: Generator, plan: Plan, x: Field, y: Field, radius_m: Field) -> Table:
    trees = np.zeros(len(x), TREE)
    trees["x"], trees["y"], trees["r"] = x, y, radius_m / plan.gsd
    trees["tone"] = rng.uniform(size=len(x))
    trees["stands"] = True
    lost = rng.uniform(size=len(x)) < rng.choice([0.0, 0.05, 0.3], p=(0.3, 0.5, 0.2))
    trees["stands"][lost, rng.integers(2, size=lost.sum())] = False
    return trees


def _garden_trees(rng: Generator, plan: Plan, quarter: Quarter, area: Mask) -> None:
    hectares = (plan.size_px * plan.gsd) ** 2 / 1e4
    count = rng.poisson(within(rng, quarter.trees) * hectares)
    x, y = rng.uniform(0, plan.size_px, (2, count))
    here = _sampled(area, x, y)
    radius = rng.gamma(3, rng.uniform(0.3, 1.0), count).clip(0.5, 6.5)
    plan.trees.append(_trees(rng, plan, x[here], y[here], radius[here]))
    if rng.uniform() < 0.35:
        _avenue(rng, plan, area)


def _avenue(rng: Generator, plan: Plan, area: Mask) -> None:
    """A row of like trees."""
    angle, v = rng.uniform(0, np.pi), rng.normal(0, plan.size_px / 5)
    u = np.arange(-0.7, 0.7, rng.uniform(4, 10) / plan.gsd / plan.size_px) * plan.size_px
    x, y = _placed(plan, np.stack([u, np.full_like(u, v)], axis=1), angle).T
    here = _sampled(area, x, y)
    radius = rng.normal(rng.uniform(1.2, 3), 0.2, len(u)).clip(0.7)
    plan.trees.append(_trees(rng, plan, x[here], y[here], radius[here]))


def _wild_trees(rng: Generator, plan: Plan) -> None:
    """Woods full of trees, scrub with some, felled in parts between the dates."""
    size, radius = plan.size_px, rng.uniform(1.6, 4.5)
    count = min(int(1.6 * (size * plan.gsd / radius) ** 2 / np.pi), 2500)
    x, y = rng.uniform(0, size, (2, count))
    radii = (radius * rng.gamma(9, 1 / 9, count)).clip(0.7, 9)
    trees = _trees(rng, plan, x, y, radii)
    clearing = noise(rng, size, 2.4) > rng.choice([9.0, 1.0, 0.3], p=(0.6, 0.25, 0.15))
    rows, cols = y.astype(int), x.astype(int)
    sparse = rng.uniform(size=count) < rng.uniform(0, 0.25)
    for date in (0, 1):
        cover = plan.cover[date][rows, cols]
        there = (cover == WOOD) | ((cover == SCRUB) & sparse)
        if date == 1:
            there &= ~clearing[rows, cols]
        trees["stands"][:, date] &= there
    if clearing.any():
        plan.cover[1][clearing & (plan.cover[1] == WOOD)] = rng.choice([SOIL, ROUGH, SCRUB])
    plan.trees.append(trees[trees["stands"].any(axis=1)])


__all__ = ["CARRIAGEWAY", "GRAVEL", "SHED", "Plan", "houses_of", "lay_out"]
