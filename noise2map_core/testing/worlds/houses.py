"""Houses on the lots of a quarter: sizes, roofs, colours."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds.fields import Mask
from noise2map_core.testing.worlds.plan import HOUSE, Plan, Table
from noise2map_core.testing.worlds.quarters import FLAT, GABLE, PALETTES, Quarter, within


def build_houses(
    rng: Generator,
    plan: Plan,
    quarter: Quarter,
    lots: NDArray[np.float64],
    pitch: NDArray[np.float64],
    dates: Mask,
) -> Table:
    """Houses on some of the lots [lot, (x, y, angle)]; `pitch` is a lot's size in pixels, `dates`
    [lot, date] when it is built on."""
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


METAL = ("tin", "rust", "paint")
STAINS = {"rust": 0.9, "tin": 0.5, "paint": 0.3, "concrete": 0.6}
"""How dirty roofs of a palette may be; others: hardly."""


def _roof(rng: Generator, plan: Plan, quarter: Quarter, houses: Table) -> None:
    """Kinds and shapes of roofs; some are the quarter's own."""
    count, names = len(houses), list(quarter.roofs)
    chances = np.array(list(quarter.roofs.values())) * rng.gamma(0.8, size=len(names)) + 1e-3
    kinds = rng.choice(len(names), count, p=chances / chances.sum())
    own = rng.uniform(size=count) < quarter.uniform
    kinds[own] = kinds[:1].repeat(own.sum())
    houses["shape"] = rng.choice(4, count, p=np.asarray(quarter.shapes))
    alike = own | (rng.uniform(size=count) < rng.uniform(0, 0.8))
    houses["shape"][alike] = rng.choice(4, p=np.asarray(quarter.shapes))
    for kind, name in enumerate(names):
        _cover(rng, plan, name, houses, kinds == kind, own)
    large = (houses["width"] * plan.gsd > 12) & (houses["ribs"] > 0)
    houses["skylight"] = large * (rng.integers(4, 9) if rng.uniform() < 0.5 else 0)
    houses["clutter"] = rng.uniform(0, 1, count) * (houses["shape"] == FLAT)
    _repaint(rng, houses)


def _cover(rng: Generator, plan: Plan, name: str, houses: Table, chosen: Mask, own: Mask) -> None:
    """Roofs of one palette on the chosen houses."""
    count = int(chosen.sum())
    houses["colour"][chosen] = _colours(rng, name, count, own[chosen])
    ribbed = (rng.uniform(size=count) < 0.7) & (name in METAL)
    houses["ribs"][chosen] = rng.uniform(0.8, 2.5, count) * ribbed / plan.gsd
    houses["dirt"][chosen] = rng.uniform(0, STAINS.get(name, 0.15), count)
    if name in ("tile", "shingle"):
        houses["shape"][chosen & (houses["shape"] == FLAT)] = GABLE
    if name == "membrane":
        houses["shape"][chosen] = FLAT


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
