"""A region to be mapped: which scenes make which tile, and which tiles are still to be made.

Nothing here needs torch, so that a run with nothing to do is over at once.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from noise2map_core.catalog.overpasses import PassPairs
from noise2map_core.catalog.scene import Scene
from noise2map_core.detectors.compared import ALGORITHM_VERSION as COMPARED_VERSION
from noise2map_core.detectors.compared import ComparedSpec
from noise2map_core.detectors.parts import Part
from noise2map_core.detectors.spec import DetectorSpec, MapSpec, MapTask
from noise2map_core.geo.grid import ChipLattice, RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.imagery.footprints import footprints_on
from noise2map_core.imagery.recipe import UNCHANGED, PixelRecipe, scene_key
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.inference.scene_light import SceneLight
from noise2map_core.mapping.shards import ARRAYS, Shards
from noise2map_core.runtime.digest import canonical_json, digest_of
from noise2map_core.settings.network import Task

ALGORITHM_VERSION = 5
"""Raised when the same inputs give other pixels; every tile is then made again."""

REASONS_VERSION = 2
"""Raised when masked pixels get other reasons: 2 tells shadow from cloud."""

TouchingScenes = tuple[tuple[int, ...], ...]
"""Numbers of scenes, by date."""

PLACE = "place of the tile"
"""Stands in a key's document where the tile's row and column come."""


NUM_TURNS = 8
"""Ways to lay a square: four quarter turns, of it and of its mirror image."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A forward pass: its timestep, whether it sees the dates in reversed order, and how chips are
    laid: quarter turns, from 4 on of the mirror image."""

    timestep: int
    reversed_dates: bool = False
    turn: int = 0

    def key(self) -> list[Any]:
        """What enters a tile's key; it is what it was before chips could be turned."""
        return [self.timestep, self.reversed_dates, *([self.turn] if self.turn else [])]


