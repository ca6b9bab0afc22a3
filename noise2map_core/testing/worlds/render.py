"""A picture of one date of a close-up world: paint, heights, shadows."""

import numpy as np
from numpy.random import Generator

from noise2map_core.testing.worlds.drawing import Canvas, rectangles
from noise2map_core.testing.worlds.fields import Field, Mask
from noise2map_core.testing.worlds.look import NUM_CROPS, Look
from noise2map_core.testing.worlds.plan import Plan, Table, sampled
from noise2map_core.testing.worlds.quarters import (
    ASPHALT,
    CONCRETE,
    CROP,
    GRAVEL,
    POOL,
    SITE,
    SOIL,
    WATER,
)
from noise2map_core.testing.worlds.roofs import footprints, paint_houses
from noise2map_core.testing.worlds.shadow import shadow_of
from noise2map_core.testing.worlds.textures import Image, Textures, smoothstep, tint

CAR_COLOURS = np.array([
    (0.92, 0.92, 0.92), (0.7, 0.7, 0.72), (0.15, 0.15, 0.16), (0.4, 0.4, 0.42), (0.55, 0.1, 0.1),
    (0.15, 0.25, 0.5), (0.85, 0.85, 0.8),
], np.float32)  # fmt: skip

PARKED_ON = (ASPHALT, CONCRETE, GRAVEL, SOIL, SITE)
"""Where cars stand, besides roads."""


def paint(rng: Generator, plan: Plan, date: int, look: Look, textures: Textures) -> Image:
    """The place in its light, before the camera."""
    image = _ground(plan, date, look, textures)
    _roads(image, plan, date, look, textures)
    height = np.zeros(image.shape[1:], np.float32)
    light = np.ones_like(height)
    _walls(image, height, plan, date)
    _things(rng, image, height, plan, date)
    _cars(rng, image, height, plan, date)
    _trees(image, height, light, plan, date, look, textures)
    paint_houses(image, height, light, plan, date, look, textures)
    shadow = shadow_of(height, look, plan.gsd)[None]
    lit = np.where(shadow, look.shade[:, None, None], np.float32(1))
    return image * light * lit


def _ground(plan: Plan, date: int, look: Look, textures: Textures) -> Image:
    cover = plan.cover[date]
    share = smoothstep(0.5 + 0.6 * textures.coarse + 0.45 * textures.middle)
    grain = np.take(look.grain.T, cover, axis=1)
    texture = 1 + grain[0] * textures.fine + grain[1] * textures.middle + grain[2] * textures.coarse
    main, other = look.ground[:, 0].T, look.ground[:, 1].T
    image = np.take(main, cover, axis=1)
    image += share * np.take(other - main, cover, axis=1)
    fields = cover == CROP
    if fields.any():
        _crops(image, fields, plan, date, look)
    image *= texture
    return image


def _crops(image: Image, fields: Mask, plan: Plan, date: int, look: Look) -> None:
    state = (plan.parcel[fields] * 7919 + look.seed) % 1009 % NUM_CROPS
    period, strength = look.crop_rows[state].T
    period = np.maximum(period, 2.5 * plan.gsd)
    stripes = 1 + strength * np.sin(plan.rows[fields] * (2 * np.pi / period))
    tint(image, fields.nonzero(), look.crops[state] * stripes[:, None])


def _roads(image: Image, plan: Plan, date: int, look: Look, textures: Textures) -> None:
    labels = plan.roads[date]
    here = labels.nonzero()
    wear = 1 + 0.03 * textures.fine[here] + 0.05 * textures.blotches[here]
    tint(image, here, look.road[labels[here]] * wear[:, None])


def _walls(image: Image, height: Field, plan: Plan, date: int) -> None:
    here = plan.walls[date].nonzero()
    image[:, *here] = 0.55
    height[here] = 1.8


def _things(rng: Generator, image: Image, height: Field, plan: Plan, date: int) -> None:
    """Stacks, sheds, tanks, rubbish: some of them at each date."""
    places = np.concatenate([np.empty((0, 2)), *plan.things])
    x, y = places[rng.uniform(size=len(places)) < 0.7].T
    count = len(x)
    canvas = Canvas(plan.size_px)
    length, width = rng.gamma(2, 0.7, (2, count)).clip(0.4, 4) / plan.gsd
    corners = rectangles(x, y, length, width, rng.uniform(0, np.pi, count))
    canvas.polygons(corners, np.arange(count) + 1)
    labels = canvas.labels()
    here = ((labels > 0) & (plan.roads[date] == 0) & (plan.cover[date] != WATER)).nonzero()
    grey = rng.uniform(0.2, 0.9, (count, 1)) * (1.03, 1, 0.95)
    colours = np.asarray(grey * rng.normal(1, 0.08, (count, 3)), np.float32)
    tint(image, here, colours[labels[here] - 1])
    height[here] = rng.uniform(0.3, 2.0, max(count, 1))[labels[here] - 1]


