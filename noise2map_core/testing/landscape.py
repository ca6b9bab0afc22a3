"""An invented stretch of farmland at two dates: what covers each pixel, before and after.

Coordinates are pixels: x grows to the right, y downwards. Everything is drawn from one
`numpy.random.Generator`, so the same seed gives the same land.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry import LineString

Mask = NDArray[np.bool_]
Field = NDArray[np.float32]

VILLAGE_SPACING_PX = 150
NUM_PARCEL_DRAWS = 4096
"""Fields far apart may share a number, and with it a crop."""

HOUSE, APARTMENT, HALL = range(3)
KEPT, NEW, DEMOLISHED = range(3)
ROOF_KINDS = {HOUSE: (1, 1, 1, 2, 3), APARTMENT: (2, 3, 2, 4), HALL: (4, 4, 5, 2, 3)}
"""Roofs by kind of plot: 1 tile, 2 concrete, 3 dark, 4 bright metal, 5 blue steel."""
PITCHES_PX = {HOUSE: (3.6, 4.8), APARTMENT: (9.0, 6.0), HALL: (22.0, 15.0)}
"""Ground that one building takes, along and across its plot."""


@dataclass(frozen=True)
class Landscape:
    """Cover of `size_px` x `size_px` pixels; arrays with a date axis are [before/after, y, x].

    `built` is the built-up land: plots with their yards, and roads. It alone defines the labelled
    change; crops, clear-cuts and water levels change without being built-up.
    """

    parcel: NDArray[np.int32]
    """Number of the field, below NUM_PARCEL_DRAWS."""
    hedge: Mask
    across: Field
    """Distance across the rows of the field, in pixels."""
    soil: Field
    relief: Field
    """Height in arbitrary units; only its slope is seen."""
    forest: Mask
    conifer: Field
    water: Mask
    garden: Mask
    road: Mask
    plot: Mask
    roof: NDArray[np.uint8]
    """[before/after, y, x]: 0 none, else as in ROOF_KINDS."""

    @property
    def built(self) -> Mask:
        """[before/after, y, x]: True where the land is built-up."""
        built: Mask = self.plot | self.road
        return built

    @property
    def change(self) -> Mask:
        """[y, x]: True where built-up land came or went."""
        change: Mask = self.built[0] ^ self.built[1]
        return change


@dataclass(frozen=True)
class Plot:
    """A rectangle of buildings, turned by `angle` around its centre; lengths in pixels."""

    x: float
    y: float
    width: float
    height: float
    angle: float
    kind: int
    state: int

    @property
    def dates(self) -> tuple[int, ...]:
        """The dates at which it stands: 0 before, 1 after."""
        return {KEPT: (0, 1), NEW: (1,), DEMOLISHED: (0,)}[self.state]


def build_landscape(rng: Generator, size_px: int) -> Landscape:
    """Lay out fields, woods, water, villages and roads, and what happens to them."""
    parcel, hedge, across = _fields(rng, size_px)
    wood = fractal_noise(rng, size_px, 150, 2.0)
    forest = np.stack([wood > 0.85, (wood > 0.85) & ~_clear_cuts(rng, size_px)])
    river = _river(rng, size_px)
    water = _water(rng, size_px, river)
    centres = _village_centres(rng, size_px, water[0])
    road = _roads(rng, size_px, centres)
    plot, roof = _plots(rng, size_px, centres, np.any([*water, *road], axis=0))
    cover = plot.any(0) | road.any(0)
    return Landscape(
        parcel=parcel,
        hedge=hedge,
        across=across,
        soil=fractal_noise(rng, size_px, 110, 1.6),
        relief=fractal_noise(rng, size_px, 200, 2.2),
        forest=forest & ~water,
        conifer=fractal_noise(rng, size_px, 75, 1.8),
        water=water & ~cover,
        garden=_gardens(rng, size_px, centres),
        road=road & ~plot,
        plot=plot,
        roof=roof,
    )


def fractal_noise(rng: Generator, size_px: int, scale_px: float, roughness: float) -> Field:
    """Smooth random field [y, x] of mean 0 and deviation 1, without features above `scale_px`.

    The amplitude falls as frequency ** -roughness; larger is smoother.
    """
    white = np.fft.rfft2(rng.standard_normal((size_px, size_px)))
    frequency = np.hypot(np.fft.fftfreq(size_px)[:, None], np.fft.rfftfreq(size_px)[None, :])
    spectrum = white / (1.0 + (frequency * scale_px) ** 2) ** (roughness / 2)
    noise: Field = np.fft.irfft2(spectrum, s=(size_px, size_px)).astype(np.float32)
    noise -= noise.mean()
    noise /= noise.std()
    return noise


def burn(size_px: int, lines: list[tuple[LineString, float]]) -> Mask:
    """True where a pixel centre lies on a line of the given width (pixels)."""
    shapes = [(line.buffer(width / 2, cap_style="flat"), 1) for line, width in lines]
    if not shapes:
        return np.zeros((size_px, size_px), dtype=bool)
    burnt: Mask = rasterize(shapes, out_shape=(size_px, size_px), dtype="uint8") > 0
    return burnt


def _coordinates(size_px: int) -> tuple[Field, Field]:
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float32) + np.float32(0.5)
    return y, x


def _fields(rng: Generator, size_px: int) -> tuple[NDArray[np.int32], Mask, Field]:
    """Field numbers, hedges between them, and the distance across each field's rows.

    The land is cut into districts (nearest seed), each with fields of its own size and direction.
    """
    y, x = _coordinates(size_px)
    x = x + 5 * fractal_noise(rng, size_px, 160, 4.5)
    y = y + 5 * fractal_noise(rng, size_px, 160, 4.5)
    seeds = _scattered(rng, size_px, 190, 0.45)
    district = _nearest(x, y, seeds)
    angle = rng.uniform(0, np.pi, len(seeds)).astype(np.float32)[district]
    depth = rng.uniform(13, 34, len(seeds)).astype(np.float32)[district]
    length = rng.uniform(40, 120, len(seeds)).astype(np.float32)[district]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    row = np.floor(across / depth).astype(np.int64)
    shift = rng.uniform(0, 1, 997).astype(np.float32)[(row + 31 * district) % 997]
    col = np.floor(along / length + shift).astype(np.int64)
    parcel = (district * 73856093 ^ row * 19349663 ^ col * 83492791) % NUM_PARCEL_DRAWS
    edge = np.zeros((size_px, size_px), dtype=bool)
    edge[:, :-1] |= parcel[:, :-1] != parcel[:, 1:]
    edge[:-1] |= parcel[:-1] != parcel[1:]
    hedged = (rng.uniform(size=len(seeds)) < 0.5)[district]
    gaps = fractal_noise(rng, size_px, 30, 1.5) > -0.2
    return parcel.astype(np.int32), edge & hedged & gaps, across.astype(np.float32)


def _nearest(x: Field, y: Field, seeds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the nearest seed [seed, (x, y)] of each pixel."""
    best = np.full(x.shape, np.inf, dtype=np.float32)
    index = np.zeros(x.shape, dtype=np.int64)
    for number, (seed_x, seed_y) in enumerate(seeds.astype(np.float32)):
        distance = (x - seed_x) ** 2 + (y - seed_y) ** 2
        closer = distance < best
        best[closer] = distance[closer]
        index[closer] = number
    return index