@dataclass(frozen=True)
class RegionJob:
    """All that a worker needs to make any tile of one run. Small, picklable, read-only."""

    output: Path
    grid: RegionGrid
    spec: MapSpec
    checkpoint: Path
    """Of a detector, its name."""
    lattice: ChipLattice
    timesteps: tuple[int, ...]
    path: NumericPath
    before: tuple[Scene, ...]
    """Scenes of the first date, the one to be preferred first."""
    after: tuple[Scene, ...]
    identities: dict[str, str]
    """Identity of each asset by href."""
    dtype: str
    """Pixel type of the imagery."""
    fence: int
    """Fencing number of the run."""
    task_name: Task = "change"
    recipe: PixelRecipe = UNCHANGED
    """How the pixels of a date come about."""
    light: SceneLight | None = None
    """Centre and spread of each date of the region, by which a network normalises; None: it has
    its own."""
    evidence: tuple[Pass, ...] = ()
    """Forward passes whose disagreement is written beside the map; empty: none."""

    @property
    def task(self) -> MapTask:
        """What the map shows."""
        return self.spec.tasks[self.task_name]

    @property
    def dates(self) -> tuple[tuple[Scene, ...], ...]:
        """The scenes of each date that the network sees; segmentation has one, `after`."""
        return (self.after,) if self.task_name == "segment" else (self.before, self.after)

    @cached_property
    def pairs(self) -> PassPairs:
        """The pairs of overpasses that the map's pixels may come from."""
        return PassPairs.of(self.before, self.after)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Of a detector with statistics of several pairs of overpasses, these; else none."""
        fitted = self.spec.fitted if isinstance(self.spec, DetectorSpec) else None
        return fitted.parts if fitted else ()

    @property
    def part_names(self) -> list[str]:
        """Of the parts, for people: their days."""
        return ["other scenes", *(self.pairs.name(part.pair) for part in self.parts[1:])]

    @property
    def layers(self) -> tuple[str, ...]:
        """Arrays of the mosaic besides those that every mosaic has."""
        directions = ("direction",) if isinstance(self.spec, ComparedSpec) else ()
        return (*(("disagreement",) if self.evidence else ()), *directions)

    @property
    def shards(self) -> Shards:
        """Where the pixels of the map lie."""
        return Shards(self.output / "mosaic.zarr", self.grid, (*ARRAYS, *self.layers))

    def cover(self, tile: Tile) -> Window:
        """The pixels that a tile reads: itself and its halo."""
        return self.lattice.cover(self.grid.window(tile))

    def scenes(self, tile: Tile) -> list[list[Scene]]:
        """The scenes of each date that touch a tile or its halo, in order."""
        (numbers,) = self._touching(np.array([[tile.row, tile.col]], np.int32))
        return [
            [scenes[number] for number in found]
            for scenes, found in zip(self.dates, numbers, strict=True)
        ]

    def key(self, tile: Tile) -> str:
        """The digest of everything that the tile's pixels depend on."""
        return self.keys(np.array([[tile.row, tile.col]], np.int32))[0]

    def keys(self, tiles: NDArray[np.int32]) -> list[str]:
        """The keys of tiles [tile, (row, col)]: `digest_of` the place and all that is behind it.

        Most tiles are made of the same scenes: what they share is digested once.
        """
        begun: dict[TouchingScenes, tuple[Any, str]] = {}
        found = []
        for (row, col), scenes in zip(tiles.tolist(), self._touching(tiles), strict=True):
            if scenes not in begun:
                begun[scenes] = self._begin_key(scenes)
            start, rest = begun[scenes]
            digest = start.copy()
            digest.update(f"{row},{col}{rest}".encode())
            found.append(digest.hexdigest())
        return found

    def _begin_key(self, scenes: TouchingScenes) -> tuple[Any, str]:
        """The digest up to the tile's place, and what comes after it."""
        names = ("before", "after")[-len(self.dates) :]
        sources = {
            name: [scene_key(of_date[n], self.identities, self.recipe) for n in numbers]
            for name, of_date, numbers in zip(names, self.dates, scenes, strict=True)
        }
        text = canonical_json({"tile": [PLACE], **sources, **self._constant_key})
        head, rest = text.split(f'"{PLACE}"')
        return sha256(head.encode()), rest

    def _touching(self, tiles: NDArray[np.int32]) -> list[TouchingScenes]:
        """The numbers of the scenes of each date that touch each tile or its halo."""
        frames = self._frames(tiles)
        by_date = [_queried(footprints, frames) for footprints in self._footprints]
        return list(zip(*by_date, strict=True))

    def _frames(self, tiles: NDArray[np.int32]) -> NDArray[np.object_]:
        """The tiles with all that they read, a pixel more on each side, in the grid's CRS."""
        margin = self.recipe.reach_px + 1
        (rows, row_of), (cols, col_of) = (
            np.unique(tiles[:, axis], return_inverse=True) for axis in (0, 1)
        )
        tall = [self.cover(Tile(int(row), int(cols[0]))).grow(margin) for row in rows]
        wide = [self.cover(Tile(int(rows[0]), int(col))).grow(margin) for col in cols]
        lines = np.array([[window.row, window.row_stop] for window in tall])[row_of]
        columns = np.array([[window.col, window.col_stop] for window in wide])[col_of]
        north, south = self.grid.y_origin - self.grid.resolution * lines.T
        west, east = self.grid.x_origin + self.grid.resolution * columns.T
        frames: NDArray[np.object_] = shapely.box(west, south, east, north)
        return frames

    def inside(self, tile: Tile) -> NDArray[np.bool_]:
        """Which pixels [tile_px, tile_px] have their centre in the area of interest."""
        window = self.grid.window(tile)
        mask: NDArray[np.bool_] = geometry_mask(
            [self.grid.outline],
            (window.height, window.width),
            self.grid.transform(window),
            invert=True,
        )
        return mask

    @cached_property
    def _constant_key(self) -> dict[str, Any]:
        return {
            "algorithm": ALGORITHM_VERSION,
            "model": self.spec.digest,
            "path": self.path.as_dict(),
            "chip_px": self.lattice.chip_px,
            "stride_px": self.lattice.stride_px,
            "timesteps": list(self.timesteps),
            "crs": self.grid.crs,
            "resolution": self.grid.resolution,
            "origin": [self.grid.x_origin, self.grid.y_origin],
            "outline": digest_of(shapely.to_wkt(self.grid.outline, rounding_precision=3)),
            **self._departures,
        }

    @property
    def _departures(self) -> dict[str, Any]:
        """Only what is set enters the key: an output made before there was a choice stays good."""
        task = {} if self.task_name == "change" else {"task": self.task_name}
        passes = [one.key() for one in self.evidence]
        pixels, told_apart = self.recipe.key(), {"reasons": REASONS_VERSION}
        light = {} if self.light is None else {"light": self.light.digest}
        return (
            task | ({"evidence": passes} if passes else {}) | ({"pixels": pixels} if pixels else {})
            | (told_apart if self.recipe.masked else {})
            | ({"compared": COMPARED_VERSION} if isinstance(self.spec, ComparedSpec) else {})
            | light
        )  # fmt: skip

    @cached_property
    def _footprints(self) -> list[shapely.STRtree]:
        """Footprints of each date in the grid's CRS."""
        return [shapely.STRtree(footprints_on(self.grid, scenes)) for scenes in self.dates]


def _queried(footprints: shapely.STRtree, frames: NDArray[np.object_]) -> list[tuple[int, ...]]:
    """For each frame the numbers of the footprints that it meets, ascending."""
    frame, number = footprints.query(frames, "intersects")
    order = np.lexsort((number, frame))
    ends = np.searchsorted(frame[order], np.arange(len(frames) + 1)).tolist()
    numbers = number[order].tolist()
    return [tuple(numbers[start:end]) for start, end in pairwise(ends)]
