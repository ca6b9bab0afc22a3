"""A writer that is killed between a tile's pixels and its record: another one writes the tile."""

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray.cloudpickle

from noise2map_core.distributed import prediction
from noise2map_core.distributed.prediction import TileWriter
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.runtime.storage import files_in
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from pipelines.infer_region import run
from tests.nightly_factories import random_checkpoint
from tests.region_in_process import map_here


@dataclass(frozen=True)
class DyingWriter(TileWriter):
    """Kills its process at the third tile that any of its kind is about to record."""

    deaths: Path = Path()

    def _record(self, records: list[TileRecord]) -> None:
        count = len(list(self.deaths.iterdir()))
        (self.deaths / f"{count}-{os.getpid()}").touch()
        if count == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._record(records)


def test_a_tile_whose_writer_was_killed_is_written_by_another_one(
    ray_cluster: None, embedded: EmbeddedCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", tuple(embedded.bands))
    deaths = tmp_path / "deaths"
    deaths.mkdir()

    def dying(job: RegionJob) -> TileWriter:
        return DyingWriter(job.output, job.grid, job.fence, job.layers, deaths)

    monkeypatch.setattr(prediction, "writer_of", dying)
    settings = {
        "aoi": str(embedded.map_aoi), "before": embedded.before, "after": embedded.after,
        "search": {"catalog": embedded.catalog, "collection": embedded.collection},
        "checkpoint": str(checkpoint), "output": str(tmp_path / "map"),
        "grid": {"tile_px": 64}, "resources": {"num_cpus": 2},
    }  # fmt: skip
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = run(InferRegionConfig.model_validate(settings))
    monkeypatch.undo()
    assert len(list(deaths.iterdir())) > made.tiles  # one was begun twice
    records = Ledger(tmp_path / "map").newest().values()
    assert [one.status for one in records] == ["done"] * made.tiles
    speed = json.loads((tmp_path / "map" / "manifest.json").read_text())["throughput"]
    assert speed["chips"] == sum(one.chips for one in records)
    assert 0 < speed["predictors_busy_share"] <= 1
    map_here(embedded, checkpoint, tmp_path / "whole")
    assert pixels(tmp_path / "map") == pixels(tmp_path / "whole")


def pixels(output: Path) -> dict[str, bytes]:
    mosaic = output / "mosaic.zarr"
    return {one.relative_to(mosaic).as_posix(): one.read_bytes() for one in files_in(mosaic)}
