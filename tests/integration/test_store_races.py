"""Two writers of one chip store: one works, the other is refused or comes after it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import shapely
import yaml

from noise2map_core.chips.append import staged_folder
from noise2map_core.chips.pixels import ChipJob, make_shard
from noise2map_core.chips.repair import iter_checks
from noise2map_core.chips.store import open_store
from noise2map_core.chips.writer import progress_folder
from noise2map_core.cli.commands import ingest_dataset, pair_chips
from noise2map_core.cli.commands import store as store_tool
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import OutputHeldError
from noise2map_core.runtime.store_lease import hold_store
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig
from noise2map_core.workflows.tools.pair_chips import PairChipsConfig
from pipelines import ingest_region
from tests import dataset_factories
from tests.chip_factories import make_store, plan_store

HOLDER = """
import sys
from pathlib import Path
from noise2map_core.runtime.store_lease import hold_store
with hold_store(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""
PARTS = {"north": (0.0, 0.62, 1.0, 1.0), "south": (0.0, 0.0, 1.0, 0.55)}
"""Parts of the mapped area, as shares of its bounds."""


@contextmanager
def held_by_another(path: Path) -> Iterator[subprocess.Popen[str]]:
    """The store is held by a process of its own."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def settings(embedded: EmbeddedCatalog, part: str, output: Path) -> dict[str, Any]:
    shape = shapely.from_geojson(embedded.map_aoi.read_text())
    west, south, east, north = shape.bounds
    width, height = east - west, north - south
    left, low, right, high = PARTS[part]
    area = shapely.box(
        west + left * width, south + low * height, west + right * width, south + high * height
    )
    aoi = output.parent / f"{part}.geojson"
    aoi.write_text(shapely.to_geojson(area))
    return {
        "aoi": str(aoi),
        "search": {
            "catalog": str(embedded.catalog), "collection": embedded.collection,
            "bands": ["red", "nir"],
        },
        "before": embedded.before, "after": embedded.after, "output": str(output),
        "chips": {"chip_px": 32, "stride_px": 16},
        "labels": {"kind": "raster", "asset": embedded.label_asset},
        "resources": {"num_cpus": 1},
    }  # fmt: skip


def ingest(embedded: EmbeddedCatalog, part: str, output: Path) -> Any:
    config = IngestRegionConfig.model_validate(settings(embedded, part, output))
    return ingest_region.run(config)


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards are made in this process: what is tried here is who may write, and when."""

    def write(job: ChipJob, todo: list[int], resources: Any) -> None:
        for shard in todo:
            make_shard(job, shard)

    monkeypatch.setattr(ingest_region, "write_shards", write)


def files_of(store: Path) -> dict[str, str]:
    files = [path for path in store.rglob("*") if path.is_file()]
    return {path.relative_to(store).as_posix(): file_sha256(path) for path in files}


def one_after_the_other(embedded: EmbeddedCatalog, folder: Path, *parts: str) -> dict[str, str]:
    folder.mkdir()
    for part in parts:
        ingest(embedded, part, folder / "chips.zarr")
    return files_of(folder / "chips.zarr")


def after_the_plan(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Let `do` happen once, when the next ingest has planned and holds nothing yet."""
    real, left = ingest_region.plan_ingest, [do]

    def plan(config: Any) -> Any:
        made = real(config)
        if left:
            left.pop()()
        return made

    monkeypatch.setattr(ingest_region, "plan_ingest", plan)


def test_a_store_that_came_to_be_while_another_ingest_was_planned_is_appended_to(
    embedded: EmbeddedCatalog, tmp_path: Path, no_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = one_after_the_other(embedded, tmp_path / "truth", "north", "south")
    store = tmp_path / "chips.zarr"
    after_the_plan(monkeypatch, lambda: ingest(embedded, "north", store))
    ingest(embedded, "south", store)
    assert files_of(store) == expected and not any(iter_checks(store))


def test_an_append_that_came_in_while_another_was_planned_stays(
    embedded: EmbeddedCatalog, tmp_path: Path, no_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same area twice: the second finds its chips there, not an append to redo."""
    expected = one_after_the_other(embedded, tmp_path / "truth", "north", "south")
    store = tmp_path / "chips.zarr"
    ingest(embedded, "north", store)
    after_the_plan(monkeypatch, lambda: ingest(embedded, "south", store))
    assert ingest(embedded, "south", store).written == 0
    assert files_of(store) == expected and not progress_folder(store).exists()


def test_a_finished_ingest_run_again_leaves_an_append_under_way_alone(
    embedded: EmbeddedCatalog, tmp_path: Path, no_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = one_after_the_other(embedded, tmp_path / "truth", "north", "south")
    store, real, said = tmp_path / "chips.zarr", ingest_region.write_shards, []
    ingest(embedded, "north", store)

    def disturbed(job: ChipJob, todo: list[int], resources: Any) -> None:
        config = IngestRegionConfig.model_validate(settings(embedded, "north", store))
        for command in (lambda: ingest_region.run(config), lambda: store_tool.repair(store)):
            with pytest.raises(OutputHeldError, match=r"another run is writing chip store") as told:
                command()
            said.append(told.value.exit_code)
        assert store_tool.verify(store)[1] == 0  # what is there is whole meanwhile
        assert staged_folder(store).exists()
        real(job, todo, resources)

    monkeypatch.setattr(ingest_region, "write_shards", disturbed)
    ingest(embedded, "south", store)
    assert said == [4, 4] and files_of(store) == expected
    assert not progress_folder(store).exists()


def test_a_finished_ingest_run_again_keeps_what_a_killed_append_has_done(
    embedded: EmbeddedCatalog, tmp_path: Path, no_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = one_after_the_other(embedded, tmp_path / "truth", "north", "south")
    store, real = tmp_path / "chips.zarr", ingest_region.write_shards
    ingest(embedded, "north", store)

    def killed(job: ChipJob, todo: list[int], resources: Any) -> None:
        real(job, todo[:1], resources)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ingest_region, "write_shards", killed)
        ingest(embedded, "south", store)
    assert ingest(embedded, "north", store).written == 0
    again = ingest(embedded, "south", store)
    assert again.written < again.shards - 1  # the shard that was done is not done again
    assert files_of(store) == expected


def test_who_comes_while_a_store_is_held_is_refused_and_touches_nothing(
    tmp_path: Path, embedded: EmbeddedCatalog
) -> None:
    source = make_store(plan_store(tmp_path / "sources", tmp_path / "chips.zarr"))
    singles = make_store(plan_store(tmp_path / "sources", tmp_path / "one.zarr"))
    lost = next(key for key in open_store(source).objects if key.startswith("image/c/"))
    (source / lost).unlink()
    (progress_folder(source) / "mine").mkdir(parents=True)
    new = tmp_path / "new.zarr"
    images = dataset_factories.write_pairs(tmp_path / "pairs", {"train": 4, "val": 2, "test": 2})
    dataset = {"kind": "folders", "root": images, "resolution": 1.0}
    job = IngestDatasetConfig.model_validate({"dataset": dataset, "output": new, "chip_px": 16})
    writers: list[tuple[Path, Callable[[], object]]] = [
        (source, lambda: store_tool.repair(source)),
        (source, lambda: store_tool.verify(source)),  # what is amiss may be an append
        (new, lambda: ingest(embedded, "north", new)),
        (new, lambda: ingest_dataset.run(job)),
    ]
    before = files_of(source)
    for place, write in writers:
        with (
            held_by_another(place),
            pytest.raises(OutputHeldError, match=f"another run is writing .*{place.name}"),
        ):
            write()
    assert files_of(source) == before and (progress_folder(source) / "mine").exists()
    assert not new.exists() and not progress_folder(new).exists()
    assert store_tool.verify(source)[1] == 1  # nobody holds it now: it is damage
    with held_by_another(singles):
        assert store_tool.verify(singles)[1] == 0  # who only reads what is whole waits for nobody


def test_pairs_are_not_written_where_another_run_writes(tmp_path: Path) -> None:
    dataset = {
        "kind": "whu", "task": "segment",
        "root": dataset_factories.write_whu_segment(
            tmp_path / "whu", {"train": 2, "val": 1, "test": 1}, px=512
        ),
    }  # fmt: skip
    singles, pairs = tmp_path / "singles.zarr", tmp_path / "pairs.zarr"
    ingest_dataset.run(
        IngestDatasetConfig.model_validate({"dataset": dataset, "output": singles, "chip_px": 256})
    )
    config = PairChipsConfig(chips=(singles,), output=pairs, per_chip=1)
    (progress_folder(pairs) / "mine").mkdir(parents=True)
    with held_by_another(pairs), pytest.raises(OutputHeldError, match=r"pairs\.zarr"):
        pair_chips.run(config)
    assert (progress_folder(pairs) / "mine").exists() and not pairs.exists()
    pair_chips.run(config)
    assert not any(iter_checks(pairs))


def test_a_lease_is_that_of_the_store_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, link = tmp_path / "chips.zarr", tmp_path / "link.zarr"
    store.mkdir()
    link.symlink_to(store)
    monkeypatch.chdir(tmp_path)
    with held_by_another(store):
        for name in (Path("chips.zarr"), Path("./x/../chips.zarr"), link):
            with pytest.raises(OutputHeldError), hold_store(name):
                pass


@pytest.mark.slow
@pytest.mark.parametrize("there", [(), ("north",)])
def test_two_processes_at_once_end_in_the_store_of_one_after_the_other(
    embedded: EmbeddedCatalog, tmp_path: Path, checkout: Path, no_ray: None, there: tuple[str, ...]
) -> None:
    """Two creations, or an append and a finished ingest run again, from the same moment on."""
    store = tmp_path / "chips.zarr"
    for part in there:
        ingest(embedded, part, store)
    script = str(checkout / "pipelines" / "ingest_region.py")
    running = []
    for part in PARTS:
        config = tmp_path / f"{part}.yaml"
        config.write_text(yaml.safe_dump(settings(embedded, part, store)))
        running.append(
            subprocess.Popen([sys.executable, script, str(config)], stderr=subprocess.PIPE)
        )
    codes = []
    for one in running:
        one.communicate(timeout=200)
        codes.append(one.returncode)
    assert set(codes) <= {0, 4} and 0 in codes
    assert not any(iter_checks(store))
    for part in PARTS:
        ingest(embedded, part, store)
    keys = {
        part: open_store(tmp_path / part / "chips.zarr").attributes["key"]
        for part in PARTS
        if one_after_the_other(embedded, tmp_path / part, part)
    }
    order = sorted(PARTS, key=lambda part: open_store(store).attributes["keys"].index(keys[part]))
    assert files_of(store) == one_after_the_other(embedded, tmp_path / "truth", *order)
    assert not progress_folder(store).exists()


CROWD = """
import sys
from pathlib import Path
from noise2map_core.runtime.errors import OutputHeldError
from noise2map_core.runtime.store_lease import hold_store
store, inside, taken = Path(sys.argv[1]), Path(sys.argv[2]), 0
while taken < 40:
    try:
        with hold_store(store):
            inside.mkdir()  # fails if another one is in here
            inside.rmdir()
            taken += 1
    except OutputHeldError:
        pass
"""


def test_of_many_that_take_and_leave_a_store_one_is_in_it_and_no_lease_stays(
    tmp_path: Path,
) -> None:
    store, inside = tmp_path / "chips.zarr", tmp_path / "inside"
    command = [sys.executable, "-c", CROWD, str(store), str(inside)]
    with ExitStack() as crowd:
        start = partial(subprocess.Popen, command, stderr=subprocess.PIPE, text=True)
        for one in [crowd.enter_context(start()) for _ in range(3)]:
            _, said = one.communicate(timeout=120)
            assert one.returncode == 0, said
    assert list(tmp_path.iterdir()) == []
