"""Writing a chip store: the template first, then shards in any order, then the manifest.

Beside the store `chips.zarr` lies `chips.zarr.progress` until it is finished: one record of every
shard that is written, made after its pixels; and, of an append, what it will add to the store.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from noise2map_core.chips.manifest import (
    MANIFEST,
    SOURCES,
    Digest,
    Manifest,
    commit,
    is_shard,
    list_objects,
    object_digest,
    write_object,
)
from noise2map_core.chips.plan import ChipTable
from noise2map_core.chips.scenes import pair_alterations, scene_lights
from noise2map_core.chips.store import (
    CHIP_ARRAYS,
    CHIPS_PER_SHARD,
    COUNT_ARRAYS,
    FORMAT_VERSION,
    LABEL_ARRAYS,
    PIXEL_ARRAYS,
    ROOT,
    SCENE_ARRAYS,
    ChipStore,
    Columns,
    count_labels,
    read_attributes,
    shard_key,
)
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.geo.window import Window
from noise2map_core.imagery.moments import Moments
from noise2map_core.labels import IGNORE
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.consolidated import consolidated
from noise2map_core.runtime.errors import ChipStoreError, OutputMismatchError
from noise2map_core.runtime.storage import (
    publish,
    read_bytes,
    remove,
    scratch_beside,
    zarr_store,
)

ROWS_PER_CHUNK = 1 << 16
"""Of the arrays of one row a chip."""

COMPRESSORS = [BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle), Crc32cCodec()]
ALWAYS_WRITTEN: Any = {"write_empty_chunks": True}
"""A shard in which nothing is seen is an object like any other, so that a lost one is found. An
array on disk does not know of it: whoever opens one to write has to say it again."""
FILLS = {"image": 0, "valid": False, "label_segment": IGNORE, "label_change": IGNORE}


@dataclass(frozen=True)
class StoreHeader:
    """What is known of a store before its first pixel is read."""

    key: str
    """Digest of the sources and settings that it is made from."""
    grid: RegionGrid
    chip_px: int
    stride_px: int
    dtype: str
    bands: list[dict[str, Any]]
    """Name, common name, scale, offset, nodata of each band, in order."""
    classes: dict[str, list[dict[str, Any]]]
    """Class table of each task that has labels; empty: no labels."""
    splits: tuple[str, ...]
    """Names of the split codes."""
    buffer_px: int
    """Least distance between boxes of different splits."""
    items: list[dict[str, Any]]
    """Id, collection, datetime, href and attribution of the source items."""
    places: tuple[str, ...]
    """Of every scene by its code, the name of the place that it shows."""
    crs_table: tuple[str, ...] = ()
    """Where the chips lie on several grids of one kind: their CRS by code. Empty: the grid's."""
    origins: tuple[tuple[float, float], ...] = ()
    """Upper left corner of the pixels of every CRS, by code. Empty: the grid's, of all."""
    dataset: dict[str, Any] = field(default_factory=dict)
    """Of a published data set: which, its task and protocol."""
    earlier_keys: tuple[str, ...] = ()
    """Of the ingests that the store holds already."""
    identities: dict[str, str] = field(default_factory=dict)
    """Which bytes each asset held, by its address."""
    labels_key: str = ""
    """Digest of what the labels are read from and mean; empty: not known."""
    labels_from: tuple[str, ...] = ()
    """Whose the labels are, and their licences; empty: nobody said."""
    ground_gsd: float | None = None
    """Metres of a pixel on the ground; None: they are the grid's own."""
    made_pairs: dict[str, Any] = field(default_factory=dict)
    """How pairs of dates were made of single images; empty: dates are dates."""

    @classmethod
    def of(cls, store: ChipStore) -> "StoreHeader":
        """The header of a store that is there; its grid covers the chips."""
        found, footprints = store.attributes, store.read("footprint")
        outline = shapely.box(*footprints[:, :2].min(axis=0), *footprints[:, 2:].max(axis=0))
        origins = tuple((x, y) for x, y in found["origins"])
        grid = RegionGrid(
            found["crs_table"][0], found["gsd"], *origins[0], found["tile_px"],
            Window(0, 0, 1, 1), outline,
        )  # fmt: skip
        same = ("key", "chip_px", "stride_px", "bands", "classes", "buffer_px", "items")
        return cls(
            grid=grid,
            dtype=str(store.array("image").dtype),
            splits=tuple(found["splits"]),
            crs_table=tuple(found["crs_table"]),
            origins=origins,
            places=tuple(scene["place"] for scene in found["scenes"]),
            earlier_keys=tuple(found["keys"][:-1]),
            dataset=found.get("dataset", {}),
            labels_from=tuple(found.get("labels_from", ())),
            made_pairs=found.get("made_pairs", {}),
            **{name: found[name] for name in same},
        )

    @property
    def systems(self) -> tuple[str, ...]:
        """The CRS of every code."""
        return self.crs_table or (self.grid.crs,)

    @property
    def all_origins(self) -> tuple[tuple[float, float], ...]:
        """Upper left corner of the pixels of every CRS, by code."""
        return self.origins or ((self.grid.x_origin, self.grid.y_origin),) * len(self.systems)

    def names_of(self, table: ChipTable) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """Split and place of every chip."""
        return np.asarray(self.splits)[table.split], np.asarray(self.places)[table.scene[:, 0]]

    def attributes(self, num_chips: int) -> dict[str, Any]:
        """The group's attributes."""
        grid = self.grid
        optional = {
            "dataset": self.dataset,
            "labels_from": list(self.labels_from),
            "made_pairs": self.made_pairs,
            "ground_gsd": self.ground_gsd,
        }
        return {
            "format_version": FORMAT_VERSION,
            "key": self.key,
            "keys": [*self.earlier_keys, self.key],
            "num_chips": num_chips,
            "chip_px": self.chip_px,
            "stride_px": self.stride_px,
            "gsd": grid.resolution,
            "bands": self.bands,
            "classes": self.classes,
            "splits": list(self.splits),
            "buffer_px": self.buffer_px,
            "crs_table": list(self.systems),
            "origin": list(self.all_origins[0]),
            "origins": [list(origin) for origin in self.all_origins],
            "tile_px": grid.tile_px,
            "items": self.items,
            "scenes": [{"place": place} for place in self.places],
            **{name: value for name, value in optional.items() if value},
        }


