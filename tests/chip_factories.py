"""Small chip stores, made in this process without Ray."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.append import begin, finish, look_at
from noise2map_core.chips.header import plan_header
from noise2map_core.chips.manifest import object_digest, read_manifest
from noise2map_core.chips.pixels import ChipJob, make_shard
from noise2map_core.chips.plan import plan_chips
from noise2map_core.chips.sources import Ingest, dump_sources
from noise2map_core.chips.writer import create_store, finish_store
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import ChipLattice, RegionGrid
from noise2map_core.labels.layers import RasterLayer
from noise2map_core.labels.sources import CLASSES, LabelSource
from noise2map_core.labels.splits import plan_splits
from noise2map_core.settings.chips import ChipsConfig
from noise2map_core.settings.labels import SplitConfig
from tests.raster_factories import CRS, frame, noise, scene_of, write_tif

HEIGHT, WIDTH = 90, 110
BOX = frame(HEIGHT, WIDTH)
AREA = AreaOfInterest("area", BOX.geographic_extent.geom)
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


def changed_land() -> Scenery:
    """Smooth ground under other light at the second date, with squares that have changed."""
    row, col = np.indices((HEIGHT, WIDTH))
    change = (row % 22 < 9) & (col % 18 < 9)
    rng = np.random.default_rng(4)
    ground = 3000 + 400 * np.stack([np.sin(row / 9) + np.cos(col / 7), np.sin((row + col) / 5)])
    dates = np.stack([ground, 1.2 * ground + 100 + 250 * change])
    images = (dates + rng.normal(0, 20, dates.shape)).astype(np.uint16)
    images[1, :, 80:, 100:] = 0
    return Scenery(images, change.astype(np.uint8))


def plan_store(
    folder: Path,
    store: Path,
    *,
    labelled: bool = True,
    classes: Sequence[str] = (),
    split: SplitConfig | None = None,
    area: AreaOfInterest | None = None,
    chips: ChipsConfig = CHIPS,
    place: str = "here",
    pixels: Scenery | None = None,
) -> ChipJob:
    """A store that is planned and not yet begun; its sources are written to `folder`.

    Its labels are of change, or with `classes` of these, at each date; its pixels the scenery's.
    """
    pixels, split = pixels or scenery(), split or SplitConfig()
    dates = [_scene(folder, pixels, date) for date in range(2)]
    labels = class_labels(folder, pixels, classes) if classes else change_labels(folder, pixels)
    source = labels if labelled else None
    grid = RegionGrid.covering(area or AREA, CRS, 10.0, tile_px=64)
    places = plan_splits(split, grid)
    header = plan_header(grid, chips, split.buffer_px, places, source, dates, place)
    lattice = ChipLattice(chips.chip_px, chips.stride_px)
    table = plan_chips(grid, lattice, places, dates, source)
    scenes = tuple(map(tuple, dates))
    ingest = Ingest(0, table.num_chips, grid, chips, scenes, source, header.identities)
    return ChipJob(store, header, (ingest,), table)


def append_store(path: Path, job: ChipJob, **changes: Any) -> int:
    """What `ingest-region` does with a planned store; returns the shards that were written."""
    header = replace(job.header, **changes)
    standing = look_at(path, header, len(job.ingests[0].dates))
    if standing.current and standing.store:
        return 0
    todo = begin(path, standing.store, header, job.ingests[0], job.table)
    if todo is None:
        return 0
    shards = range(todo.first_shard, todo.num_shards)
    for shard in shards:
        make_shard(todo, shard)
    finish(path, todo)
    return len(shards)


def store_of_places(folder: Path, names: Sequence[str], chips: ChipsConfig = CHIPS) -> Path:
    """A store of strips of the scenery, from north to south, each a place of its own."""
    path, height = folder / "chips.zarr", HEIGHT // len(names)
    for number, name in enumerate(names):
        strip = BOX[number * height : (number + 1) * height, :]
        area = AreaOfInterest(name, strip.geographic_extent.geom)
        job = plan_store(folder / "sources", path, area=area, place=name, chips=chips,
                         split=SplitConfig(buffer_px=0))  # fmt: skip
        append_store(path, job)
    return path


def change_labels(folder: Path, pixels: Scenery) -> LabelSource:
    """The scenery's labels as a raster of change."""
    path = write_tif(folder / "labels.tif", pixels.labels, BOX, nodata=255)
    layer = RasterLayer((scene_of(path, geobox=BOX, name="labels"),), ((0,), (1,)))
    return LabelSource(layer, (), False, {"change": CLASSES})


def class_labels(folder: Path, pixels: Scenery, classes: Sequence[str]) -> LabelSource:
    """Fields of different classes, where the scenery has labels; the same at both dates."""
    row, col = np.indices(pixels.labels.shape)
    fields = ((row // 9 + 2 * (col // 11)) % len(classes)).astype(np.uint8)
    values = np.where(pixels.labels == 255, pixels.labels, fields)
    path = write_tif(folder / "classes.tif", values, BOX, nodata=255)
    meant = tuple((value,) for value in range(len(classes)))
    layer = RasterLayer((scene_of(path, geobox=BOX, name="labels"),), meant)
    table = [{"value": value, "name": name} for value, name in enumerate(classes)]
    return LabelSource(None, (layer, layer), False, {"segment": table})


def make_store(job: ChipJob, order: Iterable[int] | None = None) -> Path:
    """Write a planned store, its shards in `order`."""
    create_store(job.store, job.header, job.table, dump_sources(job.ingests[0]))
    for shard in order if order is not None else range(job.num_shards):
        make_shard(job, shard)
    finish_store(job.store)
    return job.store


def list_anew(store: Path, key: str) -> None:
    """Make the manifest agree with an object that was changed on purpose."""
    manifest = read_manifest(store)
    objects = {**manifest.objects, key: object_digest(store / key) or []}
    (store / "manifest.json").write_bytes(replace(manifest, objects=objects).to_bytes())


def _scene(folder: Path, pixels: Scenery, date: int) -> list[Any]:
    folder.mkdir(exist_ok=True)
    paths = [
        write_tif(folder / f"{date}-{band}.tif", pixels.images[date, band], BOX, nodata=0)
        for band in range(2)
    ]
    scene = scene_of(*paths, geobox=BOX, name=f"date{date}")
    return [replace(scene, datetime=scene.datetime + timedelta(days=400 * date))]
