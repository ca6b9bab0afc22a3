"""Every damage to a store is found, and mended without touching anything else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noise2map_core.chips.append import begin, finish, look_at
from noise2map_core.chips.manifest import MANIFESTS, Manifest, read_manifest
from noise2map_core.chips.pixels import make_shard
from noise2map_core.chips.repair import find_strays, iter_checks, repair_store
from noise2map_core.chips.store import open_store
from noise2map_core.cli.commands import store as tool
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import ChipStoreError
from tests.chip_factories import make_store, plan_store
from tests.damage import KINDS, damage_store
from tests.unit.chips.test_append import SMALL


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two ingests, of which one shard holds chips of both; `….old` is as it was."""
    folder = tmp_path_factory.mktemp("repair")
    path = make_store(plan_store(folder / "sources", folder / "chips.zarr", area=SMALL))
    shutil.copytree(path, folder / "chips.old")
    job = plan_store(folder / "sources", path)
    store = look_at(path, job.header, 2).store
    todo = begin(path, store, job.header, job.ingests[0], job.table)
    assert todo is not None and todo.first_shard > 0
    for shard in range(todo.first_shard, todo.num_shards):
        make_shard(todo, shard)
    finish(path, todo)
    shutil.rmtree(folder / "chips.zarr.progress")
    return path


@pytest.fixture
def store(grown: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(grown, tmp_path / "chips.zarr"))


def snapshot(store: Path) -> dict[str, tuple[str, int]]:
    files = [path for path in sorted(store.rglob("*")) if path.is_file()]
    return {
        path.relative_to(store).as_posix(): (file_sha256(path), path.stat().st_mtime_ns)
        for path in files
    }


@pytest.mark.parametrize("seed", range(5))
def test_twenty_damages_are_found_and_mended_and_nothing_else_is_touched(
    store: Path, grown: Path, seed: int
) -> None:
    """Four of every kind, data and metadata, over the cases."""
    before = snapshot(store)
    broken = damage_store(store, grown.with_name("chips.old"), np.random.default_rng(seed), 4)
    found = [damage for damage in iter_checks(store) if damage]
    assert {damage.key for damage in found} == set(broken)
    done = repair_store(store, found)
    assert not done.lost and {*done.restored, *done.remade} == set(broken)
    after = snapshot(store)
    assert {key: digest for key, (digest, _) in after.items()} == {
        key: digest for key, (digest, _) in before.items()
    }
    for key in set(before) - set(broken):
        assert after[key] == before[key], f"{key} was touched"
    assert set(KINDS) == {"flipped", "cut", "deleted", "swapped", "stale"}


def test_each_copy_of_the_manifest_can_be_lost(store: Path) -> None:
    for key in MANIFESTS:
        body = (store / key).read_bytes()
        (store / key).write_bytes(body[:-9])
        found = [damage for damage in iter_checks(store) if damage]
        assert [damage.key for damage in found] == [key]
        assert repair_store(store, found).restored == [key]
        assert (store / key).read_bytes() == body
    for key in MANIFESTS:
        (store / key).write_bytes(b"{}")
    with pytest.raises(ChipStoreError, match="no copy of its manifest is intact"):
        list(iter_checks(store))


def test_sources_that_changed_do_not_come_in_under_an_old_digest(
    store: Path, grown: Path, tmp_path: Path
) -> None:
    key = next(name for name in read_manifest(store).objects if name.startswith("image/c/0/"))
    (store / key).unlink()
    path = grown.parent / "sources" / "0-0.tif"
    body = path.read_bytes()
    path.write_bytes((grown.parent / "sources" / "0-1.tif").read_bytes())
    try:
        done = repair_store(store, [damage for damage in iter_checks(store) if damage])
    finally:
        path.write_bytes(body)
    assert done.lost == {key: "its sources give other bytes now"}
    assert not (store / key).exists()


def test_the_tool_tells_finds_and_mends(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, code = tool.info(store)
    assert code == 0 and any("chips can be read again" in line for line in lines)
    assert tool.verify(store) == ([f"intact   {store}"], 0)
    keys = [key for key in read_manifest(store).objects if key.startswith("image/c/")]
    (store / keys[0]).write_bytes(b"")
    (store / "row" / "zarr.json").unlink()
    (store / "notes.txt").write_text("mine")
    lines, code = tool.verify(store)
    assert code == 1 and "row/zarr.json: missing" in lines
    assert f"{keys[0]}: of another length or content" in lines
    assert "notes.txt: not of the store" in lines
    lines, code = tool.repair(store)
    assert code == 0 and f"{keys[0]}: read again" in lines
    assert "row/zarr.json: restored from a copy" in lines
    assert tool.verify(store)[1] == 0 and (store / "notes.txt").read_text() == "mine"
    assert find_strays(store) == ["notes.txt"]
    assert not store.with_name("chips.zarr.progress").exists()


def test_a_store_of_another_format_is_refused_with_the_way_out(store: Path) -> None:
    for version, way_out in ((3, "Ingest it anew"), (5, "Update noise2map")):
        group = json.loads((store / "zarr.json").read_text())
        group["attributes"]["format_version"] = version
        (store / "zarr.json").write_text(json.dumps(group))
        with pytest.raises(ChipStoreError, match=f"has format {version}.*{way_out}"):
            open_store(store)


def test_a_manifest_that_was_edited_is_no_manifest(store: Path) -> None:
    manifest = read_manifest(store)
    body = manifest.to_bytes().replace(b'"generation": 2', b'"generation": 9')
    (store / "manifest.json").write_bytes(body)
    with pytest.raises(ChipStoreError, match=r"damaged: manifest\.json"):
        open_store(store)
    assert isinstance(manifest, Manifest) and manifest.generation == 2


def test_a_stale_manifest_brings_no_damaged_copy_in(store: Path, grown: Path) -> None:
    """An older manifest looks like an append that is not in place yet; what it would be finished
    from may be damaged itself."""
    before = snapshot(store)
    stale = read_manifest(store)
    older = replace(stale, generation=stale.generation - 1)
    (store / "manifest.json").write_bytes(older.to_bytes())
    copy = store / "copies" / "sources.json"
    copy.write_bytes(copy.read_bytes()[:-1] + b" ")
    repair_store(store, [damage for damage in iter_checks(store) if damage])
    assert {key: digest for key, (digest, _) in snapshot(store).items()} == {
        key: digest for key, (digest, _) in before.items()
    }
