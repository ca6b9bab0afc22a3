"""Looks taken into tiles on a cluster: the bytes that one process writes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from noise2map_core.alerts.store import NAME, StateRules
from noise2map_core.alerts.tiles import FoldJob
from noise2map_core.alerts.update import update_alerts
from noise2map_core.distributed.alerts import fold_on_cluster
from noise2map_core.geo.grid import Tile
from noise2map_core.runtime.errors import OutputError
from noise2map_core.settings.resources import ResourcesConfig
from tests.alert_factories import GRID, Area, drawn_look


def on_cluster(job: FoldJob, tiles: Sequence[Tile]) -> None:
    fold_on_cluster(job, tiles, ResourcesConfig(num_cpus=2))


def test_a_cluster_makes_the_bytes_of_one_process(tmp_path: Path, ray_cluster: None) -> None:
    slices = [drawn_look(tmp_path / "s", number) for number in range(2)]
    here, there = Area(tmp_path / "here"), Area(tmp_path / "there")
    here.update(slices)
    update_alerts(there.folder, GRID, StateRules.of(there.config, GRID), slices, on_cluster)
    assert here.files() == there.files()


def test_a_damaged_state_is_named_as_in_one_process(tmp_path: Path, ray_cluster: None) -> None:
    slices = [drawn_look(tmp_path / "s", number) for number in range(2)]
    area = Area(tmp_path / "a")
    area.update(slices[:1])
    shard = next((area.folder / NAME / "seen" / "c").glob("*/*"))
    shard.write_bytes(b"x" * shard.stat().st_size)
    rules = StateRules.of(area.config, GRID)
    with pytest.raises(OutputError, match=r"alerts\.zarr is damaged.*Delete it"):
        update_alerts(area.folder, GRID, rules, slices, on_cluster)
