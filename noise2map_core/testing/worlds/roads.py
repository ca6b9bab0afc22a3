"""Roads of a close-up world, and places for cars along them."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds.drawing import Canvas
from noise2map_core.testing.worlds.plan import (
    CARRIAGEWAY,
    MARKING,
    SIDEWALK,
    TRACK,
    Lattice,
    Plan,
    placed,
)


def lay_streets(
    rng: Generator,
    plan: Plan,
    lattice: Lattice,
    built: NDArray[np.bool_],
) -> None:
    """Straight streets between the blocks, and now and then one across."""
    canvas, reach, street = Canvas(plan.size_px), plan.size_px * 0.75, lattice.street
    unpaved = rng.uniform() < (0.6 if street * plan.gsd < 5 else 0.12)
    levels = np.arange(-reach, reach + lattice.block, lattice.block)
    crossings = rng.uniform(-reach, reach, rng.integers(0, 4))
    ends = [((-reach, v), (reach, v)) for v in levels]
    ends += [((u, -reach), (u, reach)) for u in crossings]
    lines = [placed(plan, np.array(pair), lattice.angle) for pair in ends]
    _draw_roads(rng, canvas, plan, lines, street * (0.75 if unpaved else 0.8), unpaved)
    labels = canvas.labels()
    for date in (0, 1):
        drawn = built[date] & (labels > 0)
        plan.roads[date][drawn] = labels[drawn]
    _park_along(rng, plan, lines, street)


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
        dash = np.array([start, start + 3 / plan.gsd])
        points = np.stack([np.interp(dash, steps, axis) for axis in line.T], axis=1)
        canvas.line(points, 0.2 / plan.gsd, MARKING)


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


def lay_main_roads(rng: Generator, plan: Plan, curves: list[NDArray[np.float64]]) -> None:
    """Roads along the cuts; some come between the dates."""
    unpaved = rng.uniform() < 0.2
    for curve in curves:
        if rng.uniform() > 0.75:
            continue
        canvas = Canvas(plan.size_px)
        width = rng.choice([5, 8, 12, 20]) / plan.gsd
        _draw_roads(rng, canvas, plan, [curve], width, unpaved)
        labels = canvas.labels()
        for date in (0, 1) if rng.uniform() < 0.85 else (1,):
            plan.roads[date][labels > 0] = labels[labels > 0]
        plan.walls[:, labels > 0] = 0
        inner = curve[8:-8]
        _park_along(rng, plan, [inner[i : i + 2] for i in range(0, len(inner) - 1)], width)