def _cars(rng: Generator, image: Image, height: Field, plan: Plan, date: int) -> None:
    """Some of the places are taken, by other cars at each date."""
    places = np.concatenate([np.empty((0, 3)), *plan.cars])
    drivable = (plan.roads[date] > 0) | np.isin(plan.cover[date], PARKED_ON)
    there = sampled(drivable, *places[:, :2].T)
    x, y, angle = places[there & (rng.uniform(size=len(places)) < rng.uniform(0.2, 0.9))].T
    canvas = Canvas(plan.size_px)
    large = rng.uniform(size=len(x)) < 0.08
    length = np.where(large, 9, 4.4) * rng.uniform(0.9, 1.1, len(x)) / plan.gsd
    width = np.where(large, 2.5, 1.85) / plan.gsd
    numbers = np.arange(len(x))
    canvas.polygons(rectangles(x, y, length, width, angle), 2 * numbers + 1)
    glass = rectangles(x, y, length * 0.62, width * 0.8, angle)
    if plan.gsd < 0.5:
        canvas.polygons(glass, 2 * numbers + 2)
        canvas.polygons(rectangles(x, y, length * 0.36, width * 0.75, angle), 2 * numbers + 1)
    labels = canvas.labels()
    here = labels.nonzero()
    number, pane = np.divmod(labels[here] - 1, 2)
    colours = CAR_COLOURS[rng.integers(len(CAR_COLOURS), size=max(len(x), 1))]
    tint(image, here, colours[number] * np.where(pane, 0.3, 1.0)[:, None])
    height[here] = 1.5


def _trees(
    image: Image,
    height: Field,
    light: Field,
    plan: Plan,
    date: int,
    look: Look,
    textures: Textures,
) -> None:
    trees = _open_to_the_sky(plan, date)
    if not len(trees):
        return
    trees = trees[np.argsort(trees["r"])]
    canvas = Canvas(plan.size_px)
    canvas.discs(trees["x"], trees["y"], trees["r"] * 1.15)
    labels = canvas.labels()
    here = labels.nonzero()
    number = labels[here] - 1
    x, y, r, tone = (trees[name][number] for name in ("x", "y", "r", "tone"))
    u, v = (here[1] + 0.5 - x) / r, (here[0] + 0.5 - y) / r
    fine, middle = textures.fine[here], textures.middle[here]
    away = np.hypot(u, v) + 0.2 * middle + 0.08 * fine
    seen = (away < 1) & (fine > _threshold(look.leaf_loss))
    rows, cols = here[0][seen], here[1][seen]
    u, v, tone, away = u[seen], v[seen], tone[seen], away[seen]
    dome = np.sqrt((1 - away.clip(0) ** 2).clip(0))
    metres = np.minimum(r[seen] * plan.gsd * 2.2, 14) * (0.45 + 0.55 * dome)
    colour = look.leaves[0] + tone[:, None] * (look.leaves[1] - look.leaves[0])
    leaf = 1 + 0.15 * fine[seen] + 0.2 * middle[seen]
    slope = 1 + 0.32 * (u * look.sun[0] + v * look.sun[1]) + 0.1 * (dome - 0.6)
    tint(image, (rows, cols), colour * leaf[:, None].clip(0.35))
    light[rows, cols] = slope.clip(0.4)
    height[rows, cols] = metres


def _threshold(loss: float) -> float:
    """What a texture of deviation 1 exceeds with a chance of 1 - loss / 2."""
    return -9.0 if loss == 0 else float(np.log(loss / (2 - loss))) / 1.7


def _open_to_the_sky(plan: Plan, date: int) -> Table:
    """The trees that stand at a date, but for those on roads, in water and in houses."""
    trees = np.concatenate(plan.trees)
    trees = trees[trees["stands"][:, date]]
    taken = (plan.roads[date] > 0) | np.isin(plan.cover[date], (WATER, POOL))
    taken = taken | footprints(plan, date, np.zeros(2))
    last = plan.size_px - 1
    rows, cols = (trees[name].clip(0, last).astype(int) for name in "yx")
    return trees[~taken[rows, cols]]
