"""Chips as Ray datasets: read, changed, and written as another store."""

from pathlib import Path

import numpy as np
import pytest

from noise2map_core import open_chips, read_chips, write_chips
from noise2map_core.chips.repair import iter_checks
from noise2map_core.chips.store import CHIPS_PER_SHARD, open_store
from noise2map_core.runtime.errors import ConfigError, OutputMismatchError
from tests.chip_factories import make_store, plan_store
from tests.unit.chips.test_store import SPLIT


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets")
    return make_store(plan_store(folder / "sources", folder / "chips.zarr", split=SPLIT))


def test_a_seed_shuffles_shards_and_chips_and_loses_none(ray_cluster: None, store: Path) -> None:
    orders = [
        [row["chip"] for row in read_chips(store, "train", ["row"], seed=seed).take_all()]
        for seed in (1, 2)
    ]
    expected = open_store(store).chips_of("train").tolist()
    assert sorted(orders[0]) == sorted(orders[1]) == expected
    assert orders[0] != orders[1] and orders[0] != expected
    first = np.asarray(orders[0][:CHIPS_PER_SHARD]) // CHIPS_PER_SHARD
    assert len(set(first.tolist())) > 1  # chips of several shards are mixed


def test_only_columns_and_shards_that_are_asked_for_are_read(
    ray_cluster: None, store: Path, tmp_path: Path
) -> None:
    opened = open_store(store)
    used = set((opened.chips_of("val") // CHIPS_PER_SHARD).tolist())
    unused = sorted(set(range(opened.num_shards)) - used)
    assert unused
    for shard in unused:
        (store / f"valid/c/{shard}/0/0/0").rename(tmp_path / str(shard))
    try:
        assert read_chips(store, "val", ["valid"]).count() == len(opened.chips_of("val"))
        assert set(read_chips(store, columns=["row"]).take(1)[0]) == {"chip", "row"}
    finally:
        for shard in unused:
            (tmp_path / str(shard)).rename(store / f"valid/c/{shard}/0/0/0")


@pytest.mark.slow
def test_what_is_written_is_what_was_read_and_verifies(
    ray_cluster: None, store: Path, tmp_path: Path
) -> None:
    chips = read_chips(store, columns="all", seed=3)
    write_chips(chips, tmp_path / "copy.zarr", store)
    assert not [damage for damage in iter_checks(tmp_path / "copy.zarr") if damage]
    assert list(tmp_path.iterdir()) == [tmp_path / "copy.zarr"]
    mine, theirs = (open_chips(path).load() for path in (tmp_path / "copy.zarr", store))
    assert mine.sizes == theirs.sizes
    orders = [np.lexsort((c.row, c.col, c.split)) for c in (mine, theirs)]
    for name in ("image", "valid", "label_change", "row", "col", "split", "footprint", "items"):
        one, other = (
            c[name].values[order] for c, order in zip((mine, theirs), orders, strict=True)
        )
        assert np.array_equal(one, other), name
    assert mine.attrs["counts"] == theirs.attrs["counts"]
    with pytest.raises(OutputMismatchError, match=r"copy\.zarr is there already"):
        write_chips(chips, tmp_path / "copy.zarr", store)


def test_a_column_that_there_is_not_is_named(store: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no column 'images'; it has: col, .*image"):
        read_chips(store, columns=["images"])
    with pytest.raises(ConfigError, match="has no column 'light'"):  # it has no row a chip
        read_chips(store, columns=["light"])


@pytest.mark.slow
def test_chips_without_their_place_leave_nothing_behind(
    ray_cluster: None, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=r'chips without row, col.*columns="all"'):
        write_chips(read_chips(store), tmp_path / "copy.zarr", store)
    assert not list(tmp_path.iterdir())
