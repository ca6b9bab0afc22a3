import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from noise2map_core.chips import pixels as chip_source
from noise2map_core.chips import store as chip_store
from noise2map_core.chips.manifest import object_digest, read_object
from noise2map_core.chips.pixels import ChipJob
from noise2map_core.chips.repair import iter_checks, repair_store
from noise2map_core.chips.store import (
    CHIPS_PER_SHARD,
    iter_shards,
    open_chips,
    open_store,
    shard_key,
)
from noise2map_core.chips.summary import store_lines
from noise2map_core.chips.writer import create_store, is_finished, missing_shards
from noise2map_core.geo.window import Window
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import ChipStoreError
from noise2map_core.runtime.storage import sweep
from noise2map_core.settings.labels import Box, SplitConfig
from tests.chip_factories import BOX, CHIPS, HEIGHT, WIDTH, make_store, plan_store, scenery

PX = CHIPS.chip_px


def bounds(window: Window) -> Box:
    """Edges in CRS units of a window of the scenery."""
    west, north = BOX.affine @ (window.col, window.row)
    east, south = BOX.affine @ (window.col_stop, window.row_stop)
    return west, south, east, north


TRAIN, VAL = Window(0, 0, HEIGHT, 50), Window(20, 70, 70, 40)
SPLIT = SplitConfig(buffer_px=16, boxes={"train": (bounds(TRAIN),), "val": (bounds(VAL),)})


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ChipJob:
    folder = tmp_path_factory.mktemp("chips")
    return plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT)


@pytest.fixture(scope="module")
def store(job: ChipJob) -> Path:
    return make_store(job)


@pytest.fixture
def copy(store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store, tmp_path / "chips.zarr"))


@pytest.fixture(scope="module")
def chips(store: Path) -> xr.Dataset:
    return open_chips(store).load()