@dataclass(frozen=True)
class ShardRecord:
    """What a finished shard holds."""

    shard: int
    objects: dict[str, list[Any]]
    """Length and SHA-256 of its objects."""
    splits: dict[str, dict[str, Any]]
    """Per split: chips, pixels, valid pixels per date, labelled and observed pixels per task and
    class, moments. A pixel of the ground is counted once, in the chip whose centre is nearest."""
    places: dict[str, dict[str, Any]]
    """The same per place."""
    quality_valid: list[float]
    """Of each chip, the share of its pixels that is observed at every date."""
    label_px: dict[str, list[list[int]]] = field(default_factory=dict)
    """Per task, of each chip, what `COUNT_ARRAYS` says; empty: an earlier version's."""


def create_store(
    path: Path, header: StoreHeader, table: ChipTable, sources: bytes | None = None
) -> None:
    """Write the metadata and the per-chip arrays; the directory appears whole or not at all.

    `sources` says what the pixels are read from, for appends and repair.
    """
    progress_folder(path).mkdir(parents=True, exist_ok=True)
    for stale in progress_folder(path).glob("shard-*.json"):
        stale.unlink()
    partial = scratch_beside(path)
    group = zarr.create_group(partial, zarr_format=3, attributes=header.attributes(len(table.row)))
    dates, px = table.datetime.shape[1], header.chip_px
    shapes = {
        "image": (header.dtype, (dates, len(header.bands), px, px)),
        "valid": ("bool", (dates, px, px)),
        "label_segment": ("uint8", (dates, px, px)),
        "label_change": ("uint8", (px, px)),
    }
    left_out = {name for task, name in LABEL_ARRAYS.items() if task not in header.classes}
    for name, (dtype, shape) in shapes.items():
        if name not in left_out:
            _create_pixels(group, name, dtype, (len(table.row), *shape))
    for name, values in _chip_columns(header, table).items():
        _create_rows(group, name, values)
    if sources is not None:
        (partial / SOURCES).write_bytes(sources)
    publish(partial, path, last=ROOT)


def _create_pixels(group: zarr.Group, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=(1, *shape[1:]),
        shards=(CHIPS_PER_SHARD, *shape[1:]),
        compressors=COMPRESSORS,
        fill_value=FILLS[name],
        dimension_names=PIXEL_ARRAYS[name],
        config=ALWAYS_WRITTEN,
    )


