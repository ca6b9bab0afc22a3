"""Finished mosaics with scenes behind them, for tests of what is made of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.mapping.mosaic import Mosaic, TileMap
from noise2map_core.products.subject import MapSubject
from tests.raster_factories import CRS, ORIGIN, frame, noise, scene_of, write_tif

CLASSES: list[dict[str, Any]] = [
    {"value": 0, "name": "unchanged", "color": "#cccccc"},
    {"value": 1, "name": "changed", "color": "#d7191c"},
]


def blobs(height: int, width: int, seed: int = 0, sigma: float = 4) -> NDArray[np.uint8]:
    """About a third of the pixels 1, in blobs; a corner without decision."""
    rough = np.random.default_rng(seed).normal(size=(height, width))
    classes = (ndimage.gaussian_filter(rough, sigma) > 0.12 / sigma).astype(np.uint8)
    classes[: height // 8, : width // 8] = 255
    return classes


def region_grid(height: int, width: int, tile_px: int) -> RegionGrid:
    """Pixels of 10 m from the corner of `raster_factories.frame` on."""
    region = Window(-round(ORIGIN[1] / 10), round(ORIGIN[0] / 10), height, width)
    return RegionGrid(CRS, 10.0, 0.0, 0.0, tile_px, region, shapely.box(-1e8, -1e8, 1e8, 1e8))


def write_mosaic(
    path: Path, classes: NDArray[np.uint8], tile_px: int = 64, table: Any = CLASSES,
    reasons: NDArray[np.uint8] | None = None,
) -> Mosaic:  # fmt: skip
    """A mosaic with these classes [H, W]; probabilities fit them, and reasons unless given."""
    height, width = classes.shape
    grid = region_grid(height, width, tile_px)
    if reasons is None:
        reasons = (classes == 255) * np.uint8(4)
    whole, why = (
        np.full((grid.tile_frame.height, grid.tile_frame.width), fill, np.uint8)
        for fill in (255, 4)
    )
    whole[grid.region.slices_in(grid.tile_frame)] = np.where(reasons > 0, 255, classes)
    why[grid.region.slices_in(grid.tile_frame)] = reasons
    mosaic = Mosaic.create(path, grid, table)
    for number, tile in enumerate(grid.tiles()):
        part = whole[grid.window(tile).slices_in(grid.tile_frame)]
        rough = np.random.default_rng(number).integers(0, 4000, part.shape)
        probability = np.where(part == 255, 65_535, rough + 6000 * (part > 0)).astype(np.uint16)
        here = why[grid.window(tile).slices_in(grid.tile_frame)]
        mosaic.write(tile, TileMap(part, probability, part != 255, here))
    return mosaic


def subject_of(folder: Path, height: int, width: int, name: str = "somewhere") -> MapSubject:
    """What the mosaic is of: two scenes of two bands on its grid."""
    folder.mkdir(exist_ok=True)
    geobox = frame(height, width)
    scenes = []
    for year in (2020, 2021):
        files = [
            write_tif(folder / f"{year}-{band}.tif", noise(height, width, seed=band), geobox)
            for band in range(2)
        ]
        scene = scene_of(*files, geobox=geobox, name=f"scene-{year}")
        scenes.append(replace(scene, datetime=scene.datetime.replace(year=year)))
    area = AreaOfInterest(name, geobox.geographic_extent.geom)
    model = {"checkpoint": "checkpoint", "digest": "0" * 64}
    return MapSubject(area, scenes[:1], scenes[1:], ("b0", "b1"), CLASSES, model)