def test_a_shard_is_read_once_to_be_checked_and_decoded(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, read = open_store(store), list[Path]()
    expected = {name: opened.array(name)[:CHIPS_PER_SHARD] for name in opened.pixel_arrays}

    def counted(path: Path) -> bytes | None:
        read.append(path)
        return read_object(path)

    monkeypatch.setattr(chip_store, "read_object", counted)
    monkeypatch.setattr(type(opened), "array", lambda *_: pytest.fail("read from the store again"))
    decoded = opened.read_shard(0, opened.pixel_arrays)
    assert read == [store / shard_key(name, 0) for name in opened.pixel_arrays]
    for name, values in decoded.items():
        np.testing.assert_array_equal(values, expected[name])
        assert values.dtype == expected[name].dtype


def padded(pixels: np.ndarray, fill: int) -> np.ndarray:
    edges = [(0, 0)] * (pixels.ndim - 2) + [(PX, PX), (PX, PX)]
    return np.pad(pixels, edges, constant_values=fill)


def test_chips_hold_the_pixels_of_their_split_and_nothing_beside(
    job: ChipJob, chips: xr.Dataset
) -> None:
    source, region = scenery(), job.header.grid.region
    for number, chip in enumerate(chips.chip):
        one = chips.isel(chip=number)
        row, col = int(one.row) - region.row, int(one.col) - region.col
        box = TRAIN if one.split == "train" else VAL
        mine = np.zeros((HEIGHT, WIDTH), np.bool_)
        mine[box.slices_in(Window(0, 0, 0, 0))] = True
        valid = (source.images > 0).all(axis=1) & mine
        place = np.s_[..., row + PX : row + 2 * PX, col + PX : col + 2 * PX]
        assert np.array_equal(one.valid, padded(valid, 0)[place])
        assert np.array_equal(one.image, padded(source.images * valid[:, None], 0)[place])
        labels = np.where(mine, source.labels, 255)
        assert np.array_equal(one.label_change, padded(labels, 255)[place])
        assert chip.ndim == 0


def test_every_labelled_pixel_is_stored_and_every_chip_has_one(
    job: ChipJob, chips: xr.Dataset
) -> None:
    region, seen = job.header.grid.region, np.zeros((HEIGHT + 2 * PX, WIDTH + 2 * PX), np.bool_)
    for number in range(chips.sizes["chip"]):
        one = chips.isel(chip=number)
        row, col = int(one.row) - region.row + PX, int(one.col) - region.col + PX
        known = one.label_change.values != 255
        assert known.any()
        seen[row : row + PX, col : col + PX] |= known
    inside = np.zeros((HEIGHT, WIDTH), np.bool_)
    for box in (TRAIN, VAL):
        inside[box.slices_in(Window(0, 0, 0, 0))] = True
    assert np.array_equal(seen[PX:-PX, PX:-PX], (scenery().labels != 255) & inside)


def test_places_dates_and_items_of_chips_are_true(job: ChipJob, chips: xr.Dataset) -> None:
    grid = job.header.grid
    assert np.array_equal(chips.corner_x, grid.x_origin + chips.col * 10.0)
    assert np.array_equal(chips.corner_y, grid.y_origin - chips.row * 10.0)
    assert np.array_equal(chips.tile_row, (chips.row + PX // 2) // 64)
    assert set(chips.crs.values) == {"EPSG:32633"}
    assert set(chips["items"].values[:, 0]) == {"date0"}
    assert set(chips["items"].values[:, 1]) == {"date1"}
    assert (chips.datetime[:, 1] - chips.datetime[:, 0] == np.timedelta64(400, "D")).all()
    west, south, east, north = chips.footprint.values.T
    box = {"train": bounds(TRAIN), "val": bounds(VAL)}
    for number, split in enumerate(chips.split.values):
        left, low, right, top = box[split]
        assert (west[number], north[number]) == (
            max(left, chips.corner_x.values[number]),
            min(top, chips.corner_y.values[number]),
        )
        assert right >= east[number] > west[number] and low <= south[number] < north[number]


def test_statistics_count_each_pixel_of_the_ground_once(tmp_path: Path) -> None:
    job = plan_store(tmp_path / "sources", tmp_path / "chips.zarr", labelled=False)
    store, images = open_store(make_store(job)), scenery().images
    moments = store.statistics("train")
    for date in range(2):
        values = images[date][:, (images[date] > 0).all(axis=0)].astype(np.float64)
        assert moments.count[date].tolist() == [values.shape[1]] * 2
        np.testing.assert_allclose(moments.mean[date], values.mean(axis=1))
        np.testing.assert_allclose(moments.m2[date] / values.shape[1], values.var(axis=1))
    counts = store.attributes["counts"]["train"]
    assert counts["px"] == HEIGHT * WIDTH and counts["label_px"] == {}
    assert not store.has_labels and "label_change" not in open_chips(store.path)


def test_labelled_and_observed_pixels_are_counted_once(chips: xr.Dataset) -> None:
    pixels, place = scenery(), TRAIN.slices_in(Window(0, 0, 0, 0))
    observed = (pixels.images != 0).all(axis=(0, 1))[place]
    inside = np.where(observed, pixels.labels[place], 255)
    expected = {name: int((inside == v).sum()) for v, name in enumerate(("unchanged", "changed"))}
    assert chips.attrs["counts"]["train"]["label_px"] == {"change": expected}


def test_any_order_and_any_repetition_write_the_same_bytes(
    job: ChipJob, store: Path, tmp_path: Path
) -> None:
    other = replace(job, store=tmp_path / "chips.zarr")
    assert job.num_shards > 2
    make_store(other, [*reversed(range(job.num_shards)), 1, 0])
    files = sorted(path.relative_to(store) for path in store.rglob("*") if path.is_file())
    assert files == sorted(
        p.relative_to(other.store) for p in other.store.rglob("*") if p.is_file()
    )
    for file in files:
        assert file_sha256(store / file) == file_sha256(other.store / file), file


def test_the_manifest_lists_every_object_with_its_length_and_digest(store: Path) -> None:
    objects = json.loads((store / "manifest.json").read_text())["objects"]
    files = {p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file()}
    copies = {"manifest.json", "copies/manifest.json"}
    assert set(objects) == files - copies
    for key, (length, digest) in objects.items():
        assert (store / key).stat().st_size == length and file_sha256(store / key) == digest


def test_a_shard_in_which_nothing_is_seen_is_an_object_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the pixels, an array has as many objects as shards, and a lost one is found."""
    nothing = plan_store(tmp_path / "sources", tmp_path / "chips.zarr", split=SPLIT)
    real = chip_source.read_chips_of

    def unseen(job: ChipJob, chips: range) -> dict[str, np.ndarray]:
        fills = {"image": 0, "valid": False, "label_change": 255}
        found = real(job, chips)
        if chips.start:  # all shards but the first
            return {name: np.full_like(values, fills[name]) for name, values in found.items()}
        return found

    monkeypatch.setattr(chip_source, "read_chips_of", unseen)
    path = make_store(nothing)
    store = open_store(path)
    assert store.num_shards > 2
    for name in store.pixel_arrays:
        for shard in range(store.num_shards):
            assert store.objects[shard_key(name, shard)] == object_digest(
                path / shard_key(name, shard)
            )
    assert not any(iter_checks(path))
    assert not open_chips(path).valid[CHIPS_PER_SHARD:].values.any()
    assert store_lines(store)
    lost = shard_key("valid", 1)
    (path / lost).unlink()
    assert [str(one) for one in iter_checks(path) if one] == [f"{lost}: missing"]
    done = repair_store(path, [one for one in iter_checks(path) if one])
    assert done.remade == [lost] and not any(iter_checks(path))


def test_every_array_of_a_store_has_its_objects_whatever_the_values(store: Path) -> None:
    """Columns that are zero throughout, as splits and rows may be, are written like the others."""
    objects = open_store(store).objects
    arrays = {key.split("/")[0] for key in objects if key.endswith("/zarr.json")} - {"copies"}
    assert {"split", "crs", "quality_valid"} <= arrays
    for name in arrays:
        assert any(key.startswith(f"{name}/c/") for key in objects)


def test_open_chips_reads_nothing_until_asked(store: Path) -> None:
    lazy = open_chips(store)
    assert lazy.image.chunks is not None and lazy.image.chunks[0][0] == CHIPS_PER_SHARD
    assert lazy.image.dims == ("chip", "date", "band", "y", "x")
    assert lazy.image.dtype == np.uint16 and lazy.valid.dtype == np.bool_
    assert lazy.attrs["classes"]["change"][1] == {"value": 1, "name": "changed"}
    assert list(lazy.band.values) == ["b0", "b1"] == [b["name"] for b in lazy.attrs["bands"]]


def test_any_zarr_reader_opens_the_arrays(store: Path, chips: xr.Dataset) -> None:
    image = zarr.open_array(store, path="image", mode="r")
    assert image.chunks[0] == 1 and image.shards is not None and image.shards[0] == CHIPS_PER_SHARD
    assert np.array_equal(image[:], chips.image.values)


def test_shards_hold_all_chips_of_a_split_once(store: Path, chips: xr.Dataset) -> None:
    for split in ("train", "val", None):
        parts = list(iter_shards(store, split))
        numbers = np.concatenate([part["chip"] for part in parts])
        expected = np.flatnonzero(chips.split.values == split) if split else np.arange(len(numbers))
        assert np.array_equal(numbers, expected)
        for name in ("image", "valid", "label_change"):
            read = np.concatenate([part[name] for part in parts])
            assert np.array_equal(read, chips[name].values[numbers])
    backwards = list(iter_shards(store, "val", ["row"], [5, 4, 3, 2, 1, 0]))
    rows = np.concatenate([part["row"] for part in backwards])
    assert sorted(rows) == sorted(chips.row.values[chips.split.values == "val"])


def test_a_split_without_chips_lists_those_there_are(store: Path) -> None:
    with pytest.raises(ChipStoreError, match=r"no chips of split 'test'; it has: train, val"):
        open_store(store).chips_of("test")


def _flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 4
    path.write_bytes(body)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _delete(path: Path) -> None:
    path.unlink()


def _swap(path: Path) -> None:
    other = path.parents[3] / "1" / path.relative_to(path.parents[3] / "0")
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


@pytest.mark.parametrize("damage", [_flip, _cut, _delete, _swap])
def test_a_damaged_shard_is_found_when_it_is_read(
    copy: Path, damage: Callable[[Path], None]
) -> None:
    damage(copy / shard_key("valid", 0))
    with pytest.raises(ChipStoreError, match=r"damaged: valid/c/0/0/0/0 is not what"):
        list(iter_shards(copy))


@pytest.mark.parametrize("key", ["zarr.json", "image/zarr.json", "row/c/0", "split/c/0"])
def test_damaged_metadata_is_found_at_opening(copy: Path, key: str) -> None:
    body = (copy / key).read_bytes()
    at = body.rfind(b"chip") if key.endswith("json") else len(body) // 2
    (copy / key).write_bytes(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
    with pytest.raises(ChipStoreError, match=f"damaged: {key}"):
        open_chips(copy)


def test_what_is_no_finished_store_is_refused_with_the_way_out(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ChipStoreError, match=r"does not exist. Make it with ingest-region"):
        open_chips(tmp_path / "none")
    with pytest.raises(ChipStoreError, match="is not a chip store"):
        open_chips(tmp_path)
    (copy / "manifest.json").rename(tmp_path / "manifest.json")
    with pytest.raises(ChipStoreError, match=r"not finished. Run the same ingest-region command"):
        open_chips(copy)
    metadata = json.loads((copy / "zarr.json").read_text())
    metadata["attributes"]["format_version"] += 1
    (copy / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(ChipStoreError, match=r"has format 5.*Update noise2map"):
        open_chips(copy)


def test_what_a_killed_writer_left_is_swept_and_what_it_lost_is_made_again(tmp_path: Path) -> None:
    job = plan_store(tmp_path / "sources", tmp_path / "chips.zarr", split=SPLIT)
    create_store(job.store, job.header, job.table)
    assert missing_shards(job.store, job.num_shards) == list(range(job.num_shards))
    shutil.rmtree(job.store)
    make_store(job)
    assert is_finished(job.store, job.header.key)
    assert missing_shards(job.store, job.num_shards) == []
    (job.store / shard_key("image", 1)).write_bytes(b"short")
    leftover = job.store / "image" / "c" / "0" / "0.0123.partial"
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"half")
    sweep(job.store)
    assert not leftover.exists()
    assert missing_shards(job.store, job.num_shards) == [1]
