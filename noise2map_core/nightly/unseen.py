"""What a map could not see of objects that were there before."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes

from noise2map_core.geo.grid import Tile
from noise2map_core.mapping.mosaic import NO_DECISION, Mosaic

Shapes = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Unseen:
    """Of several objects, what has no decision."""

    pixels: NDArray[np.int64]
    """[object] How many of its pixels those are ..."""
    of: NDArray[np.int64]
    """... among how many in all."""
    parts: Shapes
    """[object] Where they are; empty where there are none."""

    @property
    def mostly(self) -> NDArray[np.bool_]:
        """[object] True for one that cannot be called gone: most of it was not seen."""
        return 2 * self.pixels > self.of


def unseen_of(objects: Shapes, mosaic: Mosaic) -> Unseen:
    """What a mosaic does not decide of objects, in the CRS of its grid."""
    count, grid = len(objects), mosaic.grid
    pixels, of = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    parts: list[list[shapely.Geometry]] = [[] for _ in range(count)]
    tree = shapely.STRtree(objects)
    for row, col in np.concatenate([grid.tiles_in(rows) for rows in grid.bands()]).tolist():
        box = grid.tile_boxes(np.array([[row, col]], np.int32))[0]
        inside = np.sort(tree.query(box, "intersects"))
        if not len(inside):
            continue
        window = grid.window(Tile(row, col))
        transform = grid.transform(window)
        labels = rasterize(
            ((objects[one], one + 1) for one in inside.tolist()),
            (window.height, window.width), transform=transform, dtype=np.int32,
        )  # fmt: skip
        hidden = np.where(mosaic.read("class", window) == NO_DECISION, labels, 0)
        of += np.bincount(labels.ravel(), minlength=count + 1)
        pixels += np.bincount(hidden.ravel(), minlength=count + 1)
        for shape, label in shapes(hidden, hidden > 0, transform=transform):
            parts[int(label) - 1].append(shapely.geometry.shape(shape))
    joined = np.array([shapely.MultiPolygon(some) for some in parts], np.object_)
    return Unseen(pixels[1:], of[1:], joined if count else np.zeros(0, np.object_))


def nothing_unseen(count: int) -> Unseen:
    """Of objects that were all seen."""
    none = np.zeros(count, np.int64)
    return Unseen(none, none, np.array([shapely.MultiPolygon()] * count, np.object_))
