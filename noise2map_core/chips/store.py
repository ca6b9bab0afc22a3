"""Reading a chip store: chips of one date or two with labels, in Zarr v3.

One chip a chunk, 32 chips a shard. Text lies in tables of the group's attributes and integer codes
in the arrays. `manifest.json` beside the arrays holds length and SHA-256 of every object; it is
written last, so that a store without it is not finished (see `chip_manifest`).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from noise2map_core.chips.manifest import (
    MANIFEST,
    Digest,
    bytes_digest,
    damaged,
    is_pending,
    object_digest,
    read_manifest,
    read_object,
)
from noise2map_core.imagery.moments import Moments
from noise2map_core.labels import IGNORE
from noise2map_core.models.spec import note_size
from noise2map_core.runtime.errors import ChipStoreError, OutputError
from noise2map_core.runtime.storage import is_web, location, read_bytes, zarr_store
from noise2map_core.runtime.web import require_ranges

if TYPE_CHECKING:
    import xarray as xr

FORMAT_VERSION = 4
ROOT = "zarr.json"
"""Name of the document of a group or array."""
CHIPS_PER_SHARD = 32

PIXEL_ARRAYS = {
    "image": ("chip", "date", "band", "y", "x"),
    "valid": ("chip", "date", "y", "x"),
    "label_segment": ("chip", "date", "y", "x"),
    "label_change": ("chip", "y", "x"),
}
"""Arrays that are written shard by shard; the others are written whole."""

LABEL_ARRAYS = {"segment": "label_segment", "change": "label_change"}
"""Where the labels of each task are."""

UNKNOWN_TIME = int(np.iinfo(np.int64).min)
"""Stands in `datetime` where nobody says when an image was taken; NaT in `open_chips`."""

CHIP_ARRAYS: dict[str, tuple[str, ...]] = {
    "row": ("chip",), "col": ("chip",), "tile_row": ("chip",), "tile_col": ("chip",),
    "x": ("chip",), "y": ("chip",), "crs": ("chip",), "split": ("chip",),
    "datetime": ("chip", "date"), "items": ("chip", "date", "slot"),
    "footprint": ("chip", "edge"), "quality_valid": ("chip",), "scene": ("chip", "date"),
}  # fmt: skip
"""Arrays of one row a chip."""

SCENE_ARRAYS: dict[str, tuple[str, ...]] = {
    "light": ("scene", "moment", "band"),
    "pair": ("pair", "date"), "alteration": ("pair", "variate", "number"),
}  # fmt: skip
"""Arrays of one row a scene, one place at one time: robust centre and spread of its bands. And of
one row a pair of scenes: their codes; matrix [2 · band] and offset of each of its MAD variates."""

COUNT_ARRAYS = {"segment": "label_px_segment", "change": "label_px_change"}
"""Arrays of one row a chip, each if there are labels of the task: observed pixels of each class,
over all dates; last of all, pixels that are labelled otherwise."""

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ChipStore:
    """A finished chip store. Picklable: it holds no open file."""

    path: Path
    attributes: dict[str, Any]
    objects: dict[str, Digest]
    """Length and SHA-256 of every object, from the manifest."""
    parts: NDArray[np.str_] | None = None
    """Split of every chip, where it is not what was ingested; see `places.dealt`."""

    @property
    def num_chips(self) -> int:
        """Chips of all splits."""
        return int(self.attributes["num_chips"])

    @property
    def num_shards(self) -> int:
        """Shards of each pixel array."""
        return -(-self.num_chips // CHIPS_PER_SHARD)

    @property
    def bands(self) -> list[str]:
        """Band names, in order."""
        return [band["name"] for band in self.attributes["bands"]]

    @property
    def gsd(self) -> float:
        """Side of a pixel in metres on the ground; attribute `gsd` is in those of the CRS."""
        return float(self.attributes.get("ground_gsd") or self.attributes["gsd"])

    @property
    def num_dates(self) -> int:
        """Dates of every chip: one or two."""
        return int(self.array("datetime").shape[1])

    @property
    def tasks(self) -> list[str]:
        """Tasks that the chips have labels of: segment, change, both or none."""
        return [task for task in LABEL_ARRAYS if task in self.attributes["classes"]]

    @property
    def has_labels(self) -> bool:
        """True if the chips are labelled, for whatever task."""
        return bool(self.tasks)

    def has_labels_of(self, task: str) -> bool:
        """True if the chips are labelled for this task."""
        return task in self.tasks

    @property
    def pixel_arrays(self) -> list[str]:
        """image, valid and the labels of the store's tasks."""
        return ["image", "valid", *(LABEL_ARRAYS[task] for task in self.tasks)]

    @cached_property
    def splits(self) -> NDArray[np.str_]:
        """Split name of every chip."""
        return self._decoded("split", "splits") if self.parts is None else self.parts

    @cached_property
    def places(self) -> NDArray[np.str_]:
        """Name of the place of every chip: of its first date's scene."""
        names = [scene["place"] for scene in self.attributes["scenes"]]
        return np.asarray(names)[self.read("scene")[:, 0]]

    def lights(self, chips: NDArray[np.int64]) -> NDArray[np.float64]:
        """Robust centre and spread of the scenes of chips, [chip, date, 2, band]; NaN where too
        little of a scene is observed."""
        scene, light = self._scenes
        return np.asarray(light[scene[chips]])

    def alterations(self, chips: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What is noted of the MAD variates of the pairs of chips, [chip, variate + 1, number], see
        `learning.alteration`; NaN where too little of a pair is observed. None for a store of
        single dates, or of a version that did not note them."""
        if self._pairs is None:
            return None
        row, alteration = self._pairs
        return np.asarray(alteration[row[chips]])

    @property
    def notes_alterations(self) -> bool:
        """True unless an earlier version wrote it, which noted less of pairs, or nothing."""
        if "alteration/zarr.json" not in self.objects:
            return False
        return self.read("alteration").shape[1:] == note_size(len(self.bands))

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.intp], NDArray[np.float64]] | None:
        """The pair of every chip, and what is known of pairs."""
        if self.num_dates != 2 or not self.notes_alterations:
            return None
        codes = {tuple(pair): row for row, pair in enumerate(self.read("pair").tolist())}
        rows = [codes[tuple(pair)] for pair in self._scenes[0].tolist()]
        return np.asarray(rows, np.intp), self.read("alteration")

    @cached_property
    def _scenes(self) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
        return self.read("scene"), self.read("light")

    @cached_property
    def label_counts(self) -> dict[str, NDArray[np.uint32]]:
        """Of every task, what `COUNT_ARRAYS` says of each chip, [chip, class + 1].

        A store of a version that did not note it is counted, from its labels alone.
        """
        return {task: self._counted(task) for task in self.tasks}

    def _counted(self, task: str) -> NDArray[np.uint32]:
        if f"{COUNT_ARRAYS[task]}/{ROOT}" in self.objects:
            return self.read(COUNT_ARRAYS[task])
        label, table = LABEL_ARRAYS[task], self.attributes["classes"][task]
        read = (self.read_shard(shard, ("valid", label)) for shard in range(self.num_shards))
        return np.concatenate([count_labels(one[label], one["valid"], table) for one in read])

    def chips_of(self, split: str | None) -> NDArray[np.int64]:
        """Numbers of the chips of a split, in order; None: of all."""
        if split is None:
            return np.arange(self.num_chips)
        chosen = np.flatnonzero(self.splits == split)
        if not chosen.size:
            names = ", ".join(sorted(set(self.splits.tolist())))
            raise ChipStoreError(
                f"chip store {self.path} has no chips of split {split!r}; it has: {names}. "
                "Ingest it with boxes for that split (split.boxes, split.blocks)."
            )
        return chosen

    def require(self, splits: Iterable[str], tasks: Iterable[str]) -> None:
        """Raise ChipStoreError unless there are chips of these splits and labels of these tasks.

        It needs neither pixels nor slow libraries: for the first lines of a command.
        """
        for task in tasks:
            if not self.has_labels_of(task):
                raise ChipStoreError(
                    f"chip store {self.path} has no labels of task {task!r}; it has: "
                    f"{', '.join(self.tasks) or 'none'}. Ingest it with `labels` set to a raster "
                    "or to polygons, or ask for another task."
                )
        for split in splits:
            self.chips_of(split)

    def statistics(self, split: str) -> Moments:
        """Count, mean and M2 per [date, band] over the valid pixels of a split.

        Raises ChipStoreError if it has no chips.
        """
        self.chips_of(split)
        return Moments.from_json(self.attributes["statistics"][split])

    def array(self, name: str) -> "zarr.Array[Any]":
        """One of the store's arrays."""
        array = zarr.open_array(zarr_store(self.path), path=name, mode="r", zarr_format=3)
        assert isinstance(array, zarr.Array)
        return array

    def read(self, name: str) -> NDArray[Any]:
        """One of the arrays of a row a chip, whole: `row`, `col`, `footprint`, …"""
        return np.asarray(self.array(name)[:])

    def read_shard(self, shard: int, columns: Sequence[str]) -> Columns:
        """All chips of one shard, in plain numpy.

        Raises ChipStoreError if its bytes are not those that the manifest lists.
        """
        chips = slice(shard * CHIPS_PER_SHARD, min((shard + 1) * CHIPS_PER_SHARD, self.num_chips))
        pixels = {name: shard_key(name, shard) for name in columns if name in PIXEL_ARRAYS}
        read = {name: self._pixels(name, key, chips) for name, key in pixels.items()}
        return {
            name: read[name] if name in read else np.asarray(self.array(name)[chips])
            for name in columns
        }

    def _pixels(self, name: str, key: str, chips: slice) -> NDArray[Any]:
        """Decoded from the very bytes that were checked, which are read once."""
        body = read_object(self.path / key)
        if body is None or bytes_digest(body) != self.objects.get(key):
            raise self._does_not_fit(key)
        held = {f"{name}/{ROOT}": self._documents[name], key: body}
        memory = MemoryStore({k: Buffer.from_bytes(v) for k, v in held.items()})
        array = zarr.open_array(memory, path=name, mode="r", zarr_format=3)
        return np.asarray(array[chips])

    @cached_property
    def _documents(self) -> dict[str, bytes]:
        """Of the arrays of pixels."""
        return {name: read_bytes(self.path / name / ROOT) for name in self.pixel_arrays}

    def _does_not_fit(self, key: str) -> ChipStoreError:
        """What to say of an object that this store, as it was opened, does not list."""
        if read_manifest(self.path).objects.get(key) == self.objects.get(key):
            return damaged(self.path, key)
        return ChipStoreError(
            f"chip store {self.path} was appended to after it had been opened: {key} is another "
            "now. Run the same command again, with another output if it does not go on."
        )

    def read_chip(self, chip: int, columns: Sequence[str]) -> Columns:
        """One chip, without the leading dimension."""
        return {name: np.asarray(self.array(name)[chip]) for name in columns}

    def _decoded(self, name: str, table: str) -> NDArray[np.str_]:
        return np.asarray(self.attributes[table])[self.read(name)]


def count_labels(
    labels: NDArray[np.uint8], valid: NDArray[np.bool_], table: Sequence[dict[str, Any]]
) -> NDArray[np.uint32]:
    """Observed pixels of each class of `table`, [chip, class + 1]; last, pixels, observed or not,
    that are labelled otherwise.

    `labels` [chip, y, x] or [chip, date, y, x]. A label of change needs all dates, one of a date
    that date.
    """
    observed = valid if labels.ndim == valid.ndim else valid.all(axis=1)
    values = [entry["value"] for entry in table]
    pixels = tuple(range(1, labels.ndim))
    each = [((labels == value) & observed).sum(axis=pixels) for value in values]
    others = (~np.isin(labels, [*values, IGNORE])).sum(axis=pixels)
    return np.stack([*each, others], axis=1).astype(np.uint32)


def open_store(path: Path | str) -> ChipStore:
    """A finished store.

    Raises ChipStoreError if there is none, or it is damaged or of another format.
    """
    path = location(path)
    attributes = read_attributes(path)
    manifest = read_manifest(path)
    store = ChipStore(path, attributes, manifest.objects)
    for key in manifest.metadata:
        if object_digest(path / key) != manifest.objects[key]:
            raise _half_appended(path) if is_pending(path) else damaged(path, key)
    return store


def _half_appended(path: Path) -> ChipStoreError:
    return ChipStoreError(
        f"chip store {path} is being appended to, or was when its ingest was killed. Wait for that "
        "ingest to end; if none is running, run it again."
    )


def read_attributes(path: Path) -> dict[str, Any]:
    """The attributes of a store, finished or not. Raises ChipStoreError if it is none of ours."""
    body = _read_root(path)
    if body is None and (is_web(path) or not path.exists()):
        raise ChipStoreError(f"chip store {path} does not exist. Make it with ingest-region.")
    try:
        found = json.loads(body or b"")["attributes"]
        version = int(found["format_version"])
    except (ValueError, KeyError, TypeError):
        if read_object(path / MANIFEST) is not None:
            raise damaged(path, ROOT) from None
        raise ChipStoreError(f"{path} is not a chip store. Make one with ingest-region.") from None
    if version != FORMAT_VERSION:
        way_out = "Update noise2map." if version > FORMAT_VERSION else "Ingest it anew."
        raise ChipStoreError(
            f"chip store {path} has format {version}; this version reads {FORMAT_VERSION}. "
            f"{way_out}"
        )
    return dict(found)


def _read_root(path: Path) -> bytes | None:
    """The document of a store; None if there is none. Raises ChipStoreError where the web does not
    give it by ranges."""
    if is_web(path):
        try:
            require_ranges(path / ROOT)
        except FileNotFoundError:
            return None
        except OutputError as error:
            raise ChipStoreError(str(error)) from error
    return read_object(path / ROOT)


def iter_shards(
    path: Path | str,
    split: str | None = None,
    columns: Sequence[str] | None = None,
    shards: Sequence[int] | None = None,
) -> Iterator[Columns]:
    """Chips shard by shard, in plain numpy: `columns`, and `chip`, the chips' numbers.

    Default columns: image, valid and the labels that there are.
    Only shards with chips of `split`, and of them only those chips; in the order of `shards`
    (default: ascending). For a fresh order in every epoch, hand over shuffled shard numbers.
    """
    store = open_store(path)
    columns = columns or store.pixel_arrays
    chosen = store.chips_of(split)
    for shard in shards if shards is not None else np.unique(chosen // CHIPS_PER_SHARD):
        inside = chosen[chosen // CHIPS_PER_SHARD == shard]
        if inside.size:
            read = store.read_shard(int(shard), columns)
            rows = inside - shard * CHIPS_PER_SHARD
            yield {"chip": inside, **{name: values[rows] for name, values in read.items()}}


def open_chips(path: Path | str) -> "xr.Dataset":
    """A chip store as a dask-backed dataset, one dask chunk a shard. `path`: on a disk, in a bucket
    (s3://, gs://) or on the web (http://, https://), where it is read by ranges.

    Variables image [chip, date, band, y, x] in raw numbers, valid [chip, date, y, x], and, of the
    tasks with labels, label_segment [chip, date, y, x] and label_change [chip, y, x] (255: not
    labelled). Coordinates per chip:
    corner_x, corner_y (upper left; arrays `x` and `y` of the store, names that dimensions have
    here), row, col (its pixel on the grid), tile_row, tile_col, crs, split, datetime and items (per
    date), footprint (west, south, east, north of what is stored). Band table, class table, GSD and
    statistics are attributes.

    Raises ChipStoreError if the store is missing, unfinished, damaged or of another format.
    """
    import dask.array as da  # slow to import, and the workers that write shards need neither
    import xarray as xr

    store = open_store(path)
    pixels: dict[str, Any] = {}
    for name in store.pixel_arrays:
        array = store.array(name)
        chunks = (CHIPS_PER_SHARD, *array.shape[1:])
        lazy = da.from_array(array, chunks=chunks)
        pixels[name] = (PIXEL_ARRAYS[name], lazy)
    coords: dict[str, Any] = {
        name: (dims, store.read(name)) for name, dims in CHIP_ARRAYS.items() if name != "items"
    }
    coords["corner_x"], coords["corner_y"] = coords.pop("x"), coords.pop("y")
    coords["split"] = ("chip", store.splits)
    coords["crs"] = ("chip", store._decoded("crs", "crs_table"))
    coords["datetime"] = (("chip", "date"), store.read("datetime").astype("datetime64[s]"))
    coords["items"] = (("chip", "date"), _item_names(store))
    coords["band"] = store.bands
    coords["edge"] = ["west", "south", "east", "north"]
    return xr.Dataset(pixels, coords, store.attributes)


def shard_key(name: str, shard: int) -> str:
    """Object of one shard of a pixel array."""
    return "/".join([name, "c", str(shard)] + ["0"] * (len(PIXEL_ARRAYS[name]) - 1))


def _item_names(store: ChipStore) -> NDArray[np.str_]:
    """Ids of the items of each chip and date, joined by commas."""
    table = [item["id"] for item in store.attributes["items"]]
    numbers = store.read("items")
    rows = numbers.reshape(-1, numbers.shape[2])
    names = [",".join(table[number] for number in row if number >= 0) for row in rows]
    return np.asarray(names, dtype=np.str_).reshape(numbers.shape[:2])
