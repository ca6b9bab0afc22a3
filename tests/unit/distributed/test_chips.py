"""What Ray Data's tasks carry, however large the store."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from ray import cloudpickle

from noise2map_core.chips.store import CHIPS_PER_SHARD, ChipStore, open_store, shard_key
from noise2map_core.distributed.chips import ChipSource, part_of
from tests.chip_factories import make_store, plan_store

MILLION = 10**6
COLUMNS = ("image", "valid", "label_change")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    folder = tmp_path_factory.mktemp("chips")
    return open_store(make_store(plan_store(folder / "sources", folder / "chips.zarr")))


def of_a_million_chips(store: ChipStore) -> ChipStore:
    """The same arrays, with an invented manifest."""
    keys = [shard_key(name, shard) for name in COLUMNS for shard in range(MILLION // 32)]
    objects = {key: [10**6, hashlib.sha256(key.encode()).hexdigest()] for key in keys}
    return replace(store, attributes={**store.attributes, "num_chips": MILLION}, objects=objects)


@pytest.mark.parametrize("seed", [None, 0])
def test_a_task_of_a_million_chips_is_small(store: ChipStore, seed: int | None) -> None:
    large = of_a_million_chips(store)
    manifest = len(cloudpickle.dumps(large.objects))
    assert manifest > 5e6
    tasks = ChipSource(large, np.arange(MILLION), COLUMNS, seed, 4).get_read_tasks(8)
    sizes = [len(cloudpickle.dumps(task)) for task in tasks]
    assert max(sizes) < 64_000
    # All of them together carry the manifest about once, and the chips' numbers.
    assert sum(sizes) < 2.5 * (manifest + 8 * MILLION)
    assert sum(task.metadata.num_rows or 0 for task in tasks) == MILLION


def test_a_part_reads_what_the_store_reads_and_nothing_else(store: ChipStore) -> None:
    part = part_of(store, [1], COLUMNS)
    for name, values in part.read_shard(1, COLUMNS).items():
        np.testing.assert_array_equal(values, store.read_shard(1, COLUMNS)[name])
    with pytest.raises(Exception, match="after it had been opened: image/c/0/0/0/0/0"):
        part.read_shard(0, COLUMNS)


def test_only_shards_of_the_chips_are_asked_for_and_each_once(store: ChipStore) -> None:
    chips = np.asarray([70, 3, 64, 2])
    tasks = ChipSource(store, chips, ("row",), 5, 1).get_read_tasks(8)
    found = [np.concatenate([block["chip"].to_numpy() for block in task()]) for task in tasks]
    assert sorted(np.concatenate(found)) == [2, 3, 64, 70]
    assert sorted(len(set((one // CHIPS_PER_SHARD).tolist())) for one in found) == [1, 1]


def test_a_manifest_that_no_longer_fits_its_store_is_told_in_one_line(store: ChipStore) -> None:
    """A store that was appended to, or changed, after it was opened."""
    stale = replace(store, objects={})
    (task,) = ChipSource(stale, np.arange(8), COLUMNS, None, 4).get_read_tasks(8)
    with pytest.raises(Exception, match="after it had been opened: image/c/0/0/0/0/0"):
        list(task())
