"""From the samples of a data set to the chips of a store.

Places have no common ground, and mostly none on the map: each is a grid of plain pixels of its own,
with its upper left corner at (0, 0) and a local coordinate system by its name. So footprints of
different places are never compared.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from noise2map_core.chips.pixels import cut
from noise2map_core.chips.plan import ChipTable
from noise2map_core.chips.store import CHIPS_PER_SHARD, LABEL_ARRAYS, UNKNOWN_TIME, Columns
from noise2map_core.chips.writer import ShardContent, ShardRecord, StoreHeader, write_shard
from noise2map_core.datasets.images import ImageInfo, inspect_image, read_observed, read_rgb
from noise2map_core.datasets.inspection import files_of, inspected
from noise2map_core.datasets.masks import read_mask
from noise2map_core.datasets.sample import ALL_ROWS, Benchmark, MaskRule, Sample
from noise2map_core.geo.grid import ChipLattice, RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.labels import IGNORE
from noise2map_core.runtime.digest import digest_of, file_sha256
from noise2map_core.runtime.errors import ConfigError

ALGORITHM_VERSION = 1
"""Raised when the same files give other chips; a store made before is then another store."""

TILE_PX = 512
BANDS = ("red", "green", "blue")


@dataclass(frozen=True)
class DatasetJob:
    """All that is needed to make any shard of one store. Read-only."""

    store: Path
    benchmark: Benchmark
    header: StoreHeader
    table: ChipTable
    sample: NDArray[np.int64]
    """[chip] number of the sample that a chip is cut from."""

    @property
    def num_shards(self) -> int:
        """Shards of the store."""
        return -(-len(self.sample) // CHIPS_PER_SHARD)


def plan_job(benchmark: Benchmark, chip_px: int, store: Path) -> DatasetJob:
    """Cut every image on a lattice of `chip_px` without overlap; reads all files for their digest.

    Raises AssetReadError, and ConfigError for files that do not fit each other.
    """
    benchmark, infos = inspected(benchmark)
    shapes = [infos[sample.images[0]].shape for sample in benchmark.samples]
    if (px := benchmark.sizing.px) is not None:
        shapes = [(px, px)] * len(shapes)
    sample, windows = _cut(benchmark, shapes, chip_px)
    header = _header(benchmark, infos, shapes, chip_px)
    return DatasetJob(store, benchmark, header, _table(benchmark, header, sample, windows), sample)


def make_shard(job: DatasetJob, shard: int) -> ShardRecord:
    """Read, write and record one shard. Raises AssetReadError; OSError if it cannot be written."""
    start = shard * CHIPS_PER_SHARD
    chips = range(start, min(start + CHIPS_PER_SHARD, len(job.sample)))
    mine = slice(chips.start, chips.stop)
    splits, places = (names[mine] for names in job.header.names_of(job.table))
    groups = [list(group) for _, group in groupby(chips, lambda chip: int(job.sample[chip]))]
    parts = [_read_group(job, group) for group in groups]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    counted = np.stack([_inside(job, chip) for chip in chips])
    return write_shard(job.store, shard, ShardContent(arrays, splits, places, counted))


def _cut(
    benchmark: Benchmark, shapes: Sequence[tuple[int, int]], chip_px: int
) -> tuple[NDArray[np.int64], list[tuple[Window, Window]]]:
    """Sample, pixels and stored pixels of every chip."""
    lattice = ChipLattice(chip_px, chip_px)
    samples, windows = [], []
    for number, shape in enumerate(shapes):
        image = _part(shape, benchmark.samples[number].rows, chip_px)
        for chip in lattice.chips_touching(image):
            clip = chip.intersect(image)
            if clip == chip or not benchmark.whole_chips:
                samples.append(number)
                windows.append((chip, clip))
    if not windows:
        raise ConfigError(
            f"no image of {benchmark.root} is as large as a chip of {chip_px} pixels."
        )
    return np.asarray(samples, np.int64), windows


def _part(shape: tuple[int, int], rows: tuple[float, float], chip_px: int) -> Window:
    """The pixels of an image that a sample has: all columns, whole chips of its rows."""
    if rows == ALL_ROWS:
        return Window(0, 0, *shape)
    first, stop = (min(round(row * shape[0] / chip_px) * chip_px, shape[0]) for row in rows)
    return Window(first, 0, shape[0] - first if rows[1] == 1 else stop - first, shape[1])


def _header(
    benchmark: Benchmark,
    infos: dict[Path, ImageInfo],
    shapes: Sequence[tuple[int, int]],
    chip_px: int,
) -> StoreHeader:
    first = infos[benchmark.samples[0].images[0]]
    gsd = benchmark.gsd * first.shape[0] / shapes[0][0]
    region = Window(0, 0, max(height for height, _ in shapes), max(width for _, width in shapes))
    outline = shapely.box(0, -region.height * gsd, region.width * gsd, 0)
    places = dict.fromkeys(sample.place for sample in benchmark.samples)
    return StoreHeader(
        key=_key(benchmark, chip_px),
        grid=RegionGrid(_local_crs("pixels"), gsd, 0.0, 0.0, TILE_PX, region, outline),
        chip_px=chip_px,
        stride_px=chip_px,
        dtype=first.dtype,
        bands=[
            {"name": name, "common_name": name, "scale": None, "offset": None, "nodata": None}
            for name in BANDS
        ],
        classes=benchmark.classes,
        splits=tuple(dict.fromkeys(sample.split for sample in benchmark.samples)),
        buffer_px=0,
        items=_items(benchmark),
        crs_table=tuple(_local_crs(place) for place in places),
        places=tuple(area for area, _ in _scenes(benchmark)),
        dataset=_origin(benchmark),
    )


def _scenes(benchmark: Benchmark) -> dict[tuple[str, int | datetime], int]:
    """Code of every scene: one area at one time, or, where nobody says when, at one date of the
    pairs."""
    each = dict.fromkeys(key for sample in benchmark.samples for key in _scenes_of(sample))
    return {key: code for code, key in enumerate(each)}


def _scenes_of(sample: Sample) -> list[tuple[str, int | datetime]]:
    times = sample.datetimes or range(len(sample.images))
    return [(sample.area or sample.place, time) for time in times]


def _local_crs(name: str) -> str:
    """WKT of a plane that is nowhere on Earth."""
    return f'LOCAL_CS["{name}",UNIT["metre",1]]'


def _origin(benchmark: Benchmark) -> dict[str, Any]:
    names = ("kind", "task", "protocol", "selected_on", "evaluated_on", "attribution", "dropped")
    told = {"release": benchmark.release, "notes": list(benchmark.notes)}
    return {
        **{name: getattr(benchmark, name) for name in names},
        **{name: value for name, value in told.items() if value},
    }


def _key(benchmark: Benchmark, chip_px: int) -> str:
    """Digest of the settings and of every file."""
    files = list(dict.fromkeys(path for s in benchmark.samples for path in files_of(s)))
    with ThreadPoolExecutor() as pool:
        digests = dict(
            zip(map(benchmark.name_of, files), pool.map(file_sha256, files), strict=True)
        )
    samples = [
        [
            s.place,
            s.split,
            *([benchmark.name_of(p) for p in part] for part in _parts(s)),
            *([s.rows] if s.rows != ALL_ROWS else []),
        ]
        for s in benchmark.samples
    ]
    settings: dict[str, Any] = {
        "chip_px": chip_px, "gsd": benchmark.gsd, "algorithm": ALGORITHM_VERSION,
    }  # fmt: skip
    if benchmark.masks.table:
        settings["masks"] = sorted(benchmark.masks.table.items())
    if benchmark.sizing.by != "gdal":
        settings["resized_as"] = benchmark.sizing.by
    return digest_of([settings, _origin(benchmark), samples, digests])


def _parts(sample: Sample) -> tuple[tuple[Path, ...], ...]:
    return sample.images, sample.segment, sample.change


def _dated_images(benchmark: Benchmark) -> dict[Path, int | None]:
    """Every image once, with its seconds since 1970 if they are known."""
    return {
        path: int(sample.datetimes[date].timestamp()) if sample.datetimes else None
        for sample in benchmark.samples
        for date, path in enumerate(sample.images)
    }


def _items(benchmark: Benchmark) -> list[dict[str, Any]]:
    return [
        {
            "id": benchmark.name_of(path),
            "collection": benchmark.kind,
            "datetime": "" if time is None else f"{np.datetime64(time, 's')}Z",
            "href": benchmark.name_of(path),
            "attribution": benchmark.attribution,
        }
        for path, time in _dated_images(benchmark).items()
    ]


def _table(
    benchmark: Benchmark,
    header: StoreHeader,
    sample: NDArray[np.int64],
    windows: list[tuple[Window, Window]],
) -> ChipTable:
    samples, times = benchmark.samples, _dated_images(benchmark)
    number = {path: index for index, path in enumerate(times)}
    place = {name: code for code, name in enumerate(dict.fromkeys(s.place for s in samples))}
    corners = np.asarray([(chip.row, chip.col) for chip, _ in windows], np.int64)
    clips = [(clip.row, clip.col, clip.height, clip.width) for _, clip in windows]
    scenes = _scenes(benchmark)
    known = [[_seconds(times[path]) for path in s.images] for s in samples]
    return ChipTable(
        row=corners[:, 0],
        col=corners[:, 1],
        clip=np.asarray(clips, np.int64),
        split=np.asarray([header.splits.index(s.split) for s in samples], np.uint8)[sample],
        datetime=np.asarray(known, np.int64)[sample],
        items=np.asarray([[[number[p]] for p in s.images] for s in samples], np.int32)[sample],
        crs=np.asarray([place[s.place] for s in samples], np.uint32)[sample],
        scene=np.asarray([[scenes[k] for k in _scenes_of(s)] for s in samples], np.uint32)[sample],
    )


def _seconds(time: int | None) -> int:
    return UNKNOWN_TIME if time is None else time


def _read_group(job: DatasetJob, chips: list[int]) -> Columns:
    """The chips of one sample, whose files are read once: what of them the chips show."""
    px, table = job.header.chip_px, job.table
    places = [(table.window(chip, px), table.clipped(chip)) for chip in chips]
    cover = reduce(Window.union, (clip for _, clip in places))
    sources = _read_sample(job.benchmark, job.benchmark.samples[job.sample[chips[0]]], cover)
    if job.benchmark.sizing.px is not None:
        cover = Window(0, 0, *sources["valid"].shape[-2:])
    return {
        name: cut([pixels], places, cover, _fill(name))[:, 0] for name, pixels in sources.items()
    }


def _fill(name: str) -> int:
    return IGNORE if name.startswith("label") else 0


def _read_sample(benchmark: Benchmark, sample: Sample, cover: Window) -> Columns:
    """Images and masks, whole where they are resized, else the part that is covered: image [date,
    band, H, W], valid and label_segment [date, H, W], …"""
    sizing = benchmark.sizing
    window = cover if sizing.px is None else None
    image = np.stack([read_rgb(path, sizing, window) for path in sample.images])
    valid = np.ones((len(image), *image.shape[-2:]), np.bool_)
    if benchmark.alpha:
        valid = np.stack([read_observed(path, sizing.px, window) for path in sample.images])
    labels = _none if sample.negative else _labels
    return {"image": image, "valid": valid, **labels(benchmark, sample, valid, window)}


def _none(
    benchmark: Benchmark, sample: Sample, valid: NDArray[np.bool_], window: Window | None
) -> Columns:
    """Masks of nothing."""
    shapes = {"segment": valid.shape, "change": valid.shape[1:]}
    return {
        LABEL_ARRAYS[task]: np.zeros(shapes[task], np.uint8) for task in benchmark.classes
    }  # fmt: skip


def _labels(
    benchmark: Benchmark, sample: Sample, valid: NDArray[np.bool_], window: Window | None
) -> Columns:
    shape = inspect_image(sample.images[0]).shape

    def read(path: Path, rule: MaskRule) -> NDArray[np.uint8]:
        return read_mask(path, rule, shape, benchmark.sizing, window)

    found: Columns = {}
    if sample.segment:
        masks = [read(path, benchmark.masks) for path in sample.segment]
        found["label_segment"] = np.stack(masks)
    if sample.change:
        found["label_change"] = _difference(
            [read(p, benchmark.rule_of_change) for p in sample.change]
        )
    return found


def _difference(masks: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The mask of change, or where two masks differ; not labelled where one is not."""
    if len(masks) == 1:
        return masks[0]
    unknown = (masks[0] == IGNORE) | (masks[1] == IGNORE)
    return np.where(unknown, IGNORE, masks[0] ^ masks[1]).astype(np.uint8)


def _inside(job: DatasetJob, chip: int) -> NDArray[np.bool_]:
    """[y, x] the pixels of a chip that its image has."""
    whole = job.table.window(chip, job.header.chip_px)
    inside = np.zeros((whole.height, whole.width), np.bool_)
    inside[job.table.clipped(chip).slices_in(whole)] = True
    return inside
