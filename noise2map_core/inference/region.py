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
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.mapping.ledger import Ledger
from noise2map_core.models.spec import CheckpointSpec, TaskSpec

ALGORITHM_VERSION = 3
"""Raised when the same inputs give other pixels; every tile is then made again."""


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

    @property
    def task(self) -> TaskSpec:
        """What the map shows."""
        return self.spec.tasks["change"]

    def cover(self, tile: Tile) -> Window:
        """The pixels that a tile reads: itself and its halo."""
        return self.lattice.cover(self.grid.window(tile))

    def scenes(self, tile: Tile) -> tuple[list[Scene], list[Scene]]:
        """The scenes before and after that touch a tile or its halo, in order."""
        frame = self.grid.bounds_polygon(self.cover(tile).grow(1))
        before, after = (
            [scene for scene, footprint in zip(scenes, footprints, strict=True)
             if footprint.intersects(frame)]
            for scenes, footprints in (
                (self.before, self._footprints[0]), (self.after, self._footprints[1])
            )
        )  # fmt: skip
        return before, after

    def key(self, tile: Tile) -> str:
        """The digest of everything that the tile's pixels depend on."""
        before, after = self.scenes(tile)
        return digest_of(
            {
                "tile": [tile.row, tile.col],
                "before": [self._assets(scene) for scene in before],
                "after": [self._assets(scene) for scene in after],
                **self._constant_key,
            }
        )

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

    def _assets(self, scene: Scene) -> list[list[Any]]:
        return [[self.identities[b.href], b.band, b.nodata] for b in scene.bands]

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
        }

    @cached_property
    def _footprints(self) -> tuple[list[BaseGeometry], list[BaseGeometry]]:
        """Footprints in the grid's CRS."""
        before, after = (
            [_projected(scene, self.grid.crs) for scene in scenes]
            for scenes in (self.before, self.after)
        )
        return before, after


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