def _scattered(rng: Generator, size_px: int, spacing: float, jitter: float) -> NDArray[np.float64]:
    """Points [point, (x, y)] about `spacing` apart, by rows; at least four."""
    count = max(2, round(size_px / spacing))
    step = size_px / count
    rows, cols = np.mgrid[0:count, 0:count] + 0.5
    grid = np.stack([cols.ravel(), rows.ravel()], axis=1) * step
    return grid + rng.uniform(-jitter, jitter, grid.shape) * step


def _clear_cuts(rng: Generator, size_px: int) -> Mask:
    return fractal_noise(rng, size_px, 60, 2.4) > 1.5


def _river(rng: Generator, size_px: int) -> LineString:
    y = np.linspace(-20, size_px + 20, 200)
    phase = rng.uniform(0, 2 * np.pi, 3)
    swing = sum(
        size_px * part * np.sin(2 * np.pi * y / (size_px * period) + start)
        for part, period, start in zip((0.05, 0.02, 0.008), (0.9, 0.37, 0.13), phase, strict=True)
    )
    # Runs from top to bottom between the western and the eastern area of interest, then bends
    # into both, so that each has its water.
    return LineString(np.stack([size_px * 0.52 + 1.6 * swing, y], axis=1))


def _water(rng: Generator, size_px: int, river: LineString) -> Mask:
    """Lakes and a river; the lakes are lower after."""
    hollow = fractal_noise(rng, size_px, 100, 2.6)
    stream = burn(size_px, [(river, min(9.0, size_px / 60))])
    return np.stack([(hollow > 2.0) | stream, (hollow > 2.15) | stream])


