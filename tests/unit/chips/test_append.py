"""A second ingest into a finished store adds what it lacks, and nothing else."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from odc.geo.geom import Geometry

from noise2map_core.chips import manifest as chip_manifest
from noise2map_core.chips.append import complete_append
from noise2map_core.chips.manifest import is_pending
from noise2map_core.chips.pixels import ChipJob
from noise2map_core.chips.repair import iter_checks
from noise2map_core.chips.store import CHIPS_PER_SHARD, open_chips, open_store
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.imagery.recipe import Correction, PixelRecipe
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import ChipStoreError, OutputMismatchError
from noise2map_core.settings.imagery import CompositeConfig
from noise2map_core.settings.labels import SplitConfig
from tests.chip_factories import AREA, BOX, make_store, plan_store
from tests.chip_factories import append_store as ingest
from tests.raster_factories import CRS

WEST = BOX[:, :60]
SMALL = AreaOfInterest("west", WEST.geographic_extent.geom)


@pytest.fixture(scope="module")
def west(tmp_path_factory: pytest.TempPathFactory) -> ChipJob:
    folder = tmp_path_factory.mktemp("west")
    return plan_store(folder / "sources", folder / "chips.zarr", area=SMALL)


@pytest.fixture(scope="module")
def whole(west: ChipJob) -> ChipJob:
    return plan_store(west.store.parent / "sources", west.store)


@pytest.fixture(scope="module")
def first(west: ChipJob) -> Path:
    assert ingest(west.store, west) > 1
    return west.store


@pytest.fixture
def store(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "chips.zarr"))


def test_a_store_that_was_appended_to_after_it_was_opened_says_so(
    store: Path, whole: ChipJob
) -> None:
    """Its last shard, which was not full, is another now."""
    opened = open_store(store)
    assert opened.num_chips % CHIPS_PER_SHARD
    ingest(store, whole)
    with pytest.raises(ChipStoreError, match=r"appended to after it had been opened: image/c/"):
        opened.read_shard(opened.num_shards - 1, ["image"])
    counted = open_store(store).label_counts["change"]
    earlier = {k: v for k, v in open_store(store).objects.items() if not k.startswith("label_px")}
    recounted = replace(open_store(store), objects=earlier).label_counts["change"]
    np.testing.assert_array_equal(counted, recounted)


def digests(store: Path) -> dict[str, str]:
    files = [path for path in store.rglob("*") if path.is_file()]
    return {path.relative_to(store).as_posix(): file_sha256(path) for path in files}


def by_place(store: Path) -> dict[tuple[int, ...], list[Any]]:
    chips = open_chips(store).load()
    found: dict[tuple[int, ...], list[Any]] = {}
    for number in range(chips.sizes["chip"]):
        chip = chips.isel(chip=number)
        found.setdefault((int(chip.row), int(chip.col)), []).append(chip)
    return found


def test_a_larger_area_adds_its_chips_and_a_rerun_none(store: Path, whole: ChipJob) -> None:
    before, old = digests(store), open_store(store)
    assert ingest(store, whole) > 0
    assert not [damage for damage in iter_checks(store) if damage]
    full = old.num_chips // CHIPS_PER_SHARD
    for shard in range(full):  # whole shards stay as they are
        for key in (f"image/c/{shard}/0/0/0/0", f"valid/c/{shard}/0/0/0"):
            assert digests(store)[key] == before[key]
    kept = digests(store)
    assert ingest(store, whole) == 0 and digests(store) == kept


def test_what_was_there_stays_and_what_comes_is_what_a_fresh_store_holds(
    store: Path, whole: ChipJob, tmp_path: Path
) -> None:
    old = open_chips(store).load()
    ingest(store, whole)
    grown = open_chips(store).load()
    for name in ("image", "valid", "label_change", "row", "col", "datetime"):
        assert np.array_equal(grown[name].values[: old.sizes["chip"]], old[name].values)
    fresh = by_place(make_store(replace(whole, store=tmp_path / "fresh.zarr")))
    mine = by_place(store)
    assert set(mine) == set(fresh)
    for place, (chip,) in fresh.items():
        last = mine[place][-1]
        for name in ("image", "valid", "label_change", "footprint", "items"):
            assert np.array_equal(last[name], chip[name]), (place, name)


def test_statistics_of_a_grown_store_count_each_pixel_once(
    store: Path, whole: ChipJob, tmp_path: Path
) -> None:
    ingest(store, whole)
    fresh = open_store(make_store(replace(whole, store=tmp_path / "fresh.zarr")))
    grown = open_store(store)
    counts, expected = (s.attributes["counts"]["train"] for s in (grown, fresh))
    for name in ("px", "valid_px", "label_px"):
        assert counts[name] == expected[name]
    mine, theirs = grown.statistics("train"), fresh.statistics("train")
    np.testing.assert_allclose(mine.mean, theirs.mean)
    np.testing.assert_allclose(mine.m2, theirs.m2)


def test_more_dates_add_chips_at_the_same_places(store: Path, west: ChipJob) -> None:
    later = west.ingests[0].dates[::-1]
    times, items = west.table.datetime[:, ::-1], west.table.items[:, ::-1]
    table = replace(west.table, datetime=times, items=items)
    job = replace(
        west, table=table, ingests=(replace(west.ingests[0], dates=later),),
        header=replace(west.header, key="later"),
    )  # fmt: skip
    chips = open_store(store).num_chips
    assert ingest(store, job) > 0
    found = open_chips(store).load()
    assert found.sizes["chip"] == 2 * chips
    assert np.array_equal(found.image.values[chips:], found.image.values[:chips, ::-1])
    assert set(found["items"].values[chips:, 0]) == {"date1"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": [{"name": "b0"}]}, "its bands is"),
        ({"classes": {}}, "its classes is"),
        ({"chip_px": 32}, "its chip px is 16, not 32"),
        ({"dtype": "uint8"}, "its dtype is uint16, not uint8"),
        ({"buffer_px": 99}, "its buffer px is 16, not 99"),
    ],
)
def test_what_cannot_be_appended_is_named_and_nothing_touched(
    store: Path, whole: ChipJob, changes: dict[str, Any], message: str
) -> None:
    before = digests(store)
    with pytest.raises(OutputMismatchError, match=f"cannot be appended to: {message}"):
        ingest(store, whole, **changes)
    assert digests(store) == before and list(store.parent.iterdir()) == [store]


def test_another_grid_is_refused(store: Path, whole: ChipJob) -> None:
    moved = replace(whole.header.grid, x_origin=whole.header.grid.x_origin + 3.0)
    with pytest.raises(OutputMismatchError, match=r"its origin is \["):
        ingest(store, whole, grid=moved)
    other = replace(whole.header.grid, crs="EPSG:3857")
    with pytest.raises(OutputMismatchError, match="its CRS is EPSG:32633, not EPSG:3857"):
        ingest(store, whole, grid=other, ground_gsd=7.1)
    with pytest.raises(OutputMismatchError, match=r"its gsd is 10.0, not 20.0"):
        ingest(store, whole, grid=replace(whole.header.grid, resolution=20.0))


def test_a_place_of_another_zone_comes_into_the_same_store(store: Path, whole: ChipJob) -> None:
    before = open_chips(store).load()
    grid = replace(whole.header.grid, crs="EPSG:32634", x_origin=3.0, y_origin=-4.0)
    ingests = (replace(whole.ingests[0], grid=grid),)
    # The pixels are those of the first zone's box: where they lie is what is asked about here.
    job = replace(whole, header=replace(whole.header, grid=grid, key="other"), ingests=ingests)
    assert ingest(store, job, places=("there", "there"))
    chips = open_chips(store).load()
    xr.testing.assert_identical(before.drop_attrs(), chips.isel(chip=before.chip).drop_attrs())
    fresh = chips.isel(chip=slice(before.sizes["chip"], None))
    assert set(fresh.crs.values.tolist()) == {"EPSG:32634"} and fresh.sizes["chip"]
    assert np.array_equal(fresh.corner_x, 3.0 + fresh.col * 10.0)
    assert np.array_equal(fresh.corner_y, -4.0 - fresh.row * 10.0)
    assert set(open_store(store).places.tolist()) == {"here", "there"}


def test_another_composite_is_refused(store: Path, whole: ChipJob) -> None:
    recipe = PixelRecipe(composite=CompositeConfig(kind="median"))
    changed = replace(whole, ingests=(replace(whole.ingests[0], recipe=recipe),))
    with pytest.raises(OutputMismatchError, match="its composite is kind='first'"):
        ingest(store, changed)


def test_an_asset_that_changed_since_is_refused(store: Path, whole: ChipJob) -> None:
    href = next(iter(whole.header.identities))
    changed = replace(
        whole.ingests[0], identities={**whole.ingests[0].identities, href: "sha256:other"}
    )
    with pytest.raises(OutputMismatchError, match=r"0-0\.tif, which has changed since"):
        ingest(store, replace(whole, ingests=(changed,)))


def test_a_place_does_not_change_its_split_and_splits_stay_apart(
    store: Path, west: ChipJob
) -> None:
    def box(cols: slice) -> Any:
        return Geometry(BOX[:, cols].extent.geom, CRS).boundingbox.bbox

    boxes: Any = {"train": (box(slice(70, 110)),), "val": (box(slice(0, 50)),)}
    planned = plan_store(
        west.store.parent / "sources", store, split=SplitConfig(boxes=boxes), area=AREA
    )
    with pytest.raises(OutputMismatchError, match=r"split is train at row .* not val"):
        ingest(store, planned)
    near: Any = {"val": (box(slice(60, 110)),)}
    folder = west.store.parent / "sources"
    plain = store.with_name("plain.zarr")
    ingest(plain, plan_store(folder, plain, labelled=False, area=SMALL))
    planned = plan_store(folder, plain, labelled=False, split=SplitConfig(boxes=near))
    with pytest.raises(OutputMismatchError, match="nearer than 16 pixels to one of val"):
        ingest(plain, planned)


def _die_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let so many small objects be written, then fail."""
    real, left = chip_manifest.write_object, [writes]

    def write(path: Path, body: bytes) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(path, body)

    monkeypatch.setattr(chip_manifest, "write_object", write)
    return lambda: monkeypatch.setattr(chip_manifest, "write_object", real)