def _create_rows(group: zarr.Group, name: str, values: NDArray[Any]) -> None:
    units: dict[str, Any] = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    group.create_array(
        name,
        data=values,
        chunks=(min(max(len(values), 1), ROWS_PER_CHUNK), *values.shape[1:]),
        compressors=COMPRESSORS,
        fill_value=0,
        dimension_names=_dimensions(name),
        attributes=units if name == "datetime" else None,
        overwrite=True,
        config=ALWAYS_WRITTEN,
    )


def _dimensions(name: str) -> tuple[str, ...]:
    counts = {array: ("chip", f"{task}_class") for task, array in COUNT_ARRAYS.items()}
    return {**CHIP_ARRAYS, **SCENE_ARRAYS, **counts}[name]


def _chip_columns(header: StoreHeader, table: ChipTable) -> Columns:
    """The arrays of one row a chip."""
    grid, half = header.grid, header.chip_px // 2
    x_origin, y_origin = np.asarray(header.all_origins, np.float64)[table.crs].T
    top, left, height, width = table.clip.T
    edges = [
        x_origin + left * grid.resolution,
        y_origin - (top + height) * grid.resolution,
        x_origin + (left + width) * grid.resolution,
        y_origin - top * grid.resolution,
    ]
    return {
        "row": table.row,
        "col": table.col,
        "tile_row": (table.row + half) // grid.tile_px,
        "tile_col": (table.col + half) // grid.tile_px,
        "x": x_origin + table.col * grid.resolution,
        "y": y_origin - table.row * grid.resolution,
        "crs": table.crs,
        "split": table.split,
        "datetime": table.datetime,
        "items": table.items,
        "footprint": np.stack(edges, axis=1),
        "scene": table.scene,
    }


@dataclass(frozen=True)
class ShardContent:
    """The chips of one shard."""

    arrays: Columns
    """image, valid and the labels of the store's tasks, of each chip."""
    splits: NDArray[np.str_]
    """Split of each chip."""
    places: NDArray[np.str_]
    """Place of each chip."""
    counted: NDArray[np.bool_]
    """[chip, y, x] pixels that statistics count: chips overlap, and each pixel counts once."""


def counted_pixels(table: ChipTable, chips: range, header: StoreHeader) -> NDArray[np.bool_]:
    """[chip, y, x] stored pixels in the chips' middles, which cover the ground without overlap.

    Of a chip that an append stored again, because more of it is known, only what is new.
    """
    px, stride = header.chip_px, header.stride_px
    halo = (px - stride) // 2
    counted = np.zeros((len(chips), px, px), np.bool_)
    for number, chip in enumerate(chips):
        whole = table.window(chip, px)
        middle = Window(whole.row + halo, whole.col + halo, stride, stride)
        counted[(number, *middle.intersect(table.clipped(chip)).slices_in(whole))] = True
        for earlier in table.earlier(chip) if header.earlier_keys else ():
            counted[(number, *table.clipped(earlier).slices_in(whole))] = False
    return counted


def write_shard(path: Path, shard: int, content: ShardContent) -> ShardRecord:
    """Write all chips of one shard and record it; safe to repeat, and one task's alone.

    Numbers that are not finite are no observation, whatever `valid` says of them.
    """
    content = replace(content, arrays=_only_numbers(content.arrays))
    arrays, start = content.arrays, shard * CHIPS_PER_SHARD
    group = zarr.open_group(zarr_store(path), mode="r+", zarr_format=3)
    for name, values in arrays.items():
        array = group[name]
        assert isinstance(array, zarr.Array)
        assert len(values) == min(CHIPS_PER_SHARD, array.shape[0] - start), (
            "shards are written whole"
        )
        array.with_config(ALWAYS_WRITTEN)[start : start + len(values)] = values
    keys = [shard_key(name, shard) for name in arrays]
    classes: Any = group.attrs["classes"]
    record = ShardRecord(
        shard,
        {key: _written(path, key) for key in keys},
        _summaries(content, content.splits, classes),
        _summaries(content, content.places, classes),
        arrays["valid"].all(axis=1).mean(axis=(1, 2)).round(6).tolist(),
        {
            task: count_labels(arrays[LABEL_ARRAYS[task]], arrays["valid"], table).tolist()
            for task, table in classes.items()
        },
    )
    write_record(path, record)
    return record


def _written(path: Path, key: str) -> Digest:
    """Length and digest of an object that was written just now. Raises ChipStoreError."""
    digest = object_digest(path / key)
    if digest is None:
        raise ChipStoreError(f"chip store {path}: {key} was written and is not there. Run again.")
    return digest


