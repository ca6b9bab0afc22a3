"""A picture of one date of a close-up world: paint, heights, shadows."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noise2map_core.testing.worlds.drawing import Canvas, Labels, rectangles
from noise2map_core.testing.worlds.fields import Field, Mask, noise
from noise2map_core.testing.worlds.layout import HOUSE, Plan, Table, houses_of
from noise2map_core.testing.worlds.look import NUM_CROPS, Look
from noise2map_core.testing.worlds.quarters import CROP, FLAT, HIP, POOL, SHED, WATER

Image = NDArray[np.float32]
"""[rgb, y, x], 0 … 1."""

CAR_COLOURS = np.array([
    (0.92, 0.92, 0.92), (0.7, 0.7, 0.72), (0.15, 0.15, 0.16), (0.4, 0.4, 0.42), (0.55, 0.1, 0.1),
    (0.15, 0.25, 0.5), (0.85, 0.85, 0.8),
], np.float32)  # fmt: skip


@dataclass(frozen=True)
class Textures:
    """Patterns that stay in place between the dates, mean 0 and deviation 1, [y, x] each."""

    fine: Field
    middle: Field
    coarse: Field
    blotches: Field

    @classmethod
    def draw(cls, rng: Generator, size_px: int) -> "Textures":
        """Of one place."""
        return cls(*(noise(rng, size_px, rough) for rough in (0.35, 1.05, 1.9, 1.6)))

    def aged(self, rng: Generator) -> "Textures":
        """The same a year on: what is fine is mostly another, what is coarse mostly the same."""
        size = self.fine.shape[0]
        fine = 0.55 * self.fine + 0.83 * noise(rng, size, 0.35)
        middle = 0.8 * self.middle + 0.6 * noise(rng, size, 1.05)
        coarse = 0.85 * self.coarse + 0.53 * noise(rng, size, 1.9)
        return Textures(fine, middle, coarse, self.blotches)


def footprints(plan: Plan, date: int, lean: NDArray[np.float64]) -> Mask:
    """[y, x] True under the roofs that stand at a date, seen at a lean."""
    houses = _standing(plan, date)
    canvas = Canvas(plan.size_px)
    canvas.polygons(_roof_corners(plan, houses, lean), np.ones(len(houses), np.int64))
    return canvas.labels() > 0


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
    _houses(image, height, light, plan, date, look, textures)
    shadow = _shadow(height, look, plan.gsd)[None]
    lit = np.where(shadow, look.shade[:, None, None], np.float32(1))
    return image * light * lit


def _tint(image: Image, where: tuple[NDArray[np.int64], ...], colour: Image) -> None:
    """Set pixels to colours [pixel, rgb]."""
    image[:, *where] = colour.T


def _ground(plan: Plan, date: int, look: Look, textures: Textures) -> Image:
    cover = plan.cover[date]
    share = _smoothstep(0.5 + 0.6 * textures.coarse + 0.45 * textures.middle)
    grain = look.grain.T[:, cover]
    texture = 1 + grain[0] * textures.fine + grain[1] * textures.middle + grain[2] * textures.coarse
    main, other = look.ground[:, 0].T, look.ground[:, 1].T
    image = main[:, cover] + share * (other - main)[:, cover]
    fields = cover == CROP
    if fields.any():
        _crops(image, fields, plan, date, look)
    return np.asarray(image * texture, np.float32)


def _smoothstep(share: Field) -> Field:
    share = share.clip(0, 1)
    return share * share * (3 - 2 * share)


def _crops(image: Image, fields: Mask, plan: Plan, date: int, look: Look) -> None:
    state = (plan.parcel[fields] * 7919 + look.seed) % 1009 % NUM_CROPS
    period, strength = look.crop_rows[state].T
    period = np.maximum(period, 2.5 * plan.gsd)
    stripes = 1 + strength * np.sin(plan.rows[fields] * (2 * np.pi / period))
    _tint(image, fields.nonzero(), look.crops[state] * stripes[:, None])


def _roads(image: Image, plan: Plan, date: int, look: Look, textures: Textures) -> None:
    labels = plan.roads[date]
    here = labels.nonzero()
    wear = 1 + 0.03 * textures.fine[here] + 0.05 * textures.blotches[here]
    _tint(image, here, look.road[labels[here]] * wear[:, None])


def _walls(image: Image, height: Field, plan: Plan, date: int) -> None:
    here = plan.walls[date].nonzero()
    image[:, *here] = 0.55
    height[here] = 1.8


def _things(rng: Generator, image: Image, height: Field, plan: Plan, date: int) -> None:
    """Stacks, sheds, tanks, rubbish: some of them at each date."""
    places = np.concatenate([np.empty((0, 2)), *plan.things])
    x, y = places[rng.uniform(size=len(places)) < 0.7].T
    canvas = Canvas(plan.size_px)
    length, width = rng.gamma(2, 0.7, (2, len(x))).clip(0.4, 4) / plan.gsd
    canvas.polygons(
        rectangles(x, y, length, width, rng.uniform(0, np.pi, len(x))), np.arange(len(x)) + 1
    )
    labels = canvas.labels()
    here = ((labels > 0) & (plan.roads[date] == 0) & (plan.cover[date] != WATER)).nonzero()
    colours = (
        rng.uniform(0.2, 0.9, (len(x), 1)) * rng.normal(1, 0.08, (len(x), 3)) * (1.03, 1, 0.95)
    )
    _tint(image, here, colours.astype(np.float32)[labels[here] - 1])
    height[here] = rng.uniform(0.3, 2.0, max(len(x), 1))[labels[here] - 1]


def _cars(rng: Generator, image: Image, height: Field, plan: Plan, date: int) -> None:
    """Some of the places are taken, by other cars at each date."""
    places = np.concatenate([np.empty((0, 3)), *plan.cars])
    x, y, angle = places[rng.uniform(size=len(places)) < rng.uniform(0.2, 0.9)].T
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
    here = ((labels > 0) & (plan.roads[date] + (plan.cover[date] != WATER) > 0)).nonzero()
    number, pane = np.divmod(labels[here] - 1, 2)
    colours = CAR_COLOURS[rng.integers(len(CAR_COLOURS), size=max(len(x), 1))]
    _tint(image, here, colours[number] * np.where(pane, 0.3, 1.0)[:, None])
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
    _tint(image, (rows, cols), colour * leaf[:, None].clip(0.35))
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


def _standing(plan: Plan, date: int) -> Table:
    houses = houses_of(plan)
    houses = houses[houses["stands"][:, date]]
    return houses[np.argsort(houses["height"], kind="stable")]


def _base_corners(houses: Table) -> NDArray[np.floating]:
    return rectangles(*(houses[name] for name in HOUSE.names[:5])) if HOUSE.names else np.empty(0)


def _roof_corners(plan: Plan, houses: Table, lean: NDArray[np.float64]) -> NDArray[np.floating]:
    moved = houses["height"][:, None] * lean / plan.gsd
    return _base_corners(houses) + moved[:, None]


def _drawn_houses(plan: Plan, houses: Table, lean: NDArray[np.float64]) -> Labels:
    """Roofs as 2 × number + 1, their walls as 2 × number + 2."""
    canvas, numbers = Canvas(plan.size_px), np.arange(len(houses))
    roofs = _roof_corners(plan, houses, lean)
    reach = houses["height"] * np.hypot(*lean) / plan.gsd
    if reach.max(initial=0) < 0.8:
        canvas.polygons(roofs, 2 * numbers + 1)
        return canvas.labels()
    bases = _base_corners(houses)
    for number in numbers.tolist():
        for side in range(4):
            a, b = side, (side + 1) % 4
            quad = np.stack(
                [bases[number, a], bases[number, b], roofs[number, b], roofs[number, a]]
            )
            canvas.polygon(quad, 2 * number + 2)
        canvas.polygon(roofs[number], 2 * number + 1)
    return canvas.labels()


def _houses(
    image: Image,
    height: Field,
    light: Field,
    plan: Plan,
    date: int,
    look: Look,
    textures: Textures,
) -> None:
    houses = _standing(plan, date)
    labels = _drawn_houses(plan, houses, look.lean)
    here = labels.nonzero()
    number, wall = np.divmod(labels[here] - 1, 2)
    colours = np.where(date, houses["later"], houses["colour"])
    moved = houses["height"][:, None] * look.lean / plan.gsd
    roof = _Roofs.at(houses, number, here, moved)
    shade, rise = roof.slopes(look, plan.gsd)
    skin = roof.skin(textures, here, plan.gsd)
    rust = roof.stains(textures, here)
    colour = colours[number] * skin[:, None]
    colour += rust[:, None] * (RUST - colour)
    walls = wall > 0
    colour[walls] = 0.25 + 0.45 * colours[number[walls]]
    shade[walls] = 0.75
    _tint(image, here, colour.astype(np.float32))
    light[here] = shade
    height[here] = np.where(walls, 0.4, 1) * houses["height"][number] + rise * ~walls


RUST = np.array((0.40, 0.27, 0.21), np.float32)


@dataclass(frozen=True)
class _Roofs:
    """Pixels under roofs; all arrays [pixel]."""

    along: Field
    """Pixels from the middle of the roof along its ridge …"""
    across: Field
    """… and across it."""
    house: Table
    number: NDArray[np.int64]

    @classmethod
    def at(
        cls,
        houses: Table,
        number: NDArray[np.int64],
        here: tuple[NDArray[np.int64], ...],
        moved: NDArray[np.float64],
    ) -> "_Roofs":
        x, y = houses["x"] + moved[:, 0], houses["y"] + moved[:, 1]
        u, v = here[1] + 0.5 - x[number], here[0] + 0.5 - y[number]
        cos, sin = (f(houses["angle"])[number] for f in (np.cos, np.sin))
        return cls(u * cos + v * sin, v * cos - u * sin, houses[number], number)

    def slopes(self, look: Look, gsd: float) -> tuple[Field, Field]:
        """Light on the roof, 1 on level ground, and its rise above the eaves in metres."""
        edge_along = self.house["length"] / 2 - abs(self.along)
        edge_across = self.house["width"] / 2 - abs(self.across)
        shape = self.house["shape"]
        end = (shape == HIP) & (edge_along < edge_across)
        angle = self.house["angle"] + np.where(end, 0, np.pi / 2)
        side = np.where(shape == SHED, 1, np.sign(np.where(end, self.along, self.across)))
        tilt = np.where(
            shape == FLAT, 0, np.where(shape == SHED, 0.12, 0.45 - 0.02 * self.house["ribs"])
        )
        facing = side * (np.cos(angle) * look.sun[0] + np.sin(angle) * look.sun[1])
        light = (np.sin(tilt) * facing + np.cos(tilt) * look.sun[2]) / look.sun[2]
        inner = np.where(shape == HIP, np.minimum(edge_along, edge_across), edge_across)
        rise = inner.clip(0) * gsd * np.tan(tilt) * (shape != SHED)
        return (0.45 + 0.55 * light.clip(0.15, 1.8)).astype(np.float32), rise

    def skin(self, textures: Textures, here: tuple[NDArray[np.int64], ...], gsd: float) -> Field:
        """Ribs, sheets, parapets and what stands on flat roofs, as a factor of the colour."""
        house = self.house
        fine = 1 + (0.035 + 0.05 * house["dirt"]) * textures.fine[here]
        dirt = 1 - 0.12 * house["dirt"] * textures.blotches[here].clip(-1, 2)
        period = np.maximum(house["ribs"], 2.2)
        ribs = 1 + 0.05 * np.sin(self.along * (2 * np.pi / period)) * (house["ribs"] > 0)
        sheets = _hashed(self.along * gsd / 2.2, self.across * gsd / 5, self.number)
        sheet = 1 + 0.16 * (sheets - 0.5) * (house["ribs"] > 0) * house["dirt"]
        edge = np.minimum(
            house["length"] / 2 - abs(self.along), house["width"] / 2 - abs(self.across)
        )
        rim = np.where((edge * gsd < 0.45) & (house["shape"] == FLAT), 1.12, 1.0)
        things = _hashed(self.along * gsd / 1.7, self.across * gsd / 1.7, self.number + 77)
        few = 1 - 0.22 * house["clutter"]
        thing = np.where((things > few) & (house["clutter"] > 0.25), 0.5 + 4 * (things - few), 1.0)
        strips = (np.floor(self.along * gsd / 1.2) % np.maximum(house["skylight"], 1) == 2) & (
            abs(abs(self.across) / house["width"] - 0.26) < 0.16
        )
        thing = np.where(
            strips & (house["skylight"] > 3), 1.25 - 0.35 * (house["skylight"] % 2), thing
        )
        ridge = (abs(self.across) * gsd < 0.25) & (house["shape"] != FLAT)
        return np.asarray(fine * dirt * ribs * sheet * rim * thing * np.where(ridge, 1.06, 1))

    def stains(self, textures: Textures, here: tuple[NDArray[np.int64], ...]) -> Field:
        """Share of rust, on sheets only."""
        dirt = self.house["dirt"]
        share = _smoothstep(textures.blotches[here] * 0.7 + 1.6 * dirt - 0.75)
        return np.asarray(share * 0.75 * dirt * (self.house["ribs"] > 0))


def _hashed(u: Field, v: Field, number: NDArray[np.int64]) -> Field:
    """The same number in 0 … 1 for all pixels of a cell of a roof."""
    cell = np.floor(u).astype(np.int64) * 73856093 ^ np.floor(v).astype(np.int64) * 19349663
    return ((cell ^ number * 83492791) % 1009).astype(np.float32) / 1009


def _shadow(height: Field, look: Look, gsd: float) -> Mask:
    """Where something stands between the ground and the sun.

    The highest ray that passes over each pixel, found by doubling the way that it has come.
    """
    flat = float(np.hypot(*look.sun[:2]))
    fall = float(look.sun[2]) / flat * gsd
    right, down = look.sun[:2] / flat
    ray = height
    reach = max(1, int(height.max() / fall))
    for doubling in range(reach.bit_length()):
        step = 1 << doubling
        ray = np.maximum(ray, _moved(ray, round(-down * step), round(-right * step)) - step * fall)
    return ray > height + 0.6


def _moved(field: Field, down: int, right: int) -> Field:
    """The field moved, 0 where it moved away."""
    out = np.zeros_like(field)
    rows, cols = field.shape
    if abs(down) < rows and abs(right) < cols:
        out[max(down, 0) : rows + min(down, 0), max(right, 0) : cols + min(right, 0)] = field[
            max(-down, 0) : rows + min(-down, 0), max(-right, 0) : cols + min(-right, 0)
        ]
    return out