def _village_centres(rng: Generator, size_px: int, water: Mask) -> NDArray[np.float64]:
    """[village, (x, y)], by rows of the grid that they scatter around."""
    centres = _scattered(rng, size_px, VILLAGE_SPACING_PX, 0.2)
    dry = [not water[int(y), int(x)] for x, y in centres]
    return centres[dry]


def _roads(rng: Generator, size_px: int, centres: NDArray[np.float64]) -> Mask:
    """Roads between neighbouring villages, and a new trunk road from west to east."""
    kept, new, removed = [], [], []
    for start, stop in _neighbours(centres):
        line = _winding(rng, start, stop)
        chance = rng.uniform()
        if chance < 0.8:
            kept.append((line, 2.0))
        elif chance < 0.9:
            new.append((line, 3.6))
        elif chance < 0.93:
            removed.append((line, 3.0))
    for share in (0.3, 0.68)[: 2 if size_px > 512 else 1]:
        y = size_px * (share + rng.uniform(-0.05, 0.05))
        ends = (
            np.array([-20.0, y]),
            np.array([size_px + 20.0, y + rng.uniform(-0.1, 0.1) * size_px]),
        )
        new.append((_winding(rng, *ends), 4.5))
    always = burn(size_px, kept)
    return np.stack([always | burn(size_px, removed), always | burn(size_px, new)])


