"""Random damages to a chip store: all are found, all are mended, nothing else is touched.

Flipped bits, cut, deleted, swapped and stale objects, of pixels and of metadata, five at a time.

    python tests/benchmarks/store_damage.py [--damages 200] [--seed 0]
"""

import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed


from noise2map_core.chips.append import begin, finish, look_at
from noise2map_core.chips.pixels import make_shard
from noise2map_core.chips.repair import iter_checks, repair_store
from noise2map_core.chips.writer import progress_folder
from noise2map_core.runtime.digest import file_sha256
from tests.chip_factories import make_store, plan_store
from tests.damage import damage_store
from tests.unit.chips.test_append import SMALL

AT_ONCE = 5


def main(damages: int = 200, seed: int = 0) -> None:
    """Print what was damaged, found, mended and touched."""
    kinds: Counter[str] = Counter()
    found = mended = touched = 0
    with tempfile.TemporaryDirectory() as folder:
        store, old = _grown_store(Path(folder))
        rng = np.random.default_rng(seed)
        while sum(kinds.values()) < damages:
            before = _snapshot(store)
            broken = damage_store(store, old, rng, AT_ONCE)
            kinds.update(broken.values())
            seen = [damage for damage in iter_checks(store) if damage]
            found += len({damage.key for damage in seen} & set(broken))
            repair_store(store, seen)
            after = _snapshot(store)
            mended += sum(after.get(key, ("", 0))[0] == before[key][0] for key in broken)
            touched += sum(after.get(key) != before[key] for key in set(before) - set(broken))
            touched += len(set(after) - set(before))
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    print(f"{sum(kinds.values())} objects damaged ({listed}): {found} found, {mended} mended, "
          f"{touched} others touched")  # fmt: skip


def _grown_store(folder: Path) -> tuple[Path, Path]:
    """A store of two ingests, and as it was after the first: where stale objects come from."""
    path = make_store(plan_store(folder / "sources", folder / "chips.zarr", area=SMALL))
    old = Path(shutil.copytree(path, folder / "chips.old"))
    job = plan_store(folder / "sources", path)
    store = look_at(path, job.header, len(job.ingests[0].dates)).store
    todo = begin(path, store, job.header, job.ingests[0], job.table)
    assert todo is not None
    for shard in range(todo.first_shard, todo.num_shards):
        make_shard(todo, shard)
    finish(path, todo)
    shutil.rmtree(progress_folder(path))
    return path, old


def _snapshot(store: Path) -> dict[str, tuple[str, int]]:
    return {
        path.relative_to(store).as_posix(): (file_sha256(path), path.stat().st_mtime_ns)
        for path in store.rglob("*")
        if path.is_file()
    }


if __name__ == "__main__":
    tyro.cli(main)