@pytest.mark.parametrize(
    "writes", [3, 19, 38, *(pytest.param(n, marks=pytest.mark.slow) for n in (12, 25))]
)
def test_an_append_that_dies_at_its_end_is_finished_by_the_same_command(
    store: Path, whole: ChipJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    undisturbed = Path(shutil.copytree(store, tmp_path / "undisturbed.zarr"))
    ingest(undisturbed, whole)
    revive = _die_after(writes, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        ingest(store, whole)
    revive()
    if is_pending(store):
        complete_append(store)
    ingest(store, whole)
    assert digests(store) == digests(undisturbed)


def test_a_store_that_records_no_sources_is_not_appended_to(store: Path, whole: ChipJob) -> None:
    (store / "sources.json").unlink()
    with pytest.raises((ChipStoreError, OutputMismatchError), match=r"sources\.json|does not say"):
        ingest(store, whole)


def labelled(job: ChipJob, labels_key: str, **changes: Any) -> ChipJob:
    """A planned store whose labels are read from these."""
    header = replace(job.header, key=f"{job.header.key} {labels_key}")
    ingests = tuple(replace(one, labels_key=labels_key, **changes) for one in job.ingests)
    return replace(job, header=header, ingests=ingests)


def test_chips_that_are_there_with_other_labels_are_refused(west: ChipJob, tmp_path: Path) -> None:
    path = tmp_path / "chips.zarr"
    job = replace(west, store=path)
    assert ingest(path, labelled(job, "a")) > 0
    before = digests(path)
    assert ingest(path, labelled(job, "a")) == 0
    with pytest.raises(OutputMismatchError, match=r"holds these chips with other labels"):
        ingest(path, labelled(job, "b"))
    gain = PixelRecipe(correction=Correction(gain=(2.0, 2.0), offset=(0.0, 0.0)))
    with pytest.raises(OutputMismatchError, match=r"its radiometry is"):
        ingest(path, replace(labelled(job, "a", recipe=gain), header=replace(west.header, key="c")))
    assert digests(path) == before


def test_another_area_may_have_labels_of_its_own(west: ChipJob, tmp_path: Path) -> None:
    path = tmp_path / "chips.zarr"
    assert ingest(path, labelled(replace(west, store=path), "a")) > 0
    area = AreaOfInterest("east", BOX[:, 80:].geographic_extent.geom)
    east = plan_store(west.store.parent / "sources", path, area=area)
    assert ingest(path, labelled(east, "b")) > 0