def _neighbours(
    centres: NDArray[np.float64],
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Pairs of villages less than 1.45 spacings apart."""
    for index, start in enumerate(centres):
        for stop in centres[index + 1 :]:
            if np.hypot(*(stop - start)) < 1.25 * VILLAGE_SPACING_PX:
                yield start, stop


def _winding(rng: Generator, start: NDArray[np.float64], stop: NDArray[np.float64]) -> LineString:
    share = np.linspace(0, 1, 24)[:, None]
    ahead = stop - start
    aside = np.array([-ahead[1], ahead[0]])
    sway = rng.uniform(-0.09, 0.09) * np.sin(np.pi * share)
    sway += rng.uniform(-0.03, 0.03) * np.sin(3 * np.pi * share)
    return LineString(start + share * ahead + sway * aside)


def _plots(
    rng: Generator, size_px: int, centres: NDArray[np.float64], taken: Mask
) -> tuple[Mask, NDArray[np.uint8]]:
    """Built-up plots and their roofs, [before/after, y, x]."""
    plot = np.zeros((2, size_px, size_px), dtype=bool)
    roof = np.zeros((2, size_px, size_px), dtype=np.uint8)
    occupied = np.zeros((size_px, size_px), dtype=bool)
    for place in (*_village_plots(rng, centres), *_lone_plots(rng, size_px)):
        window, inside, roofs = _draw_plot(rng, place, size_px)
        free = inside & ~taken[window]
        if occupied[window][inside].any() or free.sum() < 0.8 * inside.sum():
            continue
        occupied[window] |= inside
        for date in place.dates:
            plot[date][window] |= free
            roof[date][window] += np.where(free, roofs, 0).astype(np.uint8)
    return plot, roof


def _village_plots(rng: Generator, centres: NDArray[np.float64]) -> Iterator[Plot]:
    """Plots in a turned grid around each village centre, nearer cells likelier."""
    for x, y in centres:
        angle = rng.uniform(0, np.pi)
        width, height = rng.uniform(26, 40), rng.uniform(20, 30)
        for row, col in np.ndindex(3, 3):
            away = abs(row - 1) + abs(col - 1)
            if rng.uniform() > 0.95 - 0.28 * away:
                continue
            u, v = (col - 1) * (width + 2), (row - 1) * (height + 2)
            yield Plot(
                x + u * np.cos(angle) - v * np.sin(angle),
                y + u * np.sin(angle) + v * np.cos(angle),
                width * rng.uniform(0.8, 1.0),
                height * rng.uniform(0.8, 1.0),
                angle,
                kind=int(rng.choice([HOUSE, HOUSE, HOUSE, APARTMENT, HALL])),
                state=int(rng.choice([KEPT, NEW, DEMOLISHED], p=_STATES_NEAR[min(away, 1)])),
            )


_STATES_NEAR = ((0.8, 0.08, 0.12), (0.6, 0.31, 0.09))
"""Chances of kept, new and demolished: in the centre of a village, and around it."""


def _lone_plots(rng: Generator, size_px: int) -> Iterator[Plot]:
    """Farms, halls and estates anywhere, woods included."""
    for x, y in _scattered(rng, size_px, 120, 0.5):
        kind = int(rng.choice([HOUSE, HALL, HALL, APARTMENT]))
        yield Plot(
            x,
            y,
            rng.uniform(12, 44),
            rng.uniform(11, 30),
            rng.uniform(0, np.pi),
            kind,
            state=int(rng.choice([KEPT, NEW, DEMOLISHED], p=(0.35, 0.47, 0.18))),
        )


def _draw_plot(
    rng: Generator, place: Plot, size_px: int
) -> tuple[tuple[slice, slice], Mask, NDArray[np.uint8]]:
    """The window of a plot, its pixels inside, and the roofs there (0 yard)."""
    reach = int(np.hypot(place.width, place.height) / 2) + 2
    rows = slice(max(0, int(place.y) - reach), max(0, min(size_px, int(place.y) + reach)))
    cols = slice(max(0, int(place.x) - reach), max(0, min(size_px, int(place.x) + reach)))
    y, x = np.mgrid[rows, cols] + 0.5
    u = (x - place.x) * np.cos(place.angle) + (y - place.y) * np.sin(place.angle)
    v = (y - place.y) * np.cos(place.angle) - (x - place.x) * np.sin(place.angle)
    u, v = u + place.width / 2, v + place.height / 2
    inside = (u >= 0) & (u < place.width) & (v >= 0) & (v < place.height)
    along, across = PITCHES_PX[place.kind]
    cols_of_houses = u / place.width * max(1, round(place.width / along))
    rows_of_houses = v / place.height * max(1, round(place.height / across))
    return (rows, cols), inside, _roofs(rng, cols_of_houses, rows_of_houses, place.kind)


def _roofs(
    rng: Generator, u: NDArray[np.float64], v: NDArray[np.float64], kind: int
) -> NDArray[np.uint8]:
    """Roofs of a lattice of buildings, each of its own size and material; one a unit of u and v."""
    cell = (np.floor(v).astype(int) % 32, np.floor(u).astype(int) % 32)
    half = rng.uniform(0.27, 0.42, (2, 32, 32))
    stands = rng.uniform(size=(32, 32)) < (1.0 if kind == HALL else 0.9)
    material = rng.choice(ROOF_KINDS[kind], (32, 32)).astype(np.uint8)
    covered = (np.abs(u % 1 - 0.5) < half[0][cell]) & (np.abs(v % 1 - 0.5) < half[1][cell])
    return np.where(covered & stands[cell], material[cell], 0).astype(np.uint8)


def _gardens(rng: Generator, size_px: int, centres: NDArray[np.float64]) -> Mask:
    """Green land in and around the villages."""
    y, x = _coordinates(size_px)
    near = np.full((size_px, size_px), np.inf, dtype=np.float32)
    for centre_x, centre_y in centres.astype(np.float32):
        np.minimum(near, np.hypot(x - centre_x, y - centre_y), out=near)
    return near + 12 * fractal_noise(rng, size_px, 40, 1.8) < 40