def _only_numbers(arrays: Columns) -> Columns:
    """Where an image is not finite: 0, and not valid."""
    image = arrays["image"]
    if image.dtype.kind != "f" or (finite := np.isfinite(image)).all():
        return arrays
    valid = arrays["valid"] & finite.all(axis=2)
    return {**arrays, "image": np.where(finite, image, 0).astype(image.dtype), "valid": valid}


def write_record(path: Path, record: ShardRecord) -> None:
    """Note that a shard is written."""
    file = progress_folder(path) / f"shard-{record.shard:08d}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(vars(record)))


def _summaries(
    content: ShardContent, names: NDArray[np.str_], classes: dict[str, list[dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """The chips of each name."""
    return {name: _summary(content, names == name, classes) for name in sorted({*names.tolist()})}


def _summary(
    content: ShardContent, chosen: NDArray[np.bool_], classes: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    counted = content.counted[chosen]
    valid = content.arrays["valid"][chosen] & counted[:, None]
    return {
        "chips": int(chosen.sum()),
        "px": int(counted.sum()),
        "valid_px": valid.sum(axis=(0, 2, 3)).tolist(),
        "label_px": {
            task: _label_counts(content.arrays[LABEL_ARRAYS[task]][chosen], valid, table)
            for task, table in classes.items()
        },
        "statistics": Moments.of(content.arrays["image"][chosen], valid).to_json(),
    }


def _label_counts(
    labels: NDArray[np.uint8], valid: NDArray[np.bool_], table: list[dict[str, Any]]
) -> dict[str, int]:
    """Observed pixels of each class, by its name; `labels` [chip, y, x] or [chip, date, y, x].

    A label of change needs all dates, one of a date that date.
    """
    observed = valid if labels.ndim == valid.ndim else valid.all(axis=1)
    present = np.bincount(labels[observed], minlength=256)
    return {entry["name"]: int(present[entry["value"]]) for entry in table}


def progress_folder(path: Path) -> Path:
    """Where the records of an unfinished store lie."""
    return path.with_name(f"{path.name}.progress")


def read_records(path: Path) -> Iterator[ShardRecord]:
    """Records of the shards that are written, in order."""
    for file in sorted(progress_folder(path).glob("shard-*.json")):
        yield ShardRecord(**json.loads(file.read_text(encoding="utf-8")))


def missing_shards(path: Path, num_shards: int, first: int = 0) -> list[int]:
    """Shards from `first` on without a record, or whose objects are not of the recorded length."""
    done = {record.shard for record in read_records(path) if _is_there(path, record)}
    return [shard for shard in range(first, num_shards) if shard not in done]


def _is_there(path: Path, record: ShardRecord) -> bool:
    files = {path / key: length for key, (length, _) in record.objects.items()}
    return all(file.exists() and file.stat().st_size == size for file, size in files.items())


def is_finished(path: Path, key: str) -> bool:
    """True if a finished store of `key` is there, False if it must be made or continued.

    Raises OutputMismatchError if something else lies there; nothing is touched.
    """
    if not path.exists():
        return False
    found = read_ours(path)
    if key not in found["keys"]:
        raise OutputMismatchError(
            f"chip store {path} was made from other scenes or settings. Set another --output, or "
            "delete it."
        )
    return (path / MANIFEST).exists()


def read_ours(path: Path) -> dict[str, Any]:
    """The attributes of what lies at an output. Raises OutputMismatchError if it is no store."""
    try:
        return read_attributes(path)
    except ChipStoreError as error:
        raise OutputMismatchError(
            f"{path} is there and is not a chip store of this version. Set another --output."
        ) from error


def finish_store(path: Path) -> None:
    """Add the statistics, then the manifest: from now on the store may be read.

    Every shard must have been written.
    """
    objects = write_totals(path, list(read_records(path)))
    commit(path, path, Manifest(FORMAT_VERSION, 1, objects))


def write_totals(
    path: Path, records: list[ShardRecord], before: ChipStore | None = None
) -> dict[str, Digest]:
    """Write what is known once all shards are: statistics, quality, and the documents of all
    arrays in that of the store; returns all new objects.

    `before` is the store that is appended to: its chips in whole shards are counted in.
    """
    store = zarr_store(path)
    group = zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
    quality = [value for record in records for value in record.quality_valid]
    column = np.asarray(quality, np.float32)
    if before is not None:
        start = records[0].shard * CHIPS_PER_SHARD
        column = np.concatenate([before.read("quality_valid")[:start], column])
    _create_rows(group, "quality_valid", column)
    classes: Any = group.attrs["classes"]
    for task in classes:
        _write_counts(group, task, records, before)
    partial = records[-1] if len(column) % CHIPS_PER_SHARD else None
    whole = [record for record in records if record is not partial]
    totals = _totals(whole, before.attributes["whole_shards"] if before else None)
    group.attrs.update(_totals([partial], totals) if partial else totals)
    group.attrs.update({"whole_shards": totals})
    known = None if before is None else before.read("light")
    _create_rows(group, "light", scene_lights(group, known))
    _write_pairs(group, before)
    _consolidate(path)
    objects = {key: value for record in records for key, value in record.objects.items()}
    for key in list_objects(path):
        if not is_shard(key):
            objects[key] = _written(path, key)
    return objects


def _write_counts(
    group: zarr.Group, task: str, records: list[ShardRecord], before: ChipStore | None
) -> None:
    """Pixels of each class in every chip; a store that an earlier version began goes on without."""
    name = COUNT_ARRAYS[task]
    noted = before is None or f"{name}/{ROOT}" in before.objects
    if not noted or not all(task in record.label_px for record in records):
        return
    counts = [np.asarray(record.label_px[task], np.uint32) for record in records]
    if before is not None:
        counts.insert(0, before.read(name)[: records[0].shard * CHIPS_PER_SHARD])
    _create_rows(group, name, np.concatenate(counts))


def _write_pairs(group: zarr.Group, before: ChipStore | None) -> None:
    """What is known of pairs of scenes; a store that an earlier version wrote goes on without."""
    if group["scene"].shape[1] != 2:  # type: ignore[union-attr]
        return
    if before is not None and not before.notes_alterations:
        return
    kept = None if before is None else (before.read("pair"), before.read("alteration"))
    pairs, alterations = pair_alterations(group, kept)
    _create_rows(group, "pair", pairs)
    _create_rows(group, "alteration", alterations)


def _consolidate(path: Path) -> None:
    keys = [key for key in list_objects(path) if key.rpartition("/")[2] == ROOT]
    documents = {key.removesuffix(ROOT).rstrip("/"): read_bytes(path / key) for key in keys}
    write_object(path / ROOT, consolidated(documents))


def clear_progress(path: Path) -> None:
    """Delete the records of a finished store."""
    remove(progress_folder(path))


def _totals(records: list[ShardRecord], start: dict[str, Any] | None) -> dict[str, Any]:
    """Statistics and counts per split, and of places, merged in shard order: the same numbers in
    every run."""
    start = start or {"statistics": {}, "counts": {}, "places": {"statistics": {}, "counts": {}}}
    splits = [record.splits for record in records]
    places = [record.places for record in records]
    return {**_merged(splits, start), "places": _merged(places, start["places"])}


def _merged(parts: list[dict[str, dict[str, Any]]], start: dict[str, Any]) -> dict[str, Any]:
    moments = {name: Moments.from_json(part) for name, part in start["statistics"].items()}
    counts: dict[str, dict[str, Any]] = dict(start["counts"])
    for summaries in parts:
        for name, part in summaries.items():
            fresh = Moments.from_json(part["statistics"])
            moments[name] = moments[name].merge(fresh) if name in moments else fresh
            counts[name] = added_counts(counts.get(name), part)
    return {
        "statistics": {name: moments[name].to_json() for name in sorted(moments)},
        "counts": {name: counts[name] for name in sorted(counts)},
    }


def merged_totals(totals: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Statistics and counts of several splits or places together, as one."""
    moments = [Moments.from_json(totals["statistics"][name]) for name in names]
    counts: dict[str, Any] | None = None
    for name in names:
        counts = added_counts(counts, totals["counts"][name])
    return {"statistics": reduce(Moments.merge, moments).to_json(), "counts": counts}


def added_counts(total: dict[str, Any] | None, part: dict[str, Any]) -> dict[str, Any]:
    """Chips and pixels of two parts together; None: of the second alone."""
    if total is None:
        return {name: part[name] for name in ("chips", "px", "valid_px", "label_px")}
    sums = {name: np.add(total[name], part[name]).tolist() for name in ("chips", "px", "valid_px")}
    label_px = {
        task: {name: count + part["label_px"][task][name] for name, count in counts.items()}
        for task, counts in total["label_px"].items()
    }
    return {**sums, "label_px": label_px}
