"""A region to be mapped: which scenes make which tile, and which tiles are still to be made.

Nothing here needs torch, so that a run with nothing to do is over at once.
"""

from array import array
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geom import Geometry
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from noise2map_core.catalog.scene import Scene
from noise2map_core.digest import digest_of
from noise2map_core.geo.grid import ChipLattice, RegionGrid, Tile
from noise2map_core.geo.window import Window
from noise2map_core.imagery.recipe import UNCHANGED, PixelRecipe, scene_key
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.mapping.ledger import Ledger
from noise2map_core.models.spec import CheckpointSpec, Task, TaskSpec

ALGORITHM_VERSION = 3
"""Raised when the same inputs give other pixels; every tile is then made again."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A forward pass: its timestep, and whether it sees the dates in reversed order."""

    timestep: int
    reversed_dates: bool = False


@dataclass(frozen=True)
class RegionJob:
    """All that a worker needs to make any tile of one run. Small, picklable, read-only."""

    output: Path
    grid: RegionGrid
    spec: CheckpointSpec
    checkpoint: Path
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
    evidence: tuple[Pass, ...] = ()
    """Forward passes whose disagreement is written beside the map; empty: none."""

    @property
    def task(self) -> TaskSpec:
        """What the map shows."""
        return self.spec.tasks[self.task_name]

    @property
    def dates(self) -> tuple[tuple[Scene, ...], ...]:
        """The scenes of each date that the network sees; segmentation has one, `after`."""
        return (self.after,) if self.task_name == "segment" else (self.before, self.after)

    @property
    def layers(self) -> tuple[str, ...]:
        """Arrays of the mosaic besides those that every mosaic has."""
        return ("disagreement",) if self.evidence else ()

    def cover(self, tile: Tile) -> Window:
        """The pixels that a tile reads: itself and its halo."""
        return self.lattice.cover(self.grid.window(tile))

    def scenes(self, tile: Tile) -> list[list[Scene]]:
        """The scenes of each date that touch a tile or its halo, in order."""
        frame = self.grid.bounds_polygon(self.cover(tile).grow(1))
        return [
            [scenes[number] for number in sorted(footprints.query(frame, "intersects"))]
            for scenes, footprints in zip(self.dates, self._footprints, strict=True)
        ]

    def key(self, tile: Tile) -> str:
        """The digest of everything that the tile's pixels depend on."""
        names = ("before", "after")[-len(self.dates) :]
        sources = {
            name: [scene_key(scene, self.identities, self.recipe) for scene in scenes]
            for name, scenes in zip(names, self.scenes(tile), strict=True)
        }
        return digest_of({"tile": [tile.row, tile.col], **sources, **self._constant_key})

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
        passes = [[one.timestep, one.reversed_dates] for one in self.evidence]
        pixels = self.recipe.key()
        return (
            task | ({"evidence": passes} if passes else {}) | ({"pixels": pixels} if pixels else {})
        )

    @cached_property
    def _footprints(self) -> list[shapely.STRtree]:
        """Footprints of each date in the grid's CRS."""
        return [
            shapely.STRtree([_projected(scene, self.grid.crs) for scene in scenes])
            for scenes in self.dates
        ]


def _projected(scene: Scene, crs: str) -> BaseGeometry:
    footprint = Geometry(shapely.from_wkb(scene.footprint_wkb), "EPSG:4326")
    return footprint.to_crs(crs, resolution="auto").geom


@dataclass(frozen=True, slots=True)
class RegionDiff:
    """What a ledger says of a region that is wanted now."""

    tiles: int
    """Tiles of the region."""
    todo: NDArray[np.int32]
    """[tile, (row, col)] of the tiles that are not done under the wanted key, by rows."""
    digest: str
    """Digest of every tile's wanted key, in order."""


def compare_ledger(job: RegionJob, ledger: Ledger) -> RegionDiff:
    """Which tiles a run has to make: those whose newest record is not done under their key."""
    done = ledger.done_keys()
    todo, digest, count = array("i"), sha256(), 0
    for tile in job.grid.tiles():
        key = job.key(tile)
        digest.update(key.encode())
        count += 1
        if done.get(tile) != key:
            todo.extend((tile.row, tile.col))
    return RegionDiff(count, np.array(todo, np.int32).reshape(-1, 2), digest.hexdigest())
