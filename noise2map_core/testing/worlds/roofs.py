"""Roofs and walls as they look from above."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise2map_core.testing.worlds.drawing import Canvas, Labels, rectangles
from noise2map_core.testing.worlds.fields import Field, Mask, Numbers
from noise2map_core.testing.worlds.look import Look
from noise2map_core.testing.worlds.plan import Plan, Table, houses_of
from noise2map_core.testing.worlds.quarters import FLAT, HIP, SHED
from noise2map_core.testing.worlds.textures import Image, Textures, smoothstep, tint

TILTS = np.array((0.0, 0.42, 0.42, 0.12))
"""Radians, of FLAT, GABLE, HIP, SHED."""
RUST = np.array((0.40, 0.27, 0.21), np.float32)


def footprints(plan: Plan, date: int, lean: NDArray[np.float64]) -> Mask:
    """[y, x] True under the roofs that stand at a date, seen at a lean."""
    houses = _standing(plan, date)
    canvas = Canvas(plan.size_px)
    canvas.polygons(_roof_corners(plan, houses, lean), np.ones(len(houses), np.int64))
    return canvas.labels() > 0


def paint_houses(
    image: Image,
    height: Field,
    light: Field,
    plan: Plan,
    date: int,
    look: Look,
    textures: Textures,
) -> None:
    """Add what stands at a date to colours, heights (metres) and light (1 on level ground)."""
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
    tint(image, here, colour.astype(np.float32))
    light[here] = shade
    height[here] = np.where(walls, 0.4, 1) * houses["height"][number] + rise * ~walls


@dataclass(frozen=True)
class _Roofs:
    """Pixels under roofs; all arrays [pixel]."""

    along: Numbers
    """Pixels from the middle of the roof along its ridge …"""
    across: Numbers
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

    def slopes(self, look: Look, gsd: float) -> tuple[Numbers, Numbers]:
        """Light on the roof, 1 on level ground, and its rise above the eaves in metres."""
        edge_along, edge_across = self.edges()
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

    def skin(self, textures: Textures, here: tuple[NDArray[np.int64], ...], gsd: float) -> Numbers:
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
        thing = self._skylights(thing, gsd)
        ridge = (abs(self.across) * gsd < 0.25) & (house["shape"] != FLAT)
        return np.asarray(fine * dirt * ribs * sheet * rim * thing * np.where(ridge, 1.06, 1))

    def edges(self) -> tuple[Numbers, Numbers]:
        """Pixels to the nearer end, and to the nearer eaves."""
        along = self.house["length"] / 2 - abs(self.along)
        return along, self.house["width"] / 2 - abs(self.across)

    def _skylights(self, shade: Numbers, gsd: float) -> Numbers:
        """Strips of light or dark panes, on large roofs of sheets."""
        every = self.house["skylight"]
        strip = np.floor(self.along * gsd / 1.2) % np.maximum(every, 1) == 2
        strip &= (abs(abs(self.across) / self.house["width"] - 0.26) < 0.16) & (every > 3)
        return np.asarray(np.where(strip, 1.25 - 0.35 * (every % 2), shade))

    def stains(self, textures: Textures, here: tuple[NDArray[np.int64], ...]) -> Numbers:
        """Share of rust, on sheets only."""
        dirt = self.house["dirt"]
        share = smoothstep(textures.blotches[here] * 0.7 + 1.6 * dirt - 0.75)
        return np.asarray(share * 0.75 * dirt * (self.house["ribs"] > 0))


def _hashed(u: Numbers, v: Numbers, number: NDArray[np.int64]) -> Numbers:
    """The same number in 0 … 1 for all pixels of a cell of a roof."""
    cell = np.floor(u).astype(np.int64) * 73856093 ^ np.floor(v).astype(np.int64) * 19349663
    return ((cell ^ number * 83492791) % 1009).astype(np.float32) / 1009


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


def _standing(plan: Plan, date: int) -> Table:
    houses = houses_of(plan)
    houses = houses[houses["stands"][:, date]]
    return houses[np.argsort(houses["height"], kind="stable")]


def _base_corners(houses: Table) -> Numbers:
    names = ("x", "y", "length", "width", "angle")
    return rectangles(*(houses[name] for name in names))


def _roof_corners(plan: Plan, houses: Table, lean: NDArray[np.float64]) -> Numbers:
    moved = houses["height"][:, None] * lean / plan.gsd
    return _base_corners(houses) + moved[:, None]
