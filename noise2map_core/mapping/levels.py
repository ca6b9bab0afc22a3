"""The levels of a mosaic: its full resolution, and overviews of a half of it, a quarter, …"""

from dataclasses import dataclass

from affine import Affine

from noise2map_core.geo.grid import RegionGrid

SMALLEST_PX = 256
"""There is a coarser level as long as a side is longer than this."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a mosaic."""

    factor: int
    """Pixels of the full resolution along one of this level: 1, 2, 4, …"""
    height: int
    width: int
    transform: Affine
    """From column and row to x and y."""

    @property
    def path(self) -> str:
        """The group that holds it, below the mosaic's; empty: the mosaic's own."""
        return "" if self.factor == 1 else f"overviews/{self.factor}"

    @property
    def bbox(self) -> list[float]:
        """West, south, east, north: alike at all levels."""
        west, north = self.transform @ (0, 0)
        east, south = self.transform @ (self.width, self.height)
        return [west, south, east, north]


def full(grid: RegionGrid) -> Level:
    """The level of all pixels of the tiles."""
    frame = grid.tile_frame
    return Level(1, frame.height, frame.width, grid.transform(frame))


def levels_of(grid: RegionGrid) -> list[Level]:
    """All levels, the finest first. A side that is odd is not halved: levels cover the same."""
    found = [full(grid)]
    while (last := found[-1]) and max(last.height, last.width) > SMALLEST_PX:
        if last.height % 2 or last.width % 2:
            break
        found.append(
            Level(
                2 * last.factor, last.height // 2, last.width // 2, last.transform @ Affine.scale(2)
            )
        )
    return found
