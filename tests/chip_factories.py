"""Small chip stores, made in this process without Ray."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import ChipLattice, RegionGrid
from noise2map_core.imagery.chip_header import plan_header
from noise2map_core.imagery.chip_plan import plan_chips
from noise2map_core.imagery.chip_source import ChipJob, make_shard
from noise2map_core.imagery.chip_writer import create_store, finish_store
from noise2map_core.imagery.config import ChipsConfig, NoLabels, RasterLabels, SplitConfig
from noise2map_core.imagery.labels import RasterLabelSource
from noise2map_core.imagery.splits import plan_splits
from tests.raster_factories import CRS, frame, noise, scene_of, write_tif

HEIGHT, WIDTH = 90, 110
BOX = frame(HEIGHT, WIDTH)
CHIPS = ChipsConfig(chip_px=16, stride_px=8)


@dataclass(frozen=True)
class Scenery:
    """The pixels from which a store is made."""

    images: NDArray[np.uint16]
    """[date, band, H, W]; 0 is nodata."""
    labels: NDArray[np.uint8]
    """[H, W] 0, 1, or 255 where there are none."""


def scenery() -> Scenery:
    """Two dates of two bands with nodata in places, and labels on two patches."""
    images = np.stack(
        [
            [noise(HEIGHT, WIDTH, "uint16", seed=2 * date + band) for band in range(2)]
            for date in range(2)
        ]
    )
    images[0, 0, :20, :30] = 0
    images[1, :, 70:, 100:] = 0
    labels = np.full((HEIGHT, WIDTH), 255, np.uint8)
    labels[5:60, 8:40] = np.random.default_rng(9).integers(0, 2, (55, 32))
    labels[30:85, 75:105] = 0
    return Scenery(images, labels)


def plan_store(
    folder: Path, store: Path, *, labelled: bool = True, split: SplitConfig | None = None
) -> ChipJob:
    """A store that is planned and not yet begun; its sources are written to `folder`."""
    pixels, split = scenery(), split or SplitConfig()
    dates = [_scene(folder, pixels, date) for date in range(2)]
    source, config = None, NoLabels()  # type: Any, Any
    if labelled:
        path = write_tif(folder / "labels.tif", pixels.labels, BOX, nodata=255)
        source = RasterLabelSource((scene_of(path, geobox=BOX, name="labels"),), (1,), (0,))
        config = RasterLabels(path=str(path))
    area = AreaOfInterest("area", BOX.geographic_extent.geom)
    grid = RegionGrid.covering(area, CRS, 10.0, tile_px=64)
    header = plan_header(grid, CHIPS, split, config, source, dates)
    lattice = ChipLattice(CHIPS.chip_px, CHIPS.stride_px)
    table = plan_chips(grid, lattice, plan_splits(split, grid), dates, source)
    return ChipJob(store, CHIPS, header, tuple(map(tuple, dates)), source, table)


def make_store(job: ChipJob, order: Iterable[int] | None = None) -> Path:
    """Write a planned store, its shards in `order`."""
    create_store(job.store, job.header, job.table)
    for shard in order if order is not None else range(job.num_shards):
        make_shard(job, shard)
    finish_store(job.store)
    return job.store


def _scene(folder: Path, pixels: Scenery, date: int) -> list[Any]:
    folder.mkdir(exist_ok=True)
    paths = [
        write_tif(folder / f"{date}-{band}.tif", pixels.images[date, band], BOX, nodata=0)
        for band in range(2)
    ]
    scene = scene_of(*paths, geobox=BOX, name=f"date{date}")
    return [replace(scene, datetime=scene.datetime + timedelta(days=400 * date))]
