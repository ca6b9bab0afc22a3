"""Trees of a close-up world: in gardens, in rows, in woods."""

import numpy as np
from numpy.random import Generator

from noise2map_core.testing.worlds.fields import Field, Mask, noise
from noise2map_core.testing.worlds.plan import TREE, Plan, Table, placed, sampled
from noise2map_core.testing.worlds.quarters import ROUGH, SCRUB, SOIL, WOOD, Quarter, within


def plant_gardens(rng: Generator, plan: Plan, quarter: Quarter, area: Mask) -> None:
    """Single trees and bushes in a quarter, now and then a row of them."""
    hectares = (plan.size_px * plan.gsd) ** 2 / 1e4
    count = rng.poisson(within(rng, quarter.trees) * hectares)
    x, y = rng.uniform(0, plan.size_px, (2, count))
    here = sampled(area, x, y)
    radius = rng.gamma(3, rng.uniform(0.3, 1.0), count).clip(0.5, 6.5)
    plan.trees.append(_trees(rng, plan, x[here], y[here], radius[here]))
    if rng.uniform() < 0.35:
        _avenue(rng, plan, area)


def _avenue(rng: Generator, plan: Plan, area: Mask) -> None:
    """A row of like trees."""
    angle, v = rng.uniform(0, np.pi), rng.normal(0, plan.size_px / 5)
    u = np.arange(-0.7, 0.7, rng.uniform(4, 10) / plan.gsd / plan.size_px) * plan.size_px
    x, y = placed(plan, np.stack([u, np.full_like(u, v)], axis=1), angle).T
    here = sampled(area, x, y)
    radius = rng.normal(rng.uniform(1.2, 3), 0.2, len(u)).clip(0.7)
    plan.trees.append(_trees(rng, plan, x[here], y[here], radius[here]))


def plant_woods(rng: Generator, plan: Plan) -> None:
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


def _trees(rng: Generator, plan: Plan, x: Field, y: Field, radius_m: Field) -> Table:
    trees = np.zeros(len(x), TREE)
    trees["x"], trees["y"], trees["r"] = x, y, radius_m / plan.gsd
    trees["tone"] = rng.uniform(size=len(x))
    trees["stands"] = True
    lost = rng.uniform(size=len(x)) < rng.choice([0.0, 0.05, 0.3], p=(0.3, 0.5, 0.2))
    trees["stands"][lost, rng.integers(2, size=lost.sum())] = False
    return trees
